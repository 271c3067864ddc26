"""Faults that can be switched on, for everything or for one kind of request or repository."""

from __future__ import annotations

import difflib
import math
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

import attrs

from .auth import SCOPES

KINDS = ("user", "repositories", "repository", "commits", "commit", "branches", "tags", "diffstat", "merge-base",
         "pullrequests", "pullrequest", "pullrequest-commits", "hooks", "deliveries", "git")  # fmt: skip


class UnknownFault(ValueError):
    """A fault that does not exist, or a value that it cannot have; the message says what is possible."""


def _matching(pattern: str, meaning: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(meaning)

    return check


def _seconds(value: str) -> None:
    try:
        right = 0 <= float(value) < math.inf
    except ValueError:
        right = False
    if not right:
        raise ValueError("seconds")


def _offset(value: str) -> None:
    try:
        right = abs(float(value)) <= _TEN_YEARS
    except ValueError:
        right = False
    if not right:
        raise ValueError("seconds, with a minus sign for a clock that is behind")


def _scopes(value: str) -> None:
    if not set(value.split(",")) <= set(SCOPES):
        raise ValueError(f"some of {', '.join(SCOPES)}, separated by commas")


_TEN_YEARS = 315_576_000.0
_whole = _matching(r"\d{1,9}", "a whole number")
_on = _matching("1", "1")
_shas = _matching(r"\*|[0-9a-f]{7,64}(,[0-9a-f]{7,64})*", "* or shas, separated by commas")

#: Name -> what checks its value. The README's table explains each.
FAULTS: dict[str, Callable[[str], None]] = {
    "rate-limit": _whole,
    "rate-window": _seconds,
    "rate-headers": _matching("seconds|scaled|absent", "seconds, scaled or absent"),
    "retry-after": _matching(r"absent|(seconds|date):\d{1,9}", "seconds:N, date:N or absent"),
    "status": _matching(r"[45]\d\d(:\d{1,9})?", "CODE or CODE:COUNT, such as 503:2"),
    "reset": _whole,
    "slow": _seconds,
    "clock": _offset,
    "truncate": _whole,
    "bad-json": _whole,
    "unauthorized": _on,
    "forbidden": _on,
    "scopes": _scopes,
    "missing": _on,
    "removed": _on,
    "vanished": _matching(r"[^,]+(,[^,]+)*", "shas, separated by commas"),
    "diffstat-555": _shas,
    "no-ancestor": _shas,
    "next-loop": _on,
    "foreign-next": _matching(r"https?://\S+", "an address, such as http://elsewhere.example/2.0"),
    "short-pages": _whole,
    "ctx-expiry": _whole,
    "empty-repository": _matching("200|404", "200 or 404"),
    "no-author-user": _on,
    "null-author": _on,
    "fork-gone": _on,
    "no-filter": _on,
    "drop": _whole,
    "duplicate": _whole,
    "reorder": _whole,
    "empty-changes": _whole,
    "order": _matching("topo-order|date-order", "topo-order or date-order"),
}


@attrs.frozen
class _Fault:
    """A fault and where it applies; `None` is everywhere."""

    name: str
    kind: str | None
    slug: str | None


def _fault(text: str) -> _Fault:
    name, _, rest = text.partition("@")
    kind, _, slug = rest.partition(":")
    if name not in FAULTS:
        raise UnknownFault(f"no fault {name!r}; {_suggestion(name, FAULTS)}")
    if kind and kind != "*" and kind not in KINDS:
        raise UnknownFault(f"{text}: no kind of request {kind!r}; {_suggestion(kind, KINDS)}")
    return _Fault(name, kind if kind and kind != "*" else None, slug or None)


def _suggestion(name: str, known: tuple[str, ...] | dict[str, Callable[[str], None]]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


@attrs.frozen
class Quota:
    """How a rate limit stands; `wait` is seconds until one more request is served, `None` while there is room."""

    limit: int
    window: float
    remaining: int
    wait: float | None
    reset: float


class Faults:
    """The faults that are on: `name`, `name@kind`, `name@kind:slug` or `name@*:slug` -> value. Thread-safe."""

    def __init__(self) -> None:
        self._values: dict[_Fault, str] = {}
        self._texts: dict[_Fault, str] = {}
        self._served: defaultdict[_Fault, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def set(self, text: str, value: str) -> None:
        """Switch a fault on.

        Raises:
            UnknownFault: there is no such fault, or it cannot have that value.
        """
        fault = _fault(text)
        try:
            FAULTS[fault.name](value)
        except ValueError as error:
            raise UnknownFault(f"{text}={value}: expected {error}") from None
        with self._lock:
            self._values[fault] = value
            self._texts[fault] = text

    def clear(self, text: str | None = None) -> None:
        """Switch one fault off, or all, and forget what a rate limit has counted.

        Raises:
            UnknownFault: there is no such fault.
        """
        chosen = None if text is None else _fault(text)
        with self._lock:
            for fault in [*self._values, *self._served]:
                if chosen in (None, fault):
                    self._values.pop(fault, None)
                    self._served.pop(fault, None)

    def all(self) -> dict[str, str]:
        """Return the faults that are on, as they were given; of those that happen N times, how many are left."""
        with self._lock:
            return {self._texts[fault]: value for fault, value in self._values.items()}

    def get(self, name: str, kind: str, slug: str | None) -> str | None:
        """Return the value of a fault for a request; the most specific one wins."""
        with self._lock:
            fault = self._applying(name, kind, slug)
            return None if fault is None else self._values[fault]

    def _applying(self, name: str, kind: str, slug: str | None) -> _Fault | None:
        found = [
            fault
            for fault in self._values
            if fault.name == name and fault.kind in (None, kind) and fault.slug in (None, slug)
        ]
        return max(found, key=lambda fault: (fault.slug is not None, fault.kind is not None), default=None)

    def take(self, name: str, kind: str, slug: str | None) -> str | None:
        """Return the value of a fault that happens so many times, and count one; `None` when it is used up."""
        with self._lock:
            fault = self._applying(name, kind, slug)
            if fault is None:
                return None
            head, _, count = self._values[fault].rpartition(":")
            if name == "status" and not head:
                return self._values[fault]  # without a count: for ever
            left = int(count) - 1
            if left > 0:
                self._values[fault] = f"{head}:{left}" if head else str(left)
            else:
                del self._values[fault]
            return None if left < 0 else head or "1"

    def quota(self, kind: str, slug: str | None) -> Quota | None:
        """Count a request against the rolling window; returns how it stands, `None` without a limit.

        A request that is refused is not counted. git has a quota of its own: only a limit on that kind counts it.
        """
        window = float(self.get("rate-window", kind, slug) or 3600)
        now = time.monotonic()
        with self._lock:
            fault = self._applying("rate-limit", kind, slug)
            if fault is None or (kind == "git" and fault.kind != "git"):
                return None
            limit, served = int(self._values[fault]), self._served[fault]
            while served and served[0] <= now - window:
                served.popleft()
            full = len(served) >= limit
            if not full:
                served.append(now)
            reset = served[0] + window - now if served else window
            return Quota(limit, window, max(0, limit - len(served)), reset if full else None, reset)
