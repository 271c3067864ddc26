"""The one strict converter: from plain values (YAML, JSON) to attrs classes, with errors that carry their path."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

T = TypeVar("T")

_UNKNOWN = "unknown key"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class EnvText(str):
    """A value that came from an environment variable: text, but it may stand for a number or a truth value."""


@attrs.frozen
class Fault:
    """One thing wrong with a document: the path inside it (`section.key`) and what is wrong."""

    path: str
    message: str


def expand_references(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace each `${VAR}` by that environment variable.

    Raises:
        ValueError: a variable is not set; the message names it.
    """
    known = os.environ if environ is None else environ

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in known:
            raise ValueError(f"environment variable {name} is not set; export it, or write the value another way")
        return known[name]

    return _REFERENCE.sub(value_of, text)


def did_you_mean(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or the list of them if nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {value!r}; put it in quotes")
    if "\0" in value:
        raise ValueError(f"expected text without NUL characters, not {value!r}")
    return expand_references(value)


def _number(value: Any, _: Any) -> float:
    if isinstance(value, EnvText):
        return float(value)
    # A bool is an int to Python, but `retry_seconds: yes` is a mistake.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, not {value!r}")
    return float(value)


def _whole_number(value: Any, _: Any) -> int:
    if isinstance(value, EnvText):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, not {value!r}")
    return value


def _truth(value: Any, _: Any) -> bool:
    if isinstance(value, EnvText) and value.lower() in ("true", "false", "1", "0", "yes", "no"):
        return value.lower() in ("true", "1", "yes")
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {value!r}")
    return value


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _literal_hook(kind: Any) -> Any:
    allowed = get_args(kind)

    def structure(value: Any, _: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(map(str, allowed))}, not {value!r}")
        return allowed[allowed.index(value)]

    return structure


def make_converter() -> cattrs.Converter:
    """Return a converter that refuses unknown keys and never turns one type into another.

    cattrs by default calls `str(None)`, and takes `"abc"` for a tuple of three letters; both hide mistakes.
    """
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(int, _whole_number)
    converter.register_structure_hook(bool, _truth)

    def tuple_hook(kind: Any) -> Any:
        item = get_args(kind)[0]
        one_is_enough = getattr(item, "one_is_enough", False)

        def structure(value: Any, _: Any) -> tuple[Any, ...]:
            if one_is_enough and isinstance(value, str):
                value = [value]
            if not isinstance(value, list | tuple):
                raise ValueError(f"expected a list such as [{value}], not {value!r}")
            faults: list[Exception] = []
            items = []
            for index, entry in enumerate(value):
                try:
                    items.append(converter.structure(entry, item))
                except Exception as error:
                    error.add_note(str(index))
                    faults.append(ValueError(f"entry {index + 1}: {_one_line(error)}"))
            if faults:
                raise faults[0]
            return tuple(items)

        return structure

    converter.register_structure_hook_factory(_is_tuple, tuple_hook)
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    return converter


def structure(value: Any, kind: type[T], *, path: str, converter: cattrs.Converter | None = None) -> T | list[Fault]:
    """Return `value` as a `kind`, or the list of all faults in it."""
    if not isinstance(value, Mapping):
        return [Fault(path, f"expected keys and values, not {value!r}")]
    try:
        return (converter or make_converter()).structure(value, kind)
    except ClassValidationError as error:
        # A required key that is misspelt is missing, too: its spelling is what to mend.
        return sorted(_faults(error, path), key=lambda fault: not fault.message.startswith(_UNKNOWN))


def _faults(error: BaseException, path: str) -> list[Fault]:
    """Flatten a tree of cattrs errors into one fault a leaf."""
    if isinstance(error, ClassValidationError):
        found: list[Fault] = []
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            found += _faults(inner, f"{path}.{note.name}")
        for other in without:
            found += _extra_keys(other, path) if isinstance(other, ForbiddenExtraKeysError) else _faults(other, path)
        return found
    if isinstance(error, IterableValidationError):
        return [Fault(path, _one_line(inner)) for inner in error.exceptions]
    return [Fault(path, _one_line(error))]


def _extra_keys(error: ForbiddenExtraKeysError, path: str) -> list[Fault]:
    known = [field.name for field in attrs.fields(error.cl)]
    return [
        Fault(f"{path}.{key}", f"{_UNKNOWN}{did_you_mean(str(key), known)}")
        for key in sorted(error.extra_fields, key=str)
    ]


def _one_line(error: BaseException) -> str:
    if isinstance(error, ClassValidationError | IterableValidationError):
        return "; ".join(f"{fault.path}: {fault.message}".lstrip(".: ") for fault in _faults(error, ""))
    if isinstance(error, KeyError) and not isinstance(error, cattrs.errors.BaseValidationError):
        return f"{error.args[0]!r} is missing"
    return " ".join(str(error).split())
