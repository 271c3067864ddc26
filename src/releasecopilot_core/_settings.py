"""One YAML file plus environment variables, read strictly; secrets stay references until they are used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ._codec import EnvText, Fault, did_you_mean, expand_references, structure
from .errors import SettingsError

T = TypeVar("T")

DEFAULT_PATH = Path("config/settings.yaml")
ENV_PREFIX = "RC_"

#: Top-level keys of the core; any other key must be the name of an installed plugin or source.
_TEXTS = ("database", "artifacts", "logs")
CORE_KEYS = (*_TEXTS, "disabled_plugins", "story_keys", "webhooks")


class Secret:
    """A secret by reference: `${VAR}`, `file:/run/secrets/x`, or (warned about) the value itself.

    Only `reveal` gives the value; `repr`, `str` and formatting never do.
    """

    __slots__ = ("_text",)
    one_is_enough = True  # a list of secrets may be written as a single one

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def is_literal(self) -> bool:
        """Whether the secret itself was written down instead of a reference to it."""
        return not (self._text.startswith("file:") or ("${" in self._text and "}" in self._text))

    def reveal(self) -> str:
        """Return the secret.

        Raises:
            SettingsError: the variable is unset, the file cannot be read, or it is empty.
        """
        try:
            if self._text.startswith("file:"):
                value = Path(self._text[5:]).read_text(encoding="utf-8").strip()
            else:
                value = expand_references(self._text)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        except OSError as error:
            raise SettingsError(
                f"{self._text[5:]}: cannot read the secret ({error.strerror}); check the path"
            ) from None
        if not value:
            raise SettingsError(f"the secret {self._text if not self.is_literal else 'written out'} is empty")
        return value

    def __repr__(self) -> str:
        return "Secret('***')" if self.is_literal else f"Secret({self._text!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled or copied out")


class Settings:
    """What is configured: plain values, given to plugins section by section.

    Read-only after construction; safe to share between threads.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, *, origin: str = "settings") -> None:
        self._values: dict[str, Any] = dict(values or {})
        self._sections: dict[tuple[str, type], Any] = {}
        self.origin = origin
        for key in _TEXTS:
            value = self._values.get(key, "")
            if not isinstance(value, str) or "\0" in value:
                raise self._error([Fault(key, f"expected text, not {value!r}")])
        disabled = self._values.get("disabled_plugins") or []
        if not isinstance(disabled, list) or not all(isinstance(name, str) for name in disabled):
            raise self._error([Fault("disabled_plugins", f"expected a list such as [name], not {disabled!r}")])
        self.disabled_plugins: tuple[str, ...] = tuple(disabled)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
        """Read a settings file and lay environment variables (`RC_SECTION__KEY`) over it.

        Without `path` it is `config/settings.yaml` below the working directory, which may be absent when the
        environment configures a section.

        Raises:
            SettingsError: the file is missing, is not YAML, or holds something other than keys and values.
        """
        environ = os.environ if environ is None else environ
        file = Path(path) if path is not None else DEFAULT_PATH
        overrides = _from_environment(environ)
        if path is None and not file.exists():
            if not any(isinstance(value, dict) for value in overrides.values()):
                raise SettingsError(f"{file}: no settings file; run `rc init` to write one, or name one with --config")
            return cls(overrides, origin="environment")
        return cls(_merged(_read_yaml(file), overrides), origin=str(file))

    def section(self, name: str, kind: type[T]) -> T:
        """Return the top-level section `name` as an instance of the attrs class `kind`.

        Strict: an unknown key, a missing one or a wrong type is an error that names file, path, fault and likely fix.
        The same object is returned each time.

        Raises:
            SettingsError: with the first fault, and how many more there are.
        """
        cached = self._sections.get((name, kind))
        if cached is None:
            value = self._values.get(name)
            result = structure({} if value is None else value, kind, path=name, converter=_converter())
            if isinstance(result, list):
                raise self._error(result)
            cached = self._sections.setdefault((name, kind), result)
        found: T = cached
        return found

    def has_section(self, name: str) -> bool:
        """Whether the settings say anything under this top-level key."""
        return bool(self._values.get(name))

    def raw(self, name: str) -> Any:
        """Return a top-level value as it was written (secrets as references)."""
        return self._values.get(name)

    def check_keys(self, plugins: Iterable[str]) -> None:
        """Refuse top-level keys that belong neither to the core nor to one of `plugins`."""
        known = [*CORE_KEYS, *plugins]
        unknown = [key for key in self._values if key not in known]
        if unknown:
            raise self._error([Fault(str(key), self._unknown(key, known)) for key in unknown])

    def _unknown(self, key: str, known: list[str]) -> str:
        hint = did_you_mean(str(key), known)
        if isinstance(self._values[key], Mapping) and "did you mean" not in hint:
            # A section of a plugin that is not here, rather than a slip of the pen.
            return f"unknown key: no installed plugin reads this section; install the one that does, or remove it{hint}"
        return f"unknown key{hint}"

    def database(self, source: str) -> str:
        """Return the database path or URL: as configured, else `data/SOURCE/commits.db`."""
        return self._path("database", f"data/{source}/commits.db")

    def artifacts(self, source: str) -> str:
        """Return the artifact folder or URL: as configured, else `artifacts/issues/wave3/SOURCE`."""
        return self._path("artifacts", f"artifacts/issues/wave3/{source}")

    def logs(self, source: str) -> str:
        """Return the folder of log files: as configured, else `temp_data/SOURCE`."""
        return self._path("logs", f"temp_data/{source}")

    def _path(self, key: str, default: str) -> str:
        try:
            return expand_references(self._values.get(key) or default)
        except ValueError as error:
            raise self._error([Fault(key, str(error))]) from None

    def _error(self, faults: list[Fault]) -> SettingsError:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return SettingsError(f"{self.origin}: {faults[0].path}: {faults[0].message}{more}")

    def __repr__(self) -> str:
        # Values are left out: a secret may have been written down in them.
        return f"<Settings {self.origin}: {', '.join(map(str, self._values))}>"


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value <= 1_000_000_000:
        raise ValueError(f"{attribute.name} must be above 0, not {value:g}")


@attrs.frozen(kw_only=True)
class WebhookSettings:
    """The section `webhooks`: how long raw bodies are kept, in days, and how large one may be, in bytes."""

    keep_days: float = attrs.field(default=30.0, validator=_positive)
    body_limit: int = attrs.field(default=1_048_576, validator=_positive)


def webhook_settings(settings: Settings) -> WebhookSettings:
    """Return the section `webhooks`."""
    return settings.section("webhooks", WebhookSettings)


def _converter() -> Any:
    from ._codec import make_converter

    converter = make_converter()

    def secret(value: Any, _: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise ValueError("expected a reference such as ${VAR} or file:/run/secrets/x")
        return Secret(value)

    converter.register_structure_hook(Secret, secret)
    return converter


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = _parsed(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file; run `rc init` to write one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read ({error}); check the path and its rights") from None
    except ValueError as error:
        raise SettingsError(f"{file}: not valid YAML{error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{file}: expected keys and values at the top, not {type(values).__name__}")
    return values


def _parsed(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        ValueError: it is not YAML, or says something twice, of which PyYAML would silently take the last. The message
            continues a sentence.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node: yaml.MappingNode = super().compose_mapping_node(anchor)
            names = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in names:
                        twice = f"{key.value!r} is there twice"
                        raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
                    names.add(key.value)
            return node

    try:
        return yaml.load(text, Loader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{where}: {getattr(error, 'problem', None) or 'not readable'}") from None
    except ValueError as error:  # a date such as 2026-13-45
        raise ValueError(f": {error}; put what is text in quotes") from None
    except RecursionError:
        raise ValueError(": nested too deeply") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Turn `RC_SECTION__KEY=value` into `{"section": {"key": "value"}}`; lists and maps are YAML."""
    values: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        keys = name[len(ENV_PREFIX) :].lower().split("__")
        # Only names with a section are ours for certain; RC_DATABASE and the like are named one by one.
        if len(keys) == 1 and keys[0] not in _TEXTS:
            continue
        place = values
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise SettingsError(f"environment variable {name}: {key} is set as a plain value as well")
        place[keys[-1]] = _environment_value(name, environ[name])
    return values


def _environment_value(name: str, text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return EnvText(text)
    try:
        return _parsed(text)
    except ValueError as error:
        message = f"environment variable {name}: looks like a YAML list or map, but is not valid{error}"
        raise SettingsError(message) from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result
