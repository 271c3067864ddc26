"""Ask every extractor for a commit's story keys, and say by which rules that was done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from ._batch import Batch
from ._model import Commit, Origin, Sighting, StoryKey
from .errors import ReleaseCopilotError

if TYPE_CHECKING:
    from ._plugins import Host
    from ._settings import Settings

_HOOK = "rc_story_keys"

#: What is longer is no name of a story.
LONGEST_KEY = 255


class KeyFinder:
    """Finds story keys with all installed extractors. Pure, but for the faults that it notes at the host."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self._host = host
        self._settings = settings

    def check(self) -> None:
        """Raise a wrong `story_keys` setting now, before anything is scanned."""
        self.keys_of(Commit(sha="0" * 40, message=""))

    def attach(self, batch: Batch) -> Batch:
        """Return the batch with the keys of each commit added."""
        commits = tuple(map(self._with_keys, batch.commits))
        return batch if commits == batch.commits else attrs.evolve(batch, commits=commits)

    def _with_keys(self, commit: Commit) -> Commit:
        keys = self.keys_of(commit)
        return commit.but(story_keys=commit.story_keys | keys) if keys else commit

    def keys_of(self, commit: Commit) -> frozenset[StoryKey]:
        """Return all keys that the commit's texts name, each with its origin and the plugin that found it."""
        if commit.message is None and not commit.texts:
            return frozenset()
        found: set[StoryKey] = set()
        for plugin, answer in self._host.ask(_HOOK, commit=commit, settings=self._settings):
            try:
                found |= self._understood(plugin, answer, commit)
            except (ReleaseCopilotError, KeyboardInterrupt):
                raise
            except BaseException as error:  # code we did not write: an answer may do anything when it is read
                self._host.blame(plugin, _HOOK, error)
        return frozenset(found)

    def _understood(self, plugin: str, answer: object, commit: Commit) -> set[StoryKey]:
        found: set[StoryKey] = set()
        plain: set[str] = set()
        for key in _iterable(answer):
            if isinstance(key, StoryKey):
                found.add(StoryKey(_checked(key.key), key.origin, plugin))
            else:
                plain.add(_checked(key))
        if plain:
            found |= {StoryKey(key, origin, plugin) for key, origin in self._origins(plugin, plain, commit)}
        return found

    def _origins(self, plugin: str, keys: set[str], commit: Commit) -> Iterable[tuple[str, Origin]]:
        """Yield where each plain key comes from, by asking again with one kind of text at a time."""
        pieces = _pieces(commit)
        if len(pieces) == 1:
            yield from ((key, pieces[0][0]) for key in keys)
            return
        unexplained = set(keys)
        for origin, piece in pieces:
            here = self._ask_one(plugin, piece) & keys
            unexplained -= here
            yield from ((key, origin) for key in here)
        yield from ((key, "other") for key in unexplained)

    def _ask_one(self, plugin: str, piece: Commit) -> set[str]:
        answers = self._host.ask(_HOOK, commit=piece, settings=self._settings)
        return {key for name, answer in answers if name == plugin for key in _iterable(answer) if isinstance(key, str)}

    @property
    def fingerprint(self) -> str:
        """Change whenever the rules do: the extractors with their versions, and the `story_keys` settings."""
        extractors = [
            (info.name, info.version) for info in self._host.infos() if info.status == "loaded" and _HOOK in info.hooks
        ]
        rules = json.dumps([extractors, self._settings.raw("story_keys") or {}], sort_keys=True, default=str)
        return hashlib.sha256(rules.encode()).hexdigest()[:16]


def _pieces(commit: Commit) -> list[tuple[Origin, Commit]]:
    """Split a commit into one for each kind of text that it has."""
    kinds: list[tuple[Origin, bool, Callable[[], Commit]]] = [
        ("message", commit.message is not None, lambda: attrs.evolve(commit, sightings=frozenset())),
        ("branch", bool(commit.branches), lambda: _only(commit, "branch")),
        ("pr_title", bool(commit.titles), lambda: _only(commit, "title")),
    ]
    return [(origin, make()) for origin, present, make in kinds if present]


def _only(commit: Commit, kind: str) -> Commit:
    def without_the_other(seen: Sighting) -> Sighting:
        return attrs.evolve(seen, title=None) if kind == "branch" else attrs.evolve(seen, branch=None)

    kept = (without_the_other(seen) for seen in commit.sightings if getattr(seen, kind) is not None)
    return attrs.evolve(commit, message=None, sightings=frozenset(kept))


def _checked(key: object) -> str:
    """Return a key that can be stored, printed and typed."""
    if not isinstance(key, str):
        raise TypeError(f"expected StoryKey or str, not {key!r}")
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise ValueError(f"expected a key of up to {LONGEST_KEY} printable characters, not {key[:40]!a}")
    return str(key)


def _iterable(answer: object) -> Iterable[object]:
    # A text is iterable too: "RC-1" would become four keys.
    if not isinstance(answer, list) and (isinstance(answer, str | bytes) or not isinstance(answer, Iterable)):
        raise TypeError(f"expected a list of keys, not {answer!r}")
    return answer
