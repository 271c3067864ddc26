"""The walk of a branch over a history in memory: nothing is lost, whatever vanishes or breaks off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from releasecopilot_core import CommitStorage, Walk, Window, walking
from releasecopilot_core.errors import ListingExpired, SourceError
from releasecopilot_core.testing import FakeHistory
from releasecopilot_core.testing.sinks import a_run
from releasecopilot_core.testing.strategies import REPOSITORY

NOW = a_run().started_at
WINDOW = Window.last(4, until=NOW)


def sha(number: int) -> str:
    return f"{number:040x}"


def line_of(count: int, *, hours_apart: float = 0.1) -> FakeHistory:
    """Return a straight history; commit `count` is the newest."""
    parents = {sha(n): [sha(n - 1)] if n > 1 else [] for n in range(1, count + 1)}
    dates = {sha(n): NOW - timedelta(hours=hours_apart * (count - n)) for n in range(1, count + 1)}
    return FakeHistory.of(parents, dates)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "s.db") as store:
        yield store


def walker(store: CommitStorage, history: Any, tips: dict[str, str], **more: Any) -> walking.BranchWalker:
    return walking.BranchWalker(repository=REPOSITORY, memory=store, history=history, window=WINDOW, tips=tips, **more)


def walk(store: CommitStorage, history: Any, tips: dict[str, str], branch: str = "main", **more: Any) -> list[Any]:
    batches = []
    for batch in walker(store, history, tips, **more).walk(branch):
        store.apply(batch)
        batches.append(batch)
    return batches


def stored(store: CommitStorage) -> set[str]:
    return {row["hash"] for row in store.commits()}


def test_first_contact_stops_two_pages_behind_the_window(store: CommitStorage) -> None:
    """Order is topological, so two further pages are read; the boundary and the reason stay."""
    history = line_of(100, hours_apart=1)  # commits 96 to 100 lie in the window of 4 hours
    walk(store, history, {"main": sha(100)})
    assert store.heads(REPOSITORY) == {"main": sha(100)}
    (bounded,) = store.walks(REPOSITORY)
    assert (bounded.bounded, bounded.since) == (True, WINDOW.start)
    assert stored(store) == {sha(n) for n in range(100, 88, -1)}
    assert bounded.boundary == {sha(88)}
    statuses = {commit["hash"]: commit["files_changed"] for commit in store.commits()}
    assert len(statuses) == 12
    assert set(store.owed_files(REPOSITORY, 100)) == {sha(n) for n in range(96, 101)}


def test_wider_window_goes_on_from_the_boundary(store: CommitStorage) -> None:
    """Deepening lists what is behind the boundary, and nothing twice."""
    history = line_of(100, hours_apart=1)
    walk(store, history, {"main": sha(100)})
    wider = walker(store, history, {"main": sha(100)})
    wider.window = Window.last(30, until=NOW)
    for batch in wider.walk("main"):
        store.apply(batch)
    assert history.listings[-1] == ((sha(88),), ())
    assert stored(store) >= {sha(n) for n in range(70, 101)}
    walk(store, history, {"main": sha(100)}, full=True)
    assert stored(store) == set(history.commits)
    assert list(store.walks(REPOSITORY)) == []
    assert store.heads(REPOSITORY) == {"main": sha(100)}


def test_late_work_is_found_however_old_it_is_dated(store: CommitStorage) -> None:
    """Heads decide, not clocks: commits dated last year arrive when they are pushed."""
    history = line_of(3)
    walk(store, history, {"main": sha(3)})
    old = NOW - timedelta(days=365)
    late = {
        sha(n): attrs.evolve(history.commits[sha(3)], sha=sha(n), parents=(sha(n - 1),), date=old) for n in range(4, 40)
    }
    history.commits.update(late)
    walk(store, history, {"main": sha(39)})
    assert stored(store) == set(history.commits)
    assert store.owed_count(REPOSITORY) == 39


def test_new_branch_of_a_known_repository_is_not_bounded(store: CommitStorage) -> None:
    """When the last complete scan selected the same branches, a branch that is new to us is new."""
    history = line_of(3)
    walk(store, history, {"main": sha(3)})
    old = NOW - timedelta(days=365)
    for n in range(4, 40):
        history.commits[sha(n)] = attrs.evolve(history.commits[sha(3)], sha=sha(n), parents=(sha(n - 1),), date=old)
    walk(store, history, {"main": sha(3), "feature/RC-9": sha(39)}, "feature/RC-9", known_before=True)
    assert stored(store) == set(history.commits)
    assert list(store.walks(REPOSITORY)) == []


def test_cut_off_walk_is_resumed_before_any_newer_tip(store: CommitStorage) -> None:
    """After a crash the stored boundary is asked first; the newer tip comes after."""
    history = line_of(12)
    batches = walker(store, history, {"main": sha(12)}, full=True).walk("main")
    store.apply(next(batches))
    batches.close()
    history.commits[sha(13)] = attrs.evolve(history.commits[sha(12)], sha=sha(13), parents=(sha(12),))
    history.listings.clear()
    walk(store, history, {"main": sha(13)}, full=True)
    assert history.listings == [((sha(9),), ()), ((sha(13),), (sha(12),))]
    assert stored(store) == set(history.commits)


def test_vanished_head_is_stood_in_for_by_its_ancestors(store: CommitStorage) -> None:
    """After a force-push and garbage collection, stored ancestors of the old head keep the listing short."""
    history = line_of(20)
    walk(store, history, {"main": sha(20)}, full=True)
    for gone in (19, 20):
        del history.commits[sha(gone)]
    history.commits[sha(99)] = attrs.evolve(history.commits[sha(18)], sha=sha(99), parents=(sha(18),))
    batches = walk(store, history, {"main": sha(99)})
    assert sum(batch.listed for batch in batches) <= 3
    assert store.heads(REPOSITORY) == {"main": sha(99)}
    assert sha(20) in stored(store)


def test_vanished_boundary_starts_the_walk_anew(store: CommitStorage) -> None:
    """When a cut-off walk's own commits are gone, the walk is forgotten and the tip walked instead."""
    history = line_of(12)
    store.apply(next(walker(store, history, {"main": sha(12)}, full=True).walk("main")))
    fresh = FakeHistory.of({sha(50): [sha(49)], sha(49): []})
    walk(store, fresh, {"main": sha(50)}, full=True)
    assert store.heads(REPOSITORY) == {"main": sha(50)}
    assert list(store.walks(REPOSITORY)) == []


def test_branch_that_keeps_moving_is_told(store: CommitStorage) -> None:
    """A tip that vanishes twice is reported; no walk stays open, no head moves."""
    batches = walk(store, FakeHistory.of({}), {"main": sha(1)})
    assert "rewritten while it was being listed" in batches[-1].problems[0].message
    assert (store.heads(REPOSITORY), list(store.walks(REPOSITORY))) == ({}, [])


def test_older_history_that_is_gone_ends_the_bounded_walk(store: CommitStorage) -> None:
    """A boundary that vanished cannot be deepened: that is told once, and what is stored stays."""
    history = line_of(100, hours_apart=1)
    walk(store, history, {"main": sha(100)})
    shallow = FakeHistory({sha(100): history.commits[sha(100)]})
    batches = walk(store, shallow, {"main": sha(100)}, full=True)
    assert [problem.kind for batch in batches for problem in batch.problems] in ([], ["vanished"])
    assert list(store.walks(REPOSITORY)) == []
    assert len(stored(store)) == 12


@attrs.define
class Forgetful:
    """A history whose listings expire after some pages."""

    history: FakeHistory
    after: int

    def pages(self, include: Sequence[str], exclude: Sequence[str]) -> Iterator[walking.Page]:
        for number, page in enumerate(self.history.pages(include, exclude)):
            if number == self.after:
                raise ListingExpired("the list can no longer be continued")
            yield page


def test_expired_listing_is_asked_anew_from_the_boundary(store: CommitStorage) -> None:
    """A cursor that the service forgot costs one more request, and no commit."""
    history = line_of(30)
    walk(store, Forgetful(history, 2), {"main": sha(30)}, full=True)
    assert stored(store) == set(history.commits)


def test_listing_that_expires_at_once_is_an_error(store: CommitStorage) -> None:
    """Without progress there is no use in asking for ever."""
    with pytest.raises(SourceError, match="no longer be continued"):
        walk(store, Forgetful(line_of(30), 0), {"main": sha(30)})


# --- whose commit is it --------------------------------------------------------------------------------------


def own(store: CommitStorage, branch: str) -> set[str]:
    return {commit.sha for commit, _ in store.commits_for_keys() if branch in commit.branches}


def test_merging_main_into_a_feature_gives_it_none_of_mains_commits(store: CommitStorage) -> None:
    """Only the branch's own first-parent line speaks for it."""
    #   1 - 2 - 3 - 4        main
    #        \       \
    #         5 - 6 - 7 - 8  feature/RC-9 (7 merges main)
    parents = {1: [], 2: [1], 3: [2], 4: [3], 5: [2], 6: [5], 7: [6, 4], 8: [7]}
    history = FakeHistory.of({sha(n): [sha(p) for p in above] for n, above in parents.items()})
    tips = {"main": sha(4), "feature/RC-9": sha(8)}
    walk(store, history, tips, full=True)
    walk(store, history, tips, "feature/RC-9", full=True)
    assert own(store, "feature/RC-9") == {sha(n) for n in (5, 6, 7, 8)}


def test_feature_is_told_from_a_main_branch_that_is_not_scanned(store: CommitStorage) -> None:
    """Scanning features alone does not turn main's history into a feature's story."""
    history = line_of(10)
    history.commits[sha(20)] = attrs.evolve(history.commits[sha(10)], sha=sha(20), parents=(sha(10),))
    walk(store, history, {"main": sha(10), "feature/RC-9": sha(20)}, "feature/RC-9", full=True)
    assert own(store, "feature/RC-9") == {sha(20)}


def test_branch_at_the_tip_of_another_owns_nothing(store: CommitStorage) -> None:
    """A branch that was only just created has no commits of its own."""
    history = line_of(5)
    tips = {"main": sha(5), "feature/RC-9": sha(5)}
    walk(store, history, tips, full=True)
    walk(store, history, tips, "feature/RC-9", full=True)
    assert own(store, "feature/RC-9") == set()
    assert store.heads(REPOSITORY)["feature/RC-9"] == sha(5)


# --- the law -------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[FakeHistory, dict[str, str]]:
    """Draw a graph with merges and dates in any order, and branches on it."""
    count = draw(st.integers(1, 25))
    parents = {
        n: draw(st.lists(st.integers(1, n - 1), max_size=3, unique=True)) if n > 1 else [] for n in range(1, count + 1)
    }
    dates = {sha(n): NOW - timedelta(hours=draw(st.integers(0, 40))) for n in parents}
    history = FakeHistory.of({sha(n): [sha(p) for p in above] for n, above in parents.items()}, dates)
    names = draw(st.lists(st.sampled_from(["main", "release/1", "feature/RC-9"]), min_size=1, unique=True))
    return history, {name: sha(draw(st.integers(1, count))) for name in names}


@given(histories(), st.data())
def test_everything_reachable_is_stored_or_behind_a_boundary(
    tmp_path_factory: Any, drawn: tuple[FakeHistory, dict[str, str]], data: st.DataObject
) -> None:
    """Scans that are cut off anywhere, with tips that move meanwhile, lose nothing."""
    history, final = drawn
    history.page_length = data.draw(st.integers(1, 4))
    with CommitStorage(tmp_path_factory.mktemp("law") / "s.db") as store:
        for _ in range(data.draw(st.integers(1, 4))):
            moved = {branch: sha(data.draw(st.integers(1, len(history.commits)))) for branch in final}
            tips = data.draw(st.sampled_from([moved, final]))
            full, stop_after = data.draw(st.booleans()), data.draw(st.integers(0, 12))
            batches = (b for name in sorted(tips) for b in walker(store, history, tips, full=full).walk(name))
            for _, batch in zip(range(stop_after), batches, strict=False):
                store.apply(batch)
        for branch in sorted(final):
            walk(store, history, final, branch)
        assert dict(store.heads(REPOSITORY)) == final
        behind = history.reachable(sha for walk in store.walks(REPOSITORY) for sha in walk.boundary)
        assert history.reachable(final.values()) <= stored(store) | behind
        assert all(walk.bounded for walk in store.walks(REPOSITORY))
        for branch in sorted(final):
            walk(store, history, final, branch, full=True)
        assert history.reachable(final.values()) <= stored(store)
        assert list(store.walks(REPOSITORY)) == []


def test_branches_are_walked_in_order() -> None:
    """Main first, then what is wanted, then what was left unfinished, without the tip of what is not wanted."""
    tips = {"main": sha(1), "x": sha(2), "old": sha(3), "release/1": sha(4)}
    cut_off = Walk(branch="old", target=sha(9), boundary=frozenset({sha(8)}))
    bounded = Walk(branch="gone", target=sha(7), boundary=frozenset({sha(6)}), since=WINDOW.start, bounded=True)
    request: dict[str, Any] = {"main": "main", "walks": [bounded, cut_off], "tips": tips, "window": WINDOW}
    plain = walking.branches_to_walk(**request, wanted=["release/1", "main"], full=False)
    assert [branch for branch, _ in plain] == ["main", "release/1", "old"]
    assert plain[1][1] == tips
    assert "old" not in plain[2][1]
    full = walking.branches_to_walk(**request, wanted=["release/1", "main"], full=True)
    assert [branch for branch, _ in full] == ["main", "release/1", "gone", "old"]
