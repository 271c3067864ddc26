"""Run generators in a bounded number of threads, and let the consumer keep pace."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")

_POLL_SECONDS = 0.1


class _Item:
    """Something that a thread hands over, and the sign that it was taken care of."""

    def __init__(self, value: object = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error
        self.done = threading.Event()


def in_threads(jobs: Iterable[Callable[[], Iterator[T]]], workers: int) -> Iterator[T]:
    """Yield what the jobs' generators yield, at most `workers` of them at a time, in the order in which it comes.

    A generator is resumed only after the consumer has asked for the next item: by then it is done with the last one, so
    a batch is stored before its walk goes on. At most `workers` items exist at once. An error in a job is raised here and
    ends all. When the consumer stops, the threads end at their next item; they are daemons and hold up no exit.
    """
    waiting: queue.Queue[Callable[[], Iterator[T]]] = queue.Queue()
    for job in jobs:
        waiting.put(job)
    count = min(workers, waiting.qsize())
    handed: queue.Queue[_Item] = queue.Queue()
    stop = threading.Event()
    for number in range(count):
        name = f"releasecopilot-{number}"
        threading.Thread(target=_work, args=(waiting, handed, stop), name=name, daemon=True).start()
    try:
        while count:
            item = handed.get()
            if item.error is not None:
                raise item.error
            if item.value is _END:
                count -= 1
                continue
            yield item.value  # type: ignore[misc]
            item.done.set()
    finally:
        stop.set()


_END = object()


def _work(waiting: queue.Queue[Callable[[], Iterator[T]]], handed: queue.Queue[_Item], stop: threading.Event) -> None:
    try:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            # Closed here and now, in its own thread: what it holds is given back before this thread ends.
            with contextlib.closing(cast(Any, job())) as values:
                for value in values:
                    item = _Item(value)
                    handed.put(item)
                    while not item.done.wait(_POLL_SECONDS):
                        if stop.is_set():
                            return
        handed.put(_Item(_END))
    except BaseException as error:  # whatever it is, the consumer must hear of it
        handed.put(_Item(error=error))
