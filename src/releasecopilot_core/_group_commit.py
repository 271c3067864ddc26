"""Group commit: what comes at once shares one transaction, and so one wait for the disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

import attrs

Request = TypeVar("Request")
Member = TypeVar("Member")
Result = TypeVar("Result")
_Asked_contra = TypeVar("_Asked_contra", contravariant=True)

#: A group is committed when it has so many members, or was begun so many seconds ago: its first member waits for the last.
MOST_MEMBERS, LONGEST_SECONDS = 32, 0.1

#: For so many seconds a group waits until it has as many members as the one before. Like PostgreSQL's `commit_delay` with
#: its `commit_siblings`: what comes alone is not kept waiting.
COMPANY_SECONDS, _NAP_SECONDS = 0.002, 0.0002

#: Seconds that a thread waits for the one at work; then it goes on beside it.
TURN_SECONDS = 1.0


@attrs.frozen
class Finished(Generic[Result]):
    """The result of a request that has nothing to commit."""

    result: Result


class Steps(Protocol[_Asked_contra, Member, Result]):
    """What is done with requests. An exception goes to whoever asks for the result of the request, or of each in the group."""

    def begin(self, request: _Asked_contra) -> Member | Finished[Result]:
        """Return what becomes of a request without looking at what is stored."""

    def depends(self, member: Member, group: Sequence[Member]) -> bool:
        """Return whether the group must be committed before the member can be completed."""

    def complete(self, member: Member) -> Member | Finished[Result]:
        """Return the member ready to be committed, looking at what is stored."""

    def commit(self, group: Sequence[Member]) -> Sequence[Result]:
        """Commit a group of one or more; returns the result of each."""


@attrs.frozen(eq=False)
class _Waiting(Generic[Request, Result]):
    request: Request
    result: Future[Result] = attrs.field(factory=Future)


class GroupCommit(Generic[Request, Member, Result]):
    """Takes requests from any number of threads, and commits in groups.

    A thread that gets the turn works for all that wait; those find theirs done when they get it. So threads neither wait
    for the disk one after the other, nor fight for the interpreter, which is let go at each question to a database. A request
    that hangs keeps its own thread, and each other one for `TURN_SECONDS` at most.
    """

    def __init__(self, steps: Steps[Request, Member, Result]) -> None:
        self._steps = steps
        self._queue: deque[_Waiting[Request, Result]] = deque()
        # Not a variable of the thread at work: if that hangs in the next request, another one commits these.
        self._group: deque[tuple[_Waiting[Request, Result], Member]] = deque()
        self._turn = threading.Lock()
        self._before = 1

    def submit(self, request: Request) -> Future[Result]:
        """Queue a request, without blocking; nothing comes of it before somebody calls `work`."""
        waiting: _Waiting[Request, Result] = _Waiting(request)
        waiting.result.set_running_or_notify_cancel()  # what has been sent is not called back
        self._queue.append(waiting)
        return waiting.result

    def work(self, until: Future[Result]) -> None:
        """Work for all that wait until this result is there."""
        while not until.done():
            mine = self._turn.acquire(timeout=TURN_SECONDS)
            try:
                if not until.done():
                    if mine:
                        self._wait_for_company()
                    self._take()
            finally:
                if mine:
                    self._turn.release()

    def _wait_for_company(self) -> None:
        deadline = time.monotonic() + COMPANY_SECONDS
        while len(self._queue) < self._before and time.monotonic() < deadline:
            time.sleep(_NAP_SECONDS)

    def _take(self) -> None:
        """Take from the queue until it is empty or the group is full, and commit."""
        deadline, taken = time.monotonic() + LONGEST_SECONDS, 0
        while taken < MOST_MEMBERS and time.monotonic() < deadline and (waiting := _popped(self._queue)):
            taken += 1
            try:
                self._make_ready(waiting)
            except BaseException as error:
                waiting.result.set_exception(error)
                if not isinstance(error, Exception):
                    raise
        self._before = taken or 1
        self._commit()

    def _make_ready(self, waiting: _Waiting[Request, Result]) -> None:
        member = self._steps.begin(waiting.request)
        if not isinstance(member, Finished):
            if self._steps.depends(member, [ready for _, ready in self._group]):
                self._commit()
            member = self._steps.complete(member)
        if isinstance(member, Finished):
            waiting.result.set_result(member.result)
        else:
            self._group.append((waiting, member))

    def _commit(self) -> None:
        group: list[tuple[_Waiting[Request, Result], Member]] = []
        while found := _popped(self._group):
            group.append(found)
        if not group:
            return
        try:
            results = self._steps.commit([ready for _, ready in group])
            for (waiting, _), result in zip(group, results, strict=True):
                waiting.result.set_result(result)
        except BaseException as error:
            for waiting, _ in group:
                if not waiting.result.done():
                    waiting.result.set_exception(error)
            if not isinstance(error, Exception):
                raise


def _popped(items: deque[Any]) -> Any:
    """Return the first item, `None` when there is none; other threads may be taking them, too."""
    try:
        return items.popleft()
    except IndexError:
        return None
