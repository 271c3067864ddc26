"""Faults that can be switched on, for everything or for one kind of request or repository."""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections import deque
from collections.abc import Callable

import attrs

KINDS = ("user", "repositories", "repository", "commits", "commit", "branches", "tags", "diffstat", "merge-base")


class UnknownFault(ValueError):
    """A fault that does not exist, or a value that it cannot have; the message says what is possible."""


def _whole(value: str) -> str:
    if not value.isdigit():
        raise ValueError("a whole number")
    return value


def _seconds(value: str) -> str:
    float(value)
    return value


def _status(value: str) -> str:
    if not re.fullmatch(r"[45]\d\d(:\d+)?", value):
        raise ValueError("CODE or CODE:COUNT, such as 503:2")
    return value


def _retry_after(value: str) -> str:
    if not re.fullmatch(r"absent|(seconds|date):\d+", value):
        raise ValueError("seconds:N, date:N or absent")
    return value


def _shas(value: str) -> str:
    if not re.fullmatch(r"\*|[0-9a-f]{7,40}(,[0-9a-f]{7,40})*", value):
        raise ValueError("shas separated by commas")
    return value


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return value

    return check


def _any(value: str) -> str:
    return value


FAULTS: dict[str, Callable[[str], str]] = {
    "rate-limit": _whole,
    "rate-window": _seconds,
    "retry-after": _retry_after,
    "status": _status,
    "reset": _whole,
    "slow": _seconds,
    "truncate": _whole,
    "bad-json": _whole,
    "vanished": _shas,
    "unauthorized": _one_of("1"),
    "forbidden": _one_of("1"),
    "missing": _one_of("1"),
    "removed": _one_of("1"),
    "diffstat-555": _shas,
    "no-ancestor": _shas,
    "next-loop": _one_of("1"),
    "foreign-next": _any,
    "ctx-expiry": _whole,
    "empty-repository": _one_of("200", "404"),
    "no-author-user": _one_of("1"),
    "null-author": _one_of("1"),
    "order": _one_of("topo-order", "date-order"),
}


@attrs.frozen
class _Fault:
    name: str
    kind: str | None
    slug: str | None


def _fault(text: str) -> _Fault:
    name, _, rest = text.partition("@")
    kind, _, slug = rest.partition(":")
    if name not in FAULTS:
        close = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(FAULTS)}"
        raise UnknownFault(f"no fault {name!r}; {hint}")
    if kind and kind != "*" and kind not in KINDS:
        raise UnknownFault(f"{text}: no kind of request {kind!r}; there are: {', '.join(KINDS)}")
    return _Fault(name, kind if kind and kind != "*" else None, slug or None)


class Faults:
    """The faults that are on: `name`, `name@kind`, `name@kind:slug` or `name@*:slug` -> value. Thread-safe."""

    def __init__(self) -> None:
        self._values: dict[_Fault, str] = {}
        self._texts: dict[_Fault, str] = {}
        self._lock = threading.Lock()
        self._served: deque[float] = deque()

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
        """Switch one fault off, or all, and forget what a rate limit has counted."""
        with self._lock:
            if text is None:
                self._values.clear()
                self._served.clear()
            else:
                self._values.pop(_fault(text), None)

    def all(self) -> dict[str, str]:
        """Return the faults that are on, as they were given."""
        with self._lock:
            return {self._texts[fault]: value for fault, value in self._values.items()}

    def get(self, name: str, kind: str, slug: str | None) -> str | None:
        """Return the value of a fault for a request; the most specific one wins."""
        with self._lock:
            fault = self._matching(name, kind, slug)
            return None if fault is None else self._values[fault]

    def _matching(self, name: str, kind: str, slug: str | None) -> _Fault | None:
        found = [
            fault
            for fault in self._values
            if fault.name == name and fault.kind in (None, kind) and fault.slug in (None, slug)
        ]
        return max(found, key=lambda fault: (fault.slug is not None, fault.kind is not None), default=None)

    def take(self, name: str, kind: str, slug: str | None) -> str | None:
        """Return the value of a fault that happens only so many times, and count one; `None` when it is used up."""
        with self._lock:
            fault = self._matching(name, kind, slug)
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
            return head or "1"

    def over_limit(self, kind: str, slug: str | None) -> float | None:
        """Count a request against the rolling window; returns the seconds to wait when the limit is reached."""
        limit = self.get("rate-limit", kind, slug)
        if limit is None:
            return None
        window = float(self.get("rate-window", kind, slug) or 3600)
        now = time.monotonic()
        with self._lock:
            while self._served and self._served[0] <= now - window:
                self._served.popleft()
            if len(self._served) < int(limit):
                self._served.append(now)
                return None
            return self._served[0] + window - now if self._served else window
