"""Find Jira keys in one text: what is a key, and what only looks like one.

A text is cut into chunks (letters, digits, `_`, `-`), a chunk into parts at its hyphens. A key is a part that ends with a
project, followed by a part that begins with a number; everything else here says when such a pair is no key. Each
character is looked at a bounded number of times, so that a megabyte of anything is read in linear time.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING

from releasecopilot_core import StoryKey

from .settings import StoryKeySettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from releasecopilot_core import Commit, Settings

# Combining accents belong to the letter before them, though `\w` does not say so.
_WORD = r"\w\u0300-\u036f"
# Most texts end here: no chunk is cut where nothing can be a key.
_MAYBE = re.compile(r"[A-Z0-9]-[1-9]")
_MAYBE_ANY_CASE = re.compile(r"[A-Za-z0-9]-[1-9]")
_PART = re.compile(rf"[{_WORD}-]")
_NO_PART = re.compile(rf"[^{_WORD}-]")

_PROJECT = re.compile(r"[A-Z][A-Z0-9_]+")
# Seven digits: nobody has ten million stories, and dates (20240501) have eight.
_NUMBER = re.compile(r"([1-9][0-9]{0,6})(?:_(.*))?", re.DOTALL)
_SLUG = re.compile(r"[0-9]*[a-z]")
_DATE = re.compile(r"(?:.*_)?(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]")
_NUMBERED = re.compile(r"(?:\w*_)?[A-Z]?[a-z]{2,}[0-9]{1,3}")
_DAY = re.compile(r"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]")
_YEAR = 4
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_UUID_LENGTH = 36
# Base64 for URLs has hyphens, too. No word is as long and mixes both cases with digits.
_RANDOM = re.compile(r"(?=\w*[a-z])(?=\w*[A-Z])(?=\w*[0-9])\w{10,}")

# An address has at most 64 characters before its @ (RFC 5321, 4.5.3.1.1); the bound keeps long dotted runs linear.
_ADDRESS = re.compile(r"(?:[.+][\w.+-]{0,64})?@\w")
_DOTTED = re.compile(rf"\.[{_WORD}]")
_WORD_END = re.compile(r"\w")
_SHELL = ("$", "${")
_VERSION_BEFORE = re.compile(r"[0-9]\.[0-9]+[ /]\Z")
_BORDER_ESCAPE = re.compile(r"0[9AaDd]|2[0-9A-Fa-f]|3[A-Fa-f]|5[B-Fb-f]|60|7[B-Eb-e]")
# Not str.upper: that makes two ASCII letters of a sharp s.
_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)


def story_keys(commit: Commit, settings: Settings) -> list[StoryKey]:
    """Return the commit's keys with their origins, by the section `story_keys`; each text is read by itself."""
    # It is one object again and again, and what is derived from it lives on it: nothing is read twice.
    rules = settings.section("story_keys", StoryKeySettings)
    found: list[StoryKey] = []
    if commit.message is not None:
        found += [StoryKey(key, "message") for key in keys_in(commit.message, rules)]
    if commit.sightings:
        for branch in commit.branches:
            found += [StoryKey(key, "branch") for key in keys_in(branch, rules, branch=True)]
        for title in commit.titles:
            found += [StoryKey(key, "pr_title") for key in keys_in(title, rules)]
    return found


def keys_in(text: str, settings: StoryKeySettings, *, branch: bool = False) -> set[str]:
    """Return the keys in one text, in upper case.

    In a branch's name hyphens stand for spaces (`RC-12-2` is RC-12, second try), and under an allow-list lower case
    counts too.
    """
    any_case = branch and bool(settings.projects)
    if not (_MAYBE_ANY_CASE if any_case else _MAYBE).search(text):
        return set()
    found: set[str] = set()
    end = 0
    for match in _MAYBE_ANY_CASE.finditer(text):
        if match.start() < end:
            continue  # in the chunk that was read
        begin = _chunk_begin(text, match.start(), end)
        rest = _NO_PART.search(text, match.end())
        end = len(text) if rest is None else rest.start()
        start = _first_letter(text, begin, end)
        if start is not None:
            found.update(_keys_of_chunk(text, start, end, settings, branch=branch, any_case=any_case))
    return found


def _chunk_begin(text: str, inside: int, end: int) -> int:
    """Return where the chunk around a place begins, which is not before the `end` of the one before."""
    while inside > end and _PART.match(text, inside - 1):
        inside -= 1
    return inside


def _first_letter(text: str, start: int, end: int) -> int | None:
    """Return where a chunk's words begin; `None` for a chunk that is no words, such as an address."""
    before = text[start - 1 : start]
    if before == "@" or _ADDRESS.match(text, end):
        return None
    if before == "%":
        # feature%2FRC-12: the escape is a border; %41RC-12, an encoded letter, is none.
        return start + 2 if _BORDER_ESCAPE.match(text, start) else None
    return start


def _keys_of_chunk(
    text: str, start: int, end: int, settings: StoryKeySettings, *, branch: bool, any_case: bool
) -> Iterator[str]:
    """Yield the keys of `text[start:end]`, from left to right."""
    chunk = text[start:end]
    parts = (_UUID.sub("uuid", chunk) if len(chunk) >= _UUID_LENGTH else chunk).split("-")
    # Where the last number was that belongs to a key (counting or not), and what stood behind it: RC-12-RC-13 and
    # RC-12_RC-13 are two keys each.
    number_at, after_number = -1, ""
    for index in range(len(parts) - 1):
        written = after_number if number_at == index else parts[index]
        word = written.translate(_UPPER) if any_case else written
        if word in settings.advisories:
            return
        number = _NUMBER.fullmatch(parts[index + 1]) if word else None
        joined = index > 0 and number_at in (index, index - 1)
        if number is None or not (joined or _may_begin(text, start, parts, index)):
            continue
        project = settings.project_at_end(word)
        if project is not None or _PROJECT.fullmatch(written):
            number_at, after_number = index + 1, number[2] or ""
        if (
            project is not None
            and settings.counts(project, key := f"{project}-{number[1]}")
            and (joined or project != "RC" or not _is_candidate(text, start, parts, index))
            and _may_end(number[2], parts, index + 2, branch=branch)
            and not (index == len(parts) - 2 and number[2] is None and _DOTTED.match(text, end))
        ):
            yield key


def _may_begin(text: str, start: int, parts: Sequence[str], index: int) -> bool:
    """Whether a key may begin at this part, by what stands before it."""
    dotted = text[start - 1 : start] == "." and start > 1
    if index == 0:
        # acme.RC-12 is a host or a file; ${PORT-8080} is a shell's default value.
        return not ((dotted and _WORD_END.match(text, start - 2)) or text.endswith(_SHELL, 0, start))
    before = parts[index - 1]
    if before[-1:].isdigit():
        # 1.0-RC-1, 12-MAR-31, A0-B1-17: numbers go on. But people put dates and sprint42 before a key.
        return bool(
            _NUMBERED.fullmatch(before)
            or _DAY.fullmatch(before)
            or _DATE.fullmatch("-".join(parts[max(0, index - 3) : index]))
        )
    if index == 1 and dotted and text[start - 2].isdigit():
        return False  # 1.0.x-RC-1
    return not _RANDOM.fullmatch(before)


def _may_end(tail: str | None, parts: Sequence[str], at: int, *, branch: bool) -> bool:
    """Whether a key may end before this: `tail` behind an underscore, then the parts from `at` on.

    Words may follow (`RC-12-fix`, `RC-12-404-page`), more numbers may not: `AB12-3456-7890` is a serial number and
    `SEP-10-2024` a day.
    """
    first = tail if tail is not None else parts[at] if at < len(parts) else ""
    if not first[:1].isdigit():
        return True
    if branch and not (first.isdecimal() and len(first) >= _YEAR):
        return True
    return _words_follow(tail, parts, at)


def _words_follow(tail: str | None, parts: Sequence[str], at: int) -> bool:
    for piece in tail.split("_") if tail is not None else ():
        if not piece.isdecimal():
            return _SLUG.match(piece) is not None
    for index in range(at, len(parts)):
        if not parts[index].isdecimal():
            return _SLUG.match(parts[index]) is not None
    return False


def _is_candidate(text: str, start: int, parts: Sequence[str], index: int) -> bool:
    """Whether this is the release candidate of what is before it: `2.0 RC-1`, `oauth2-RC-1`; nobody has a tenth."""
    if parts[index + 1][1:2].isdigit():
        return False
    if index == 0:
        return _VERSION_BEFORE.search(text, max(0, start - 24), start) is not None
    return parts[index - 1][-1:].isdigit()
