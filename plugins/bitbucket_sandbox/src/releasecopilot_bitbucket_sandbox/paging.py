"""Pages: numbered ones that tell their size, and iterator ones behind an opaque `ctx` (facts 1.4, 2)."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs
from werkzeug.datastructures import MultiDict
from werkzeug.urls import iri_to_uri

from .answers import bad_request

T = TypeVar("T")

_KEPT = 200


def page_length(arguments: MultiDict[str, str], *, default: int, most: int) -> int:
    """Return the wanted length of a page; more than the cap is a 400, not clamped (facts 1.1)."""
    text = arguments.get("pagelen", str(default))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise bad_request("Invalid pagelen", {"pagelen": f"must be from 1 to {most}"})
    return int(text)


def numbered(
    values: Sequence[T], arguments: MultiDict[str, str], address: str, *, default: int, most: int
) -> tuple[Sequence[T], dict[str, Any]]:
    """Return the values of the page that was asked for, and its envelope without them."""
    length = page_length(arguments, default=default, most=most)
    text = arguments.get("page", "1")
    if not text.isdigit() or int(text) < 1:
        raise bad_request("Invalid page")
    number = int(text)
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
    from urllib.parse import urlencode

    return iri_to_uri(address) + "?" + urlencode(query)


@attrs.define
class Context:
    """What an opaque `ctx` stands for: a listing that was begun, and how many of its pages were asked for."""

    shas: list[str]
    length: int
    fields: str | None
    slug: str
    served: int = 0


class Contexts:
    """The listings that can be continued; the oldest are forgotten, as a service must."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Context] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, context: Context) -> str:
        """Return a new `ctx`."""
        name = secrets.token_hex(16)
        with self._lock:
            self._known[name] = context
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return name

    def find(self, name: str, *, expiry: int | None) -> Context | None:
        """Return what a `ctx` stands for and count a page; `None` when it is unknown or has expired."""
        with self._lock:
            context = self._known.get(name)
            if context is None:
                return None
            context.served += 1
            if expiry is not None and context.served > expiry:
                del self._known[name]
                return None
            return context
