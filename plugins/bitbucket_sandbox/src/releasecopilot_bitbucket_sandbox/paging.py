"""Pages: numbered ones that tell their size, and iterator ones behind an opaque `ctx`."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs
from werkzeug.datastructures import MultiDict
from werkzeug.urls import iri_to_uri

from .answers import bad_request
from .git import Selection

T = TypeVar("T")

_KEPT = 5_000


def page_length(arguments: MultiDict[str, str], *, default: int, most: int) -> int:
    """Return the wanted length of a page.

    Raises:
        Refused: more than the cap is a 400, not clamped (observed on pull-request lists by constructorfabric/insight,
            2026; assumed for all).
    """
    length = whole(arguments.get("pagelen", str(default)))
    if length is None or not 1 <= length <= most:
        raise bad_request("Invalid pagelen", {"pagelen": f"must be from 1 to {most}"})
    return length


def page_number(arguments: Mapping[str, str]) -> int:
    """Return the number of the page that is asked for; anything but a number from 1 is a 400 (BCLOUD-19593)."""
    number = whole(arguments.get("page", "1"))
    if not number:
        raise bad_request("Invalid page")
    return number


def whole(text: str) -> int | None:
    """Return a text as a number, `None` if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def numbered(
    values: Sequence[T], arguments: MultiDict[str, str], address: str, length: int
) -> tuple[Sequence[T], dict[str, Any]]:
    """Return the values of the page that was asked for, and its envelope without them.

    `next` keeps the other parameters (recorded in reviewboard's tests); `previous` stands from page 2 on.
    """
    number = page_number(arguments)
    end = number * length
    envelope: dict[str, Any] = {"pagelen": length, "size": len(values), "page": number}
    query = [(key, value) for key, value in arguments.items(multi=True) if key != "page"]
    if end < len(values):
        envelope["next"] = with_query(address, [*query, ("page", str(number + 1))])
    if number > 1:
        envelope["previous"] = with_query(address, [*query, ("page", str(number - 1))])
    return values[end - length : end], envelope


def with_query(address: str, query: Sequence[tuple[str, str]]) -> str:
    """Return an address with a query."""
    return iri_to_uri(address) + "?" + urlencode(query)


@attrs.define
class Context:
    """What an opaque `ctx` stands for: a listing that was begun, and how many of its further pages were asked for."""

    uuid: str
    selection: Selection
    length: int
    fields: str | None
    followed: int = 0


class Contexts:
    """The listings that can be continued; the oldest are forgotten. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Context] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, context: Context) -> str:
        """Return a new `ctx`: 32 hexadecimal digits, like the recorded ones (codecov/shared, cassettes)."""
        name = secrets.token_hex(16)
        with self._lock:
            self._known[name] = context
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return name

    def follow(self, name: str, *, expiry: int | None) -> Context | None:
        """Return what a `ctx` stands for and count a page; `None` when it is unknown, or has been asked too often."""
        with self._lock:
            context = self._known.get(name)
            if context is None:
                return None
            context.followed += 1
            if expiry is not None and context.followed > expiry:
                del self._known[name]
                return None
            return context
