"""Choose repositories and branches: paths, URLs, and names or globs of what is configured; `*` crosses `/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

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


def change_mark(refs: Refs) -> str:
    """Return a text that changes when any branch moves, appears or goes."""
    return hashlib.sha256(json.dumps(sorted(refs.tips.items())).encode()).hexdigest()
