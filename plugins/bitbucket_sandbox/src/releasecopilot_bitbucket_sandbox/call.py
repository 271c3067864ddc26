"""One request as the endpoints see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
from werkzeug.datastructures import MultiDict

from .answers import commits_gone, no_access
from .auth import Caller
from .faults import Faults
from .paging import Contexts, numbered, page_length, with_query
from .payloads import Payload, parsed
from .pulls import PullRequests
from .repositories import Repository, Shelf
from .shapes import Shapes
from .subscriptions import Subscriptions
from .watching import Watch

T = TypeVar("T")


@attrs.frozen
class Call:
    """One request: query and body, its address, the repository it is about, and the faults that apply to it."""

    method: str
    arguments: MultiDict[str, str]
    form: MultiDict[str, str]
    body: Callable[[], bytes]
    address: str
    kind: str
    caller: Caller
    shapes: Shapes
    shelf: Shelf
    faults: Faults
    contexts: Contexts
    pull_requests: PullRequests
    hooks: Subscriptions
    events: Watch
    found: Repository | None = None

    @property
    def repository(self) -> Repository:
        """Return the repository that the address names."""
        if self.found is None:
            raise no_access()
        return self.found

    def payload(self) -> Payload:
        """Return the JSON object that was sent.

        Raises:
            Refused: with a 400, if it is none.
        """
        return parsed(self.body())

    def fault(self, name: str) -> str | None:
        """Return the value of a fault for this request."""
        return self.faults.get(name, self.kind, self.found.slug if self.found else None)

    def resolved(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return name -> sha; those that are to have vanished are not found."""
        found = self.repository.git.resolve(list(dict.fromkeys(names)))
        gone = (self.fault("vanished") or "").split(",")
        return {name: None if name in gone or sha in gone else sha for name, sha in found.items()}

    def shas(self, *names: str) -> list[str]:
        """Return the shas of revisions.

        Raises:
            Refused: with a 404, if one of them does not exist.
        """
        found = self.resolved(names)
        if unknown := [name for name, sha in found.items() if sha is None]:
            raise commits_gone(unknown)
        return [sha for name in names if (sha := found[name])]

    def length(self, *, default: int, most: int) -> int:
        """Return how many values a page holds: as many as are asked for, or fewer by fault."""
        wanted = page_length(self.arguments, default=default, most=most)
        short = self.fault("short-pages")
        return wanted if short is None else max(1, min(wanted, int(short)))

    def page(self, values: Sequence[T], *, default: int, most: int) -> tuple[Sequence[T], dict[str, Any]]:
        """Return the values of the wanted page and its envelope, with a `next` that faults may lead astray."""
        chosen, envelope = numbered(values, self.arguments, self.address, self.length(default=default, most=most))
        if "next" in envelope:
            if self.fault("next-loop"):
                query = [item for item in self.arguments.items(multi=True) if item[0] != "page"]
                envelope["next"] = with_query(self.address, [*query, ("page", str(envelope["page"]))])
            if foreign := self.fault("foreign-next"):
                envelope["next"] = with_query(foreign, [("page", str(envelope["page"] + 1))])
        return chosen, envelope
