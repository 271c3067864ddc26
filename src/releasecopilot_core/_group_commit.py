"""Group commit: what comes at once shares one transaction, and so one wait for the disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

import attrs

Request = TypeVar("Request")
Member = TypeVar("Member")
Result = TypeVar("Result")
_Asked_contra = TypeVar("_Asked_contra", contravariant=True)

#: A group is committed when it has so many members, or was begun so many seconds ago: its first member waits for the last.
MOST_MEMBERS, LONGEST_SECONDS = 32, 0.1

#: For so many seconds a group waits until it has as many members as the one before. Like PostgreSQL's `commit_delay` with
#: its `commit_siblings`: what comes alone is not kept waiting.
COMPANY_SECONDS = 0.002

#: A worker that makes one request ready, or commits, for so many seconds hangs, and another one goes on beside it. Who
#: commits may wait for a store that is held, and then another one would only wait for the same.
HANGING_SECONDS, COMMIT_SECONDS, _WATCH_SECONDS = 1.0, 10.0, 0.25

#: A worker without work ends after so many seconds.
IDLE_SECONDS = 5.0


@attrs.frozen
class Finished(Generic[Result]):
    """The result of a request that has nothing to commit."""

    result: Result


class Steps(Protocol[_Asked_contra, Member, Result]):
    """What is done with requests. An exception is that of the request's result; of `commit`, of all results in the group."""

    def begin(self, request: _Asked_contra) -> Member | Finished[Result]:
        """Return what becomes of a request without looking at what is stored."""

    def depends(self, member: Member, group: Sequence[Member]) -> bool:
        """Return whether the group must be committed before the member can be completed."""

    def complete(self, member: Member, waited: float) -> Member | Finished[Result]:
        """Return the member ready to be committed, looking at what is stored; it has `waited` for others, in seconds."""

    def commit(self, group: Sequence[Member]) -> Sequence[Result]:
        """Commit a group of one or more; returns the result of each."""


@attrs.frozen(eq=False)
class _Waiting(Generic[Request, Result]):
    request: Request
    came: float = attrs.field(factory=time.monotonic)
    result: Future[Result] = attrs.field(factory=Future)

    def fail(self, error: BaseException) -> None:
        if not self.result.done():
            # What ends a thread ends none of those that wait.
            self.result.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def finish(self, result: Result) -> None:
        if not self.result.done():
            self.result.set_result(result)


class GroupCommit(Generic[Request, Member, Result]):
    """Takes requests from any number of threads, and commits in groups, in a thread of its own.

    So threads neither wait for the disk one after the other, nor fight for the interpreter, which is let go at each question
    to a database. The thread starts with the first request and ends when there is none for some seconds. One that hangs in
    a request keeps nothing but that: another one goes on with the rest, also with what is ready to be committed. After a fork
    the child begins with nothing.
    """

    def __init__(self, steps: Steps[Request, Member, Result]) -> None:
        self._steps = steps
        self._beginnings: dict[int, threading.Lock] = {}
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Waiting[Request, Result] | None] = SimpleQueue()
        # Not a variable of a worker: if that hangs in the next request, another one commits these.
        self._group: list[tuple[_Waiting[Request, Result], Member]] = []
        self._before = 1
        self._worker: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._closing = False
        self._hangs_from: float | None = None

    def submit(self, request: Request) -> Future[Result]:
        """Return the result to come, without blocking. It cannot be cancelled: what was sent is not called back."""
        process = os.getpid()
        if self._process != process:
            with self._beginnings.setdefault(process, threading.Lock()):
                if self._process != process:
                    self._begin()
        waiting: _Waiting[Request, Result] = _Waiting(request)
        waiting.result.set_running_or_notify_cancel()
        self._queue.put(waiting)
        with self._lock:
            if self._worker is None:
                self._start()
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="releasecopilot-watch", daemon=True)
                self._watcher.start()
        return waiting.result

    def close(self, timeout: float = 5.0) -> None:
        """End the thread when it has done what is queued, waiting for so many seconds; a later request starts it again."""
        if self._process != os.getpid():
            return
        with self._lock:
            worker, self._closing = self._worker, True
        if worker is not None and worker is not threading.current_thread():
            self._queue.put(None)
            worker.join(timeout)

    def _start(self) -> None:
        self._hangs_from, self._closing = None, False
        self._worker = threading.Thread(target=self._work, name="releasecopilot-commits", daemon=True)
        self._worker.start()

    def _watch(self) -> None:
        while True:
            time.sleep(_WATCH_SECONDS)
            with self._lock:
                if self._worker is None:
                    self._watcher = None
                    return
                if self._hangs_from is not None and time.monotonic() > self._hangs_from:
                    self._start()

    def _is_current(self) -> bool:
        return self._worker is threading.current_thread()

    def _work(self) -> None:
        while self._is_current():
            try:
                waiting = self._queue.get(timeout=IDLE_SECONDS)
            except Empty:
                waiting = None
            self._take(waiting)
            if waiting is None or self._closing:
                with self._lock:
                    if self._is_current() and self._queue.empty():
                        self._worker = None

    def _take(self, waiting: _Waiting[Request, Result] | None) -> None:
        """Take this one, if there is one, and more until the group is full or nothing more comes, and commit."""
        begun, taken = time.monotonic(), 0
        while waiting is not None:
            taken += 1
            try:
                self._make_ready(waiting)
            except BaseException as error:  # in a thread of ours: nothing but what the steps raise
                waiting.fail(error)
            waiting = self._next(begun, taken) if self._is_current() else None
        self._before = taken or 1
        self._commit()
        self._may_take(None)

    def _next(self, begun: float, taken: int) -> _Waiting[Request, Result] | None:
        now = time.monotonic()
        if taken >= MOST_MEMBERS or now - begun > LONGEST_SECONDS:
            return None
        company = begun + COMPANY_SECONDS - now if taken < self._before else 0.0
        try:
            return self._queue.get(timeout=company) if company > 0 else self._queue.get_nowait()
        except Empty:
            return None

    def _may_take(self, seconds: float | None) -> None:
        if self._is_current():
            self._hangs_from = None if seconds is None else time.monotonic() + seconds

    def _make_ready(self, waiting: _Waiting[Request, Result]) -> None:
        self._may_take(HANGING_SECONDS)
        waited = time.monotonic() - waiting.came
        member = self._steps.begin(waiting.request)
        if not isinstance(member, Finished):
            with self._lock:
                group = [ready for _, ready in self._group]
            if group and self._steps.depends(member, group):
                begun = time.monotonic()
                self._commit()
                self._may_take(HANGING_SECONDS)
                waited += time.monotonic() - begun
            member = self._steps.complete(member, waited)
        if isinstance(member, Finished):
            waiting.finish(member.result)
        else:
            with self._lock:
                self._group.append((waiting, member))

    def _commit(self) -> None:
        with self._lock:
            group, self._group = self._group, []
        if not group:
            return
        self._may_take(COMMIT_SECONDS)
        try:
            results = self._steps.commit([ready for _, ready in group])
            for (waiting, _), result in zip(group, results, strict=True):
                waiting.finish(result)
        except BaseException as error:  # in a thread of ours: nothing but what the steps raise
            for waiting, _ in group:
                waiting.fail(error)
