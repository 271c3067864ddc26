"""Run generators in a bounded number of threads, and let the consumer keep pace."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from releasecopilot_core.errors import SourceError

T = TypeVar("T")

_POLL_SECONDS = 0.1
#: Threads that are told to end get so long, in seconds; one that is stuck in a request is left behind.
_END_SECONDS = 1.0


class _Item:
    """Something that a thread hands over, and the sign that it was taken care of."""

    def __init__(self, value: object = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error
        self.done = threading.Event()


def in_threads(
    jobs: Iterable[Callable[[], Iterator[T]]],
    workers: int,
    *,
    is_ended: Callable[[], bool],
    interrupt: Callable[[], object] | None = None,
) -> Iterator[T]:
    """Yield what the jobs' generators yield, at most `workers` of them at a time, in the order in which it comes.

    A generator is resumed only after the consumer has asked for the next item: by then it is done with the last one, so
    a batch is stored before its walk goes on. At most `workers` items exist at once. An error in a job is raised here and
    ends all. When the consumer stops, `interrupt` is called and the threads are waited for, a second at most; they are
    daemons and hold up no exit.

    Raises:
        SourceError: `is_ended` became true while it was waited for the jobs.
    """
    handed: queue.Queue[_Item] = queue.Queue()
    stop = threading.Event()
    threads = _started(jobs, workers, handed, stop)
    count = len(threads)
    try:
        while count:
            item = _next(handed, is_ended)
            if item.error is not None:
                raise item.error
            if item.value is _END:
                count -= 1
                continue
            yield cast(T, item.value)
            item.done.set()
    finally:
        stop.set()
        if count and interrupt is not None:
            interrupt()
        _wait_for(threads)


_END = object()


def _started(
    jobs: Iterable[Callable[[], Iterator[T]]], workers: int, handed: queue.Queue[_Item], stop: threading.Event
) -> list[threading.Thread]:
    waiting: queue.Queue[Callable[[], Iterator[T]]] = queue.Queue()
    for job in jobs:
        waiting.put(job)
    threads = []
    for number in range(min(workers, waiting.qsize())):
        name = f"releasecopilot-{number}"
        threads.append(threading.Thread(target=_work, args=(waiting, handed, stop), name=name, daemon=True))
        threads[-1].start()
    return threads


def _wait_for(threads: Iterable[threading.Thread]) -> None:
    deadline = time.monotonic() + _END_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _next(handed: queue.Queue[_Item], is_ended: Callable[[], bool]) -> _Item:
    while not is_ended():
        with contextlib.suppress(queue.Empty):
            return handed.get(timeout=_POLL_SECONDS)
    raise SourceError("the scan was stopped", kind="stopped")


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
