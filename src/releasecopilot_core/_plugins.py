"""Find plugins, load each on its own, block, list and ask them; every fault bears a plugin's name."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import pluggy

from . import _hookspecs
from ._codec import did_you_mean
from ._hookspecs import PROJECT
from ._model import Problem
from .errors import PluginError, ReleaseCopilotError, StoreError, UnknownNameError

DISABLED_VARIABLE = "RC_DISABLED_PLUGINS"


@attrs.frozen(kw_only=True)
class PluginInfo:
    """What `rc plugins` shows of one plugin."""

    name: str
    version: str | None
    status: Literal["loaded", "failed", "disabled"]
    hooks: tuple[str, ...] = ()
    error: str | None = None


class Host:
    """The plugins of one `Ingestor`.

    Plugins load when the first question is asked, in the order of their names. One that cannot be loaded, or raises when
    asked, never takes the others down: it is listed in `problems`.

    `plugins` are registered besides the installed ones (name -> module or object), for embedders and tests.
    """

    def __init__(self, *, disabled: Iterable[str] = (), plugins: Mapping[str, object] | None = None) -> None:
        from_environment = os.environ.get(DISABLED_VARIABLE, "")
        self._disabled = {*disabled, *(name.strip() for name in from_environment.split(","))} - {""}
        self._extra = dict(plugins or {})
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(_hookspecs)
        self._infos: dict[str, PluginInfo] = {}
        self._found: dict[str, Sequence[tuple[str, pluggy.HookImpl]]] = {}
        self._faults: dict[tuple[str, str], tuple[int, str]] = {}
        self._openers: dict[tuple[str, str], str] = {}
        self._loaded = False
        self._lock = threading.RLock()

    # --- loading ---------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all installed plugins, without loading any."""
        return sorted({entry.name for entry in _entry_points()} | set(self._extra))

    def load(self) -> None:
        """Load everything that is installed and not disabled; does nothing the second time."""
        with self._lock:
            if not self._loaded:
                self._load_all()
                self._loaded = True

    def _load_all(self) -> None:
        candidates: list[tuple[str, str | None, Callable[[], object]]] = [
            (entry.name, entry.dist.version if entry.dist else None, entry.load) for entry in _entry_points()
        ]
        candidates += [(name, None, functools.partial(_given, plugin)) for name, plugin in self._extra.items()]
        for name, version, load in sorted(candidates, key=lambda candidate: candidate[0]):
            if name in self._infos:
                message = "two plugins of this name are installed; uninstall one"
                self._infos[name] = attrs.evolve(self._infos[name], error=message)
                continue
            self._infos[name] = self._load_one(name, version, load)

    def _load_one(self, name: str, version: str | None, load: Callable[[], object]) -> PluginInfo:
        if name in self._disabled:
            return PluginInfo(name=name, version=version, status="disabled")
        try:
            plugin = load()
            hash(plugin)  # pluggy keeps plugins in sets, and would fail at the first question
            self._manager.register(plugin, name=name)
            hooks = self._checked_hooks(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's module may raise anything, SystemExit included
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            return PluginInfo(name=name, version=version, status="failed", error=in_one_line(error))
        return PluginInfo(name=name, version=version, status="loaded", hooks=hooks)

    def _checked_hooks(self, plugin: object) -> tuple[str, ...]:
        """Return the hooks that a plugin implements; refuse unknown ones and wrappers, which pluggy would let pass."""
        hooks = []
        known = [name for name in vars(_hookspecs) if name.startswith("rc_")]
        for caller in self._manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                raise PluginValidation(f"unknown hook {caller.name!r}{did_you_mean(caller.name, known)}")
            for impl in caller.get_hookimpls():
                if impl.plugin is plugin and (impl.wrapper or impl.hookwrapper):
                    raise PluginValidation(f"hook {caller.name!r}: wrappers are refused; return a value instead")
            hooks.append(caller.name)
        return tuple(sorted(hooks))

    def infos(self) -> list[PluginInfo]:
        """Return what is known of every installed plugin, by name."""
        self.load()
        return [self._infos[name] for name in sorted(self._infos)]

    def versions(self) -> dict[str, str]:
        """Return the version of each plugin that is loaded; the empty text for one that has none."""
        return {info.name: info.version or "" for info in self.infos() if info.status == "loaded"}

    # --- asking ----------------------------------------------------------------------------------------------

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yield (plugin name, answer) of every plugin that implements a hook and does not answer `None`.

        Iterable answers other than mappings and texts come as lists. A plugin that raises is noted in `problems` and
        skipped; an error that this package raises on purpose (a wrong setting, say) is passed on.
        """
        for name, impl in self._implementations(hook):
            try:
                answer = _drained(impl.function(*[arguments[wanted] for wanted in impl.argnames]))
            except ReleaseCopilotError:
                raise
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # code we did not write
                self.blame(name, hook, error)
                continue
            if answer is not None:
                yield name, answer

    def _implementations(self, hook: str) -> Sequence[tuple[str, pluggy.HookImpl]]:
        """Return what implements a hook, by the plugins' names; pluggy's own call stops at the first plugin that raises."""
        found = self._found.get(hook)
        if found is None:
            with self._lock:
                self.load()
                impls = getattr(self._manager.hook, hook).get_hookimpls()
                found = self._found[hook] = sorted(((i.plugin_name, i) for i in impls), key=lambda pair: pair[0])
        return found

    def named(self, hook: str, **arguments: Any) -> dict[str, tuple[str, Any]]:
        """Return name -> (plugin, value) over the mappings that all plugins return; the first plugin's name wins."""
        found: dict[str, tuple[str, Any]] = {}
        for plugin, mapping in self.ask(hook, **arguments):
            if not isinstance(mapping, Mapping):
                self.blame(plugin, hook, TypeError(f"expected a mapping of names, not {type(mapping).__name__}"))
                continue
            for name, value in mapping.items():
                if name in found:
                    taken = ValueError(f"{name!r} is already provided by plugin {found[name][0]!r}")
                    self.blame(plugin, hook, taken)
                else:
                    found[name] = (plugin, value)
        return found

    def open_named(self, hook: str, name: str, settings: Any, *, what: str, needs: Iterable[str] = ()) -> Any:
        """Open the thing called `name`; `what` is the noun for the error message, `needs` are attributes it must have.

        Raises:
            UnknownNameError: no plugin provides that name.
            PluginError: its opener raised, or what it returned lacks something.
        """
        found = self.named(hook, settings=settings)
        if name not in found:
            names = ", ".join(sorted(found)) or "none"
            raise UnknownNameError(f"no {what} named {name!r}; installed: {names}{self._failed_note()}")
        plugin, opener = found[name]
        opened = self.guard(plugin, hook, lambda: opener(settings))
        if opened is None:
            raise PluginError(plugin, f"{hook}: what opens {name!r} returned nothing")
        self._openers[hook, name] = plugin
        return self._complete(plugin, hook, opened, f"{what} {name!r}", needs)

    def open_first(
        self, hook: str, url: str, settings: Any, *, what: str, needs: Iterable[str] = (), **more: Any
    ) -> Any:
        """Return the first plugin's answer to a URL; `needs` are attributes that it must have.

        Raises:
            UnknownNameError: no plugin knows such a URL.
            PluginError: none opened it, and one raised when it tried; or what was opened lacks something.
        """
        for plugin, opened in self.ask(hook, url=url, settings=settings, **more):
            self._openers[hook, url] = plugin
            return self._complete(plugin, hook, opened, what, needs)
        for (plugin, asked), (_, text) in sorted(self._faults.items()):
            if asked == hook:
                raise PluginError(plugin, f"{hook} failed ({text})")
        scheme = repr(url.split(":", 1)[0]) if ":" in url else "a path"
        raise UnknownNameError(
            f"no plugin opens {scheme} as {_article(what)} {what}{self._failed_note()}; see `rc plugins`"
        )

    def _complete(self, plugin: str, hook: str, opened: Any, what: str, needs: Iterable[str]) -> Any:
        lacking = self.guard(plugin, hook, lambda: [name for name in needs if not hasattr(opened, name)])
        if lacking:
            raise PluginError(plugin, f"its {what} has no {', '.join(map(repr, lacking))}; fix it, or upgrade it")
        return opened

    def opener(self, hook: str, name: str) -> str:
        """Return the plugin that opened what is called `name`, or what is at that URL."""
        return self._openers[hook, name]

    def guard(self, plugin: str, hook: str, call: Callable[[], Any]) -> Any:
        """Call a plugin's function; whatever it raises that is not ours becomes a `PluginError` with its name."""
        try:
            return call()
        except (ReleaseCopilotError, KeyboardInterrupt):
            raise
        except BaseException as error:  # code we did not write
            raise PluginError(plugin, f"{hook} failed ({in_one_line(error)})") from error

    # --- blame -----------------------------------------------------------------------------------------------

    def blame(self, plugin: str, hook: str, error: BaseException) -> None:
        """Note that a plugin raised; the first error is kept, the others are counted."""
        count, message = self._faults.get((plugin, hook), (0, in_one_line(error)))
        self._faults[plugin, hook] = (count + 1, message)

    def problems(self) -> list[Problem]:
        """Return what went wrong with plugins so far, each with the plugin's name and a remedy."""
        return [Problem(kind="plugin", message=str(error)) for error in self.faults()]

    def faults(self) -> Iterator[PluginError]:
        """Yield what went wrong with plugins so far, as errors that may be raised."""
        for info in self.infos():
            if info.error is not None:
                what = f"failed to load ({info.error})" if info.status == "failed" else info.error
                yield PluginError(info.name, f"{what}; fix it, or set {DISABLED_VARIABLE}={info.name}")
        for (plugin, hook), (count, text) in sorted(self._faults.items()):
            times = f" {count} times" if count > 1 else ""
            remedy = "fix it and run `rc rekey`" if hook == "rc_story_keys" else "fix it"
            remedy += f", or set {DISABLED_VARIABLE}={plugin}"
            yield PluginError(plugin, f"{hook} failed{times} ({text}); {remedy}")

    def _failed_note(self) -> str:
        failed = [info.name for info in self.infos() if info.status != "loaded"]
        return f" (not loaded: {', '.join(failed)})" if failed else ""


@attrs.frozen
class Blame:
    """What a fault of a run's source and of its sink is called."""

    source: str
    sink: str


class StoreBroken(StoreError):
    """A store raised something that it does not raise on purpose; its traceback is worth a log line."""


class StoreLacks(StoreBroken, AttributeError):
    """A store that has no such method: for `hasattr` as well."""


class BlamedStore:
    """A store that a plugin opened: what it raises by mistake becomes a `StoreError` with the plugin's name."""

    def __init__(self, store: object, plugin: str) -> None:
        self._store = store
        self._plugin = plugin

    def __getattr__(self, name: str) -> Any:
        try:
            found = getattr(self._store, name)
        except AttributeError as error:
            raise StoreLacks(f"plugin {self._plugin!r}: its store has no {name!r}; fix it, or upgrade it") from error
        return functools.partial(self._called, name, found) if callable(found) else found

    def _called(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            answer = method(*arguments, **named)
        except (ReleaseCopilotError, KeyboardInterrupt):
            raise
        except BaseException as error:  # code we did not write
            raise self._broken(name, error) from error
        return self._each(name, answer) if isinstance(answer, Iterator) else answer

    def _each(self, name: str, answers: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from answers
        except (ReleaseCopilotError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # code we did not write
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: BaseException) -> StoreBroken:
        return StoreBroken(
            f"plugin {self._plugin!r}: the store's {name!r} failed ({in_one_line(error)}); what was stored stays"
        )


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


class PluginValidation(Exception):
    """A plugin that loads but does not keep to the rules."""


def _given(plugin: object) -> object:
    return plugin


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=PROJECT), key=lambda entry: entry.name)


def _drained(answer: Any) -> Any:
    """Turn a generator into a list here, inside the caller's `try`: it raises only when it is read."""
    return list(answer) if hasattr(answer, "__next__") else answer


def in_one_line(error: BaseException) -> str:
    """Return what a plugin's error says, as problems show it: its kind and its message."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginValidation) else f"{type(error).__name__}: {text}".rstrip(": ")
