"""Group commit: what threads that come at once are given back, whatever the steps do."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from releasecopilot_core import _group_commit
from releasecopilot_core._group_commit import MOST_MEMBERS, Finished, GroupCommit


@attrs.define
class Steps:
    """Commits texts. One in capitals is refused at once, one with `!` when it is completed; `held` waits for `hold`."""

    groups: list[list[str]] = attrs.field(factory=list)
    hold: threading.Event = attrs.field(factory=threading.Event)

    def begin(self, request: str) -> str | Finished[str]:
        if request == "held":
            assert self.hold.wait(30)
        return Finished(f"{request} refused") if request.isupper() else request

    def depends(self, member: str, group: Sequence[str]) -> bool:
        return any(member[0] == other[0] for other in group)

    def complete(self, member: str, waited: float) -> str | Finished[str]:
        return Finished(f"{member} refused") if member.endswith("!") else member

    def commit(self, group: Sequence[str]) -> Sequence[str]:
        self.groups.append(list(group))
        return [f"{member} committed" for member in group]


@pytest.fixture(scope="module", autouse=True)
def unhurried() -> Iterator[None]:
    """Let no busy machine end a group early, or pass for a request that hangs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_group_commit, "LONGEST_SECONDS", 60.0)
        patch.setattr(_group_commit, "HANGING_SECONDS", 60.0)
        yield


def expected(request: str) -> str:
    return f"{request} refused" if request.isupper() or request.endswith("!") else f"{request} committed"


def at_once(groups: GroupCommit[str, str, str], steps: Steps, *requests: str) -> list[Future[str]]:
    """Submit requests that all come while the first one is at work, and wait for what becomes of them."""
    steps.hold.clear()
    waiting = [groups.submit(request) for request in ("held", *requests)]
    steps.hold.set()
    wait(waiting, 30)
    return waiting[1:]


REQUESTS = st.lists(st.sampled_from(["a", "b", "b2", "c", "C", "d!", "e", "f"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(requests=REQUESTS)
def test_every_request_gets_its_own_result(requests: list[str]) -> None:
    """Each is committed once, or refused; in a group nothing depends on another member."""
    steps = Steps()
    groups = GroupCommit(steps)
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = pool.map(lambda request: groups.submit(request).result(30), requests)
        assert list(found) == list(map(expected, requests))
    groups.close()
    committed = Counter(member for group in steps.groups for member in group)
    assert committed == Counter(request for request in requests if expected(request).endswith("committed"))
    for group in steps.groups:
        assert len({member[0] for member in group}) == len(group) > 0


@settings(deadline=None)
@given(requests=REQUESTS)
def test_what_comes_at_once_is_committed_together(requests: list[str]) -> None:
    """In the order in which it came; a group ends before what depends on one of its members."""
    steps = Steps()
    groups = GroupCommit(steps)
    assert [answer.result(0) for answer in at_once(groups, steps, *requests)] == list(map(expected, requests))
    groups.close()
    wanted: list[list[str]] = [["held"]]
    for request in requests:
        if not request.isupper() and any(request[0] == other[0] for other in wanted[-1]):
            wanted.append([])
        if expected(request).endswith("committed"):
            wanted[-1].append(request)
    assert steps.groups == [group for group in wanted if group]


def test_a_group_has_an_end() -> None:
    """Of very many that wait, the first are committed before the last are looked at."""
    steps = Steps()
    groups = GroupCommit(steps)
    answers = at_once(groups, steps, *(chr(0x4E00 + number) for number in range(2 * MOST_MEMBERS - 1)))
    assert all(answer.result(0) for answer in answers)
    assert [len(group) for group in steps.groups] == [MOST_MEMBERS, MOST_MEMBERS]
    groups.close()


def test_what_is_slow_ends_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came first does not wait for everybody that came after."""
    monkeypatch.setattr(_group_commit, "LONGEST_SECONDS", 0.05)
    begin = Steps.begin

    def slowly(self: Steps, request: str) -> str | Finished[str]:
        time.sleep(0.03)
        return begin(self, request)

    monkeypatch.setattr(Steps, "begin", slowly)
    steps = Steps()
    groups = GroupCommit(steps)
    at_once(groups, steps, *"abcdef")
    assert len(steps.groups) > 1
    groups.close()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["begin", "depends", "complete", "commit"])
def test_what_a_step_raises_is_raised_where_the_result_is_asked_for(step: str, error: BaseException) -> None:
    """Of one request, or of the whole group while that is committed. What would end a thread ends none of those that wait."""

    class Raising(Steps):
        def fails(self, where: str, request: str) -> None:
            if (where, request) == (step, "bad"):
                raise error

        def begin(self, request: str) -> str | Finished[str]:
            self.fails("begin", request)
            return super().begin(request)

        def depends(self, member: str, group: Sequence[str]) -> bool:
            self.fails("depends", member)
            return super().depends(member, group)

        def complete(self, member: str, waited: float) -> str | Finished[str]:
            self.fails("complete", member)
            return super().complete(member, waited)

        def commit(self, group: Sequence[str]) -> Sequence[str]:
            for member in group:
                self.fails("commit", member)
            return super().commit(group)

    steps = Raising()
    groups = GroupCommit(steps)
    good, bad, late = at_once(groups, steps, "a", "bad", "c")
    kind = ValueError if isinstance(error, ValueError) else RuntimeError
    assert isinstance(bad.exception(0), kind)
    alone = step != "commit"
    assert [type(answer.exception(0)) for answer in (good, late)] == [type(None) if alone else kind] * 2
    assert groups.submit("d").result(30) == "d committed"
    groups.close()


def test_too_few_results_leave_nobody_waiting() -> None:
    """Who commits has a mistake in it: those without a result are told of it."""

    class Short(Steps):
        def commit(self, group: Sequence[str]) -> Sequence[str]:
            return super().commit(group)[:-1]

    steps = Short()
    groups = GroupCommit(steps)
    first, second = at_once(groups, steps, "a", "b")
    assert (first.result(0), type(second.exception(0))) == ("a committed", ValueError)
    groups.close()


def test_request_that_hangs_keeps_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was ready before it is committed, and what came after it is served, by another thread."""
    monkeypatch.setattr(_group_commit, "HANGING_SECONDS", 0.5)
    steps = Steps()
    groups = GroupCommit(steps)
    steps.hold.clear()
    answers = {name: groups.submit(name) for name in ("a", "held", "b", "c")}
    try:
        others = [answer.result(20) for name, answer in answers.items() if name != "held"]
        assert others == ["a committed", "b committed", "c committed"]
        assert groups.submit("d").result(20) == "d committed"
        assert not answers["held"].done()
    finally:
        steps.hold.set()
    assert answers["held"].result(20) == "held committed"
    assert groups.submit("e").result(20) == "e committed"
    groups.close()


def test_who_comes_alone_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only after a group one waits for as many."""
    monkeypatch.setattr(_group_commit, "COMPANY_SECONDS", 60.0)
    steps = Steps()
    groups = GroupCommit(steps)
    for name in "ab":
        assert groups.submit(name).result(20) == f"{name} committed"
    at_once(groups, steps, "c", "d")
    answers = [groups.submit("e"), groups.submit("f")]
    assert wait(answers, 0.3).done == set()
    answers.append(groups.submit("g"))
    assert [answer.result(20) for answer in answers] == ["e committed", "f committed", "g committed"]
    assert steps.groups == [["a"], ["b"], ["held", "c", "d"], ["e", "f", "g"]]
    monkeypatch.setattr(_group_commit, "COMPANY_SECONDS", 0.05)
    assert groups.submit("h").result(20) == "h committed"
    groups.close()


def test_thread_ends_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And starts with the next request; `close` ends it at once, after what was queued."""
    monkeypatch.setattr(_group_commit, "IDLE_SECONDS", 0.05)
    steps = Steps()
    groups = GroupCommit(steps)
    for name in "abc":
        assert groups.submit(name).result(20) == f"{name} committed"
        wait_until(lambda: groups._worker is None and groups._watcher is None)
    monkeypatch.setattr(_group_commit, "IDLE_SECONDS", 60.0)
    answers = [groups.submit(name) for name in "def"]
    groups.close()
    assert [answer.result(0) for answer in answers] == ["d committed", "e committed", "f committed"]
    assert groups._worker is None
    groups.close()


def test_nobody_is_lost_while_threads_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is about to end takes what comes in that moment, or another one does."""
    monkeypatch.setattr(_group_commit, "IDLE_SECONDS", 0.0005)
    steps = Steps()
    groups = GroupCommit(steps)

    def deliver(number: int) -> str:
        time.sleep(number % 7 / 5_000)
        if number % 50 == 0:
            groups.close()
        return groups.submit(f"{number} ").result(30)

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(deliver, range(1_000))) == [f"{number}  committed" for number in range(1_000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_child_of_a_fork_begins_with_nothing() -> None:
    """Also when the parent is at work: the child serves its own requests, and none of the parent's."""
    steps = Steps()
    groups = GroupCommit(steps)
    steps.hold.clear()
    held = groups.submit("held")
    child = os.fork()
    if child == 0:
        answers = [groups.submit(name) for name in "ab"]
        found = [answer.result(10) for answer in answers]
        os._exit(0 if found == ["a committed", "b committed"] and "held" not in str(steps.groups) else 1)
    steps.hold.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert held.result(20) == "held committed"
    groups.close()


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)
