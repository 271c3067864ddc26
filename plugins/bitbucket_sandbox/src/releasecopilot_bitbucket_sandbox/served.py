"""What was asked so far, and who wants to hear of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs


@attrs.frozen
class Served:
    """One request that was answered; `status` 0 if its connection was reset, `time` in seconds since the epoch."""

    method: str
    path: str
    query: str
    kind: str
    status: int
    time: float


class Record:
    """The requests that were answered, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._served: list[Served] = []
        self._lock = threading.Lock()
        #: Called with each request after its answer was sent, in the thread that sent it.
        self.callback: Callable[[Served], object] | None = None

    def add(self, served: Served) -> None:
        """Note a request."""
        with self._lock:
            self._served.append(served)

    def tell(self, served: Served) -> None:
        """Call back, now that the answer is out."""
        if self.callback is not None:
            self.callback(served)

    def all(self) -> list[Served]:
        """Return what was asked."""
        with self._lock:
            return list(self._served)

    def clear(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self._served.clear()
