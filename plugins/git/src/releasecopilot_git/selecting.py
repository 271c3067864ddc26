"""Choose repositories and branches: paths, URLs, and names or globs of what is configured; `*` crosses `/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from releasecopilot_core import Problem
from releasecopilot_core.errors import SourceError, UnknownNameError, UsageError

from .locating import Location, is_url, located
from .refs import Refs

SOURCE = "git"


@attrs.frozen
class Selection:
    """Repositories to scan, in the order in which they were named, and those that are not there (name -> error)."""

    locations: tuple[Location, ...]
    failed: Mapping[str, SourceError]


def select_repositories(asked: Sequence[str] | None, configured: Sequence[str]) -> Selection:
    """Return where the repositories are that were asked for, or else the configured ones; each of them once.

    What was asked for is a path or URL, or the name of a configured repository (`folder/name` or `name`) or a glob.

    Raises:
        UnknownNameError: there is nothing by a name that was asked for.
        UsageError: nothing was asked for, and nothing is configured.
    """
    found: dict[str, Location] = {}
    failed: dict[str, SourceError] = {}
    known: dict[str, Location] = {}
    for text in configured:
        try:
            known[text] = located(text)
        except SourceError as error:
            if asked is None:
                failed[text] = error
    if asked is None:
        if not configured:
            raise UsageError("nothing to scan; name a path or URL, or list them as git.repositories in the settings")
        return Selection(_each_once(known.values()), failed)
    for text in asked:
        for location in _asked(text, list(known.values())):
            found.setdefault(location.uuid, location)
    return Selection(tuple(found.values()), failed)


def _each_once(locations: Iterable[Location]) -> tuple[Location, ...]:
    return tuple({location.uuid: location for location in locations}.values())


def _asked(text: str, known: Sequence[Location]) -> list[Location]:
    if not text.strip():  # a variable that is not set would otherwise stand for the working directory
        raise UnknownNameError("an empty name; name a path or URL")
    if is_url(text) or Path(text).exists():
        try:
            return [located(text)]
        except SourceError as error:
            raise UnknownNameError(str(error)) from error
    names = [(location, {location.full_name, location.full_name.rpartition("/")[2]}) for location in known]
    chosen = [location for location, called in names if any(fnmatchcase(name, text) for name in called)]
    if not chosen:
        configured = ", ".join(sorted(location.full_name for location in known)) or "none"
        raise UnknownNameError(
            f"{text}: no such path, and no configured repository of that name; there are: {configured}"
        )
    return chosen


def is_glob(pattern: str) -> bool:
    """Whether a pattern stands for more than one name."""
    return any(sign in pattern for sign in "*?[")


def select_branches(names: Iterable[str], patterns: Sequence[str], main: str | None) -> tuple[str, ...]:
    """Return the names that patterns choose, in the patterns' order; no patterns mean the main branch."""
    known = sorted(names)
    if not patterns:
        return (main,) if main in known and main is not None else ()
    chosen: dict[str, None] = {}
    for pattern in patterns:
        chosen.update(dict.fromkeys(name for name in known if fnmatchcase(name, pattern)))
    return tuple(chosen)


def found_nowhere(patterns: Sequence[str], found: Container[str]) -> tuple[Problem, ...]:
    """Return a problem for each branch that was named and exists in none of the repositories that could be read."""
    return tuple(
        Problem(kind="branch", message=f"no repository has a branch {pattern!r}; check --branches or default_branches")
        for pattern in patterns
        if not is_glob(pattern) and pattern not in found
    )


def selection_text(patterns: Sequence[str]) -> str:
    """Return the text by which a later scan knows whether it selects the same branches."""
    return json.dumps(list(patterns))


def change_mark(refs: Refs) -> str:
    """Return a text that changes when any branch moves, appears or goes."""
    return hashlib.sha256(json.dumps(sorted(refs.tips.items())).encode()).hexdigest()
