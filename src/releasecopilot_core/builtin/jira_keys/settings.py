"""The settings section `story_keys`: which keys count."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from .ignored import ADVISORIES, IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

_PROJECT = re.compile(r"[A-Z][A-Z0-9_]+")
_PROJECT_OR_KEY = re.compile(r"[A-Z][A-Z0-9_]+(?:-[1-9][0-9]{0,6})?")

#: Longest project name that counts without an allow-list. Jira's own limit is 10 unless an administrator raises it;
#: what is longer is a constant of somebody's code.
LONGEST_PROJECT = 20


def _all_match(pattern: re.Pattern[str], what: str) -> Callable[[object, Attribute[Any], tuple[str, ...] | None], None]:
    def check(_: object, attribute: Attribute[Any], names: tuple[str, ...] | None) -> None:
        for name in names or ():
            if not pattern.fullmatch(name):
                fits = pattern.fullmatch(name.upper())
                remedy = (
                    f"did you mean {name.upper()!r}?" if fits else "use two or more of A-Z, 0-9 and _, a letter first"
                )
                raise ValueError(f"{attribute.name}: {name!r} is not {what}; {remedy}")

    return check


# Without slots, so that `cached_property` works with every attrs; it writes past the frozen `__setattr__`.
@attrs.frozen(kw_only=True, slots=False)
class StoryKeySettings:
    """Which projects' keys count.

    `projects` is an allow-list: if it names any, only those count, whatever the built-in ignore list says, and in
    branch names also in lower case. Otherwise `ignore_also` adds to the built-in ignore list and `ignore` replaces it;
    their entries are projects (`UTF`) or single keys (`ARM-64`). What these two name never counts, allowed or not.

    Raises:
        ValueError: a name is not a Jira project key.
    """

    projects: tuple[str, ...] = attrs.field(default=(), validator=_all_match(_PROJECT, "a Jira project key"))
    ignore_also: tuple[str, ...] = attrs.field(
        default=(), validator=_all_match(_PROJECT_OR_KEY, "a Jira project or story key")
    )
    ignore: tuple[str, ...] | None = attrs.field(
        default=None, validator=_all_match(_PROJECT_OR_KEY, "a Jira project or story key")
    )

    @cached_property
    def ignored(self) -> frozenset[str]:
        """Projects and single keys that do not count."""
        if self.ignore is not None:
            return frozenset(self.ignore) | frozenset(self.ignore_also)
        return frozenset(self.ignore_also) | (frozenset() if self.projects else IGNORED)

    @cached_property
    def advisories(self) -> frozenset[str]:
        """Ignored words that claim whatever follows them behind hyphens."""
        return (ADVISORIES if self.ignore is None else ADVISORIES & self.ignored) - self._allowed

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(self.projects)

    @cached_property
    def _longest_first(self) -> tuple[str, ...]:
        return tuple(sorted(self._allowed, key=lambda name: (-len(name), name)))

    def project_at_end(self, word: str) -> str | None:
        """Return the project that `word` (no hyphens, in upper case where case does not count) is or ends with.

        Underscores part words, but may also stand in a project's name: the longest name that counts is taken.
        """
        if self.projects:
            return self._allowed_at_end(word)
        if word in self.ignored:
            return None
        project = word if _PROJECT.fullmatch(word) and "_" not in word else self._after_other_words(word)
        return project if project is not None and len(project) <= LONGEST_PROJECT else None

    def counts(self, project: str, key: str) -> bool:
        """Whether nothing tells to ignore this project or this one key."""
        return project not in self.ignored and key not in self.ignored

    def _allowed_at_end(self, word: str) -> str | None:
        if word in self._allowed:
            return word
        for name in self._longest_first:
            if word.endswith(f"_{name}"):
                return None if _ends_in_number(word[: -len(name)]) else name
        return None

    def _after_other_words(self, word: str) -> str | None:
        """Return `RC` of `feature_RC`, `_RC` and `HOTFIX_RC`, `MY_APP` of `MY_APP`, nothing of `1_0_RC` and `INT_MAX`."""
        pieces = word.split("_")
        start = len(pieces)
        while start and pieces[start - 1].isascii() and pieces[start - 1].isupper() and pieces[start - 1][0].isalpha():
            start -= 1
        while start < len(pieces) and pieces[start] in self.ignored:
            start += 1
        if start == len(pieces) or pieces[-1] in self.ignored or _ends_in_number("_".join(pieces[:start])):
            return None
        project = "_".join(pieces[start:])
        return project if _PROJECT.fullmatch(project) else None


def _ends_in_number(before: str) -> bool:
    return before.rstrip("_")[-1:].isdigit()
