"""The query language of lists: `q=name ~ "x" AND updated_on > "…"` and `sort=-name`.

Source: the chapter "Filtering and sorting" of Atlassian's OpenAPI text. `OR` and parentheses are not spoken here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from .answers import bad_request

T = TypeVar("T")

_TERM = re.compile(r'\s*([\w.]+)\s*(>=|<=|!=|!~|=|~|>|<)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))\s*')
_AND = re.compile(r"\s*AND\b", re.IGNORECASE)
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "~": lambda a, b: b.lower() in a.lower(),
    "!~": lambda a, b: b.lower() not in a.lower(),
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
#: Fields that hold times; the others are texts.
_TIMES = ("updated_on", "created_on", "target.date")


def matching(values: Sequence[T], query: str | None, keys: dict[str, Callable[[T], Any]]) -> list[T]:
    """Return the values that satisfy a query; `keys` are the fields that it may name.

    Raises:
        Refused: with a 400, for a query that is not understood.
    """
    tests = _terms(query or "")
    for name, _, _ in tests:
        if name not in keys:
            raise bad_request(f"Invalid or unsupported field: {name}", {"q": f"there are: {', '.join(keys)}"})
    return [v for v in values if all(_TESTS[sign](keys[name](v), wanted) for name, sign, wanted in tests)]


def ordered(values: Sequence[T], sort: str | None, keys: dict[str, Callable[[T], Any]]) -> list[T]:
    """Return the values in the order of `sort`, as they are without one; texts that hold numbers sort naturally.

    Raises:
        Refused: with a 400, for a field that does not sort.
    """
    if not sort:
        return list(values)
    name = sort.removeprefix("-")
    if name not in keys:
        raise bad_request(f"Invalid or unsupported field: {name}", {"sort": f"there are: {', '.join(keys)}"})
    return sorted(values, key=lambda value: _natural(keys[name](value)), reverse=sort.startswith("-"))


def _terms(query: str) -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    place = 0
    while place < len(query) and query[place:].strip():
        if found:
            joined = _AND.match(query, place)
            if joined is None:
                raise bad_request("Invalid query", {"q": "expected AND"})
            place = joined.end()
        term = _TERM.match(query, place)
        if term is None:
            raise bad_request("Invalid query", {"q": 'expected FIELD OPERATOR "VALUE"'})
        name, sign, quoted, bare = term.groups()
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        if name in _TIMES and "~" in sign:
            raise bad_request("Invalid query", {"q": f"{sign} does not go with times"})
        found.append((name, sign, _moment(text) if name in _TIMES else text))
        place = term.end()
    return found


def _moment(text: str) -> datetime:
    # A plus that was not encoded arrives as a space.
    try:
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
    except ValueError:
        raise bad_request("Invalid query", {"q": f"{text!r} is not a time"}) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _natural(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", value)]
