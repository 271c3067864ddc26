"""Group commit: what threads that come at once are given back, whatever the steps do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from releasecopilot_core import _group_commit
from releasecopilot_core._group_commit import MOST_MEMBERS, TURN_SECONDS, Finished, GroupCommit


@attrs.define
class Steps:
    """Commits texts. One in capitals is refused at once, one with `!` after it was completed."""

    groups: list[list[str]] = attrs.field(factory=list)
    hold: threading.Event = attrs.field(factory=threading.Event)
    begun: threading.Event = attrs.field(factory=threading.Event)

    def begin(self, request: str) -> str | Finished[str]:
        if request == "held":
            self.begun.set()
            assert self.hold.wait(30)
        if request == "raises":
            raise ValueError(request)
        return Finished(f"{request} refused") if request.isupper() else request

    def depends(self, member: str, group: Sequence[str]) -> bool:
        return any(member[0] == other[0] for other in group)

    def complete(self, member: str) -> str | Finished[str]:
        return Finished(f"{member} refused") if member.endswith("!") else member

    def commit(self, group: Sequence[str]) -> Sequence[str]:
        self.groups.append(list(group))
        if "broken" in group:
            raise OSError("no commit")
        return [f"{member} committed" for member in group]


def result(groups: GroupCommit[str, str, str], request: str) -> str:
    answer = groups.submit(request)
    groups.work(until=answer)
    return answer.result()


def expected(request: str) -> str:
    return f"{request} refused" if request.isupper() or request.endswith("!") else f"{request} committed"


REQUESTS = st.lists(st.sampled_from(["a", "b", "b2", "c", "C", "d!", "e", "f"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(requests=REQUESTS)
def test_every_request_gets_its_own_result(requests: list[str]) -> None:
    """Each is committed once, or refused; in a group nothing depends on another member."""
    steps = Steps()
    groups = GroupCommit(steps)
    with ThreadPoolExecutor(max_workers=8) as pool:
        assert list(pool.map(lambda request: result(groups, request), requests)) == list(map(expected, requests))
    committed = Counter(member for group in steps.groups for member in group)
    assert committed == Counter(request for request in requests if expected(request).endswith("committed"))
    for group in steps.groups:
        assert len({member[0] for member in group}) == len(group) > 0


@given(requests=REQUESTS)
def test_one_thread_works_for_all_that_wait(requests: list[str]) -> None:
    """In the order in which they came; a group ends before what depends on one of its members."""
    steps = Steps()
    groups = GroupCommit(steps)
    waiting = [groups.submit(request) for request in requests]
    for answer in waiting[:1]:
        groups.work(until=answer)
    assert [answer.result(0) for answer in waiting] == list(map(expected, requests))
    wanted = [request for request in requests if expected(request).endswith("committed")]
    assert [member for group in steps.groups for member in group] == wanted


def test_a_group_has_an_end() -> None:
    """Of very many that wait, the first are committed before the last are looked at."""
    steps = Steps()
    groups = GroupCommit(steps)
    waiting = [groups.submit(chr(0x4E00 + number)) for number in range(2 * MOST_MEMBERS)]
    groups.work(until=waiting[0])
    assert [answer.done() for answer in waiting] == [True] * MOST_MEMBERS + [False] * MOST_MEMBERS
    groups.work(until=waiting[-1])
    assert [len(group) for group in steps.groups] == [MOST_MEMBERS, MOST_MEMBERS]


def test_what_is_slow_ends_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came first does not wait for everybody that came after."""
    monkeypatch.setattr(_group_commit, "LONGEST_SECONDS", 0.05)
    begin = Steps.begin

    def slowly(self: Steps, request: str) -> str | Finished[str]:
        time.sleep(0.03)
        return begin(self, request)

    monkeypatch.setattr(Steps, "begin", slowly)
    groups = GroupCommit(Steps())
    waiting = [groups.submit(letter) for letter in "abcdef"]
    groups.work(until=waiting[0])
    assert (waiting[0].result(0), waiting[-1].done()) == ("a committed", False)


@pytest.mark.parametrize("kind", [ValueError, OSError])
def test_what_a_step_raises_is_raised_where_the_result_is_asked_for(kind: type[Exception]) -> None:
    """Of one request while it is begun, of the whole group while that is committed; what comes later is served."""
    groups = GroupCommit(Steps())
    requests = {ValueError: ["a", "raises", "b"], OSError: ["a", "broken", "c"]}[kind]
    waiting = [groups.submit(request) for request in requests]
    groups.work(until=waiting[-1])
    found = [type(answer.exception(0)) for answer in waiting]
    assert found == ([type(None), ValueError, type(None)] if kind is ValueError else [OSError] * 3)
    assert result(groups, "d") == "d committed"


def test_who_hangs_holds_up_nobody_for_long() -> None:
    """What was ready already is committed by the next thread, which goes on beside the one that hangs."""
    steps = Steps()
    groups = GroupCommit(steps)
    ready, held = groups.submit("a"), groups.submit("held")
    with ThreadPoolExecutor(max_workers=3) as pool:
        hanging = pool.submit(groups.work, held)
        assert steps.begun.wait(10)
        try:
            later: list[Future[str]] = [pool.submit(result, groups, name) for name in ("b", "c")]
            assert [answer.result(10 * TURN_SECONDS) for answer in later] == ["b committed", "c committed"]
            assert (ready.result(0), held.done()) == ("a committed", False)
        finally:
            steps.hold.set()
        hanging.result(10)
    assert held.result(0) == "held committed"


def test_interruption_reaches_the_thread_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is not kept for somebody else, and what else waits is served by the next one."""
    steps = Steps()
    groups = GroupCommit(steps)
    waiting = [groups.submit(request) for request in ("a", "raises", "b")]

    def interrupted(request: str) -> str:
        if request == "raises":
            raise KeyboardInterrupt
        return request

    monkeypatch.setattr(Steps, "begin", lambda _, request: interrupted(request))
    with pytest.raises(KeyboardInterrupt):
        groups.work(until=waiting[0])
    groups.work(until=waiting[2])
    groups.work(until=waiting[0])
    assert [waiting[0].result(0), waiting[2].result(0)] == ["a committed", "b committed"]
    assert isinstance(waiting[1].exception(0), KeyboardInterrupt)


def test_company_is_waited_for_only_after_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes alone is served at once; after a group of two the next one waits for a second, but not for ever."""
    naps: list[float] = []
    monkeypatch.setattr(_group_commit.time, "sleep", naps.append)
    groups = GroupCommit(Steps())
    assert result(groups, "a") == "a committed"
    assert naps == []
    waiting = [groups.submit(request) for request in "bc"]
    groups.work(until=waiting[0])
    assert result(groups, "d") == "d committed"
    assert naps
    naps.clear()
    assert result(groups, "e") == "e committed"
    assert naps == []
