"""What every store must do; the SQLite store and a stranger's run the same tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from releasecopilot_core import (
    Announced,
    Batch,
    Commit,
    DeliveryRecord,
    FileChange,
    PullRequest,
    Scanned,
    Sighting,
    Store,
    StoryKey,
    Walk,
    Window,
)

from .sinks import a_run
from .strategies import REPOSITORY, SHAS, batches, moments

_NOW = a_run().started_at
_A, _B, _C, _D = SHAS[:4]


def a_commit(sha: str, *parents: str, branch: str = "main", **changes: Any) -> Commit:
    """Return a commit that was seen on a branch now."""
    commit = Commit(
        sha=sha,
        author="Ann <ann@acme.example>",
        date=_NOW - timedelta(hours=1),
        message=f"RC-1 {sha[-4:]}",
        parents=parents,
        sightings=frozenset({Sighting(REPOSITORY.uuid, _NOW, branch=branch)}),
    )
    return attrs.evolve(commit, **changes)


def a_batch(*commits: Commit, **more: Any) -> Batch:
    """Return a batch of the test repository."""
    return Batch(repository=REPOSITORY, commits=commits, **more)


def a_delivery(number: str, **changes: Any) -> DeliveryRecord:
    """Return a delivery of its own request and body."""
    record = DeliveryRecord(
        id=number,
        service="test",
        received_at=_NOW,
        status="stored",
        event="push",
        request_id=f"r-{number}",
        headers={"content-type": "application/json"},
        body=b"{}",
        body_sha256=f"sha-{number}",
    )
    return attrs.evolve(record, **changes)


def delivered(store: Store, record: DeliveryRecord, told: Sequence[Batch]) -> tuple[str, bool]:
    """Store one delivery by itself."""
    (found,) = store.deliver_all([(record, told)])
    return found


def content(store: Store) -> list[dict[str, Any]]:
    """Return all commits as a store shows them, but for the times of the last sighting."""
    rows = [{**row, "last_seen_at": None} for row in store.commits()]
    return sorted(rows, key=lambda row: (row["hash"], row["repository"]))


class StoreContract:
    """Inherit, and give a fixture `make_store` that returns a function which opens a new, empty store each time."""

    @pytest.fixture
    def make_store(self) -> Any:
        """Return a function that opens a fresh store."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: Any) -> Any:
        """Open one store and close it afterwards."""
        store = make_store()
        yield store
        store.close()

    # --- merging -----------------------------------------------------------------------------------------

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), drawn=st.lists(batches(), max_size=4))
    def test_order_repetition_and_split_do_not_matter(
        self, make_store: Any, data: st.DataObject, drawn: list[Batch]
    ) -> None:
        """However the same sightings are cut into batches, ordered and repeated, the content is the same."""
        singles = [attrs.evolve(batch, commits=(commit,)) for batch in drawn for commit in batch.commits] + [
            attrs.evolve(batch, commits=()) for batch in drawn
        ]
        shuffled = data.draw(st.permutations(singles + data.draw(st.lists(st.sampled_from(singles or [a_batch()])))))
        one, other = make_store(), make_store()
        try:
            for batch in drawn:
                one.apply(batch)
            for batch in shuffled:
                other.apply(batch)
            assert content(one) == content(other)
        finally:
            one.close()
            other.close()

    def test_new_is_what_the_repository_had_not(self, store: Store) -> None:
        """`Applied.new` names commits not seen in this repository before."""
        assert store.apply(a_batch(a_commit(_A))).new == {_A}
        assert store.apply(a_batch(a_commit(_A), a_commit(_B, _A))).new == {_B}

    def test_known_files_are_not_unlearnt(self, store: Store) -> None:
        """A later sighting without files leaves the files that are known."""
        store.apply(a_batch(a_commit(_A, files=(FileChange("a.py", "added", None, 3, 0),), files_status="known")))
        store.apply(a_batch(a_commit(_A)))
        assert content(store)[0]["files_changed"] == ["a.py"]
        assert store.owed_count(REPOSITORY) == 0

    # --- walks and heads ---------------------------------------------------------------------------------

    def test_head_moves_only_when_the_walk_is_done(self, store: Store) -> None:
        """A page saves the boundary beside its commits; the last one moves the head and forgets the walk."""
        walk = Walk(branch="main", target=_C, boundary=frozenset({_A}), line=_A)
        store.apply(a_batch(a_commit(_C, _B), a_commit(_B, _A), walk=walk))
        assert store.heads(REPOSITORY) == {}
        assert list(store.walks(REPOSITORY)) == [walk]
        store.apply(a_batch(a_commit(_A), walk=attrs.evolve(walk, boundary=frozenset()), walk_ended="done"))
        assert store.heads(REPOSITORY) == {"main": _C}
        assert list(store.walks(REPOSITORY)) == []

    def test_bounded_walk_moves_the_head_and_keeps_its_boundary(self, store: Store) -> None:
        """A first contact that stopped at the window's start can be deepened later, without moving the head."""
        walk = Walk(branch="main", target=_C, boundary=frozenset({_B}), bounded=True, since=_NOW)
        store.apply(a_batch(a_commit(_C, _B), walk=walk, walk_ended="bounded"))
        assert (store.heads(REPOSITORY), list(store.walks(REPOSITORY))) == ({"main": _C}, [walk])
        store.apply(a_batch(walk=Walk(branch="main", target=_D, boundary=frozenset()), walk_ended="done"))
        store.apply(a_batch(a_commit(_B), walk=attrs.evolve(walk, boundary=frozenset()), walk_ended="done"))
        assert (store.heads(REPOSITORY), list(store.walks(REPOSITORY))) == ({"main": _D}, [])

    def test_dropped_walk_moves_nothing(self, store: Store) -> None:
        """A walk whose commits vanished is forgotten, and no head moves."""
        walk = Walk(branch="main", target=_C, boundary=frozenset({_B}))
        store.apply(a_batch(walk=walk))
        store.apply(a_batch(walk=walk, walk_ended="dropped"))
        assert (store.heads(REPOSITORY), list(store.walks(REPOSITORY))) == ({}, [])

    def test_deleted_branch_leaves_the_heads_until_it_comes_back(self, store: Store) -> None:
        """A branch that is gone from the listing is no head; walking it again makes it one."""
        done = Walk(branch="main", target=_A, boundary=frozenset())
        store.apply(a_batch(a_commit(_A), walk=done, walk_ended="done"))
        store.apply(a_batch(deleted_branches=("main",)))
        assert store.heads(REPOSITORY) == {}
        store.apply(a_batch(walk=done, walk_ended="done"))
        assert store.heads(REPOSITORY) == {"main": _A}

    def test_reached_elsewhere_follows_parents_from_other_heads(self, store: Store) -> None:
        """Ancestors of another live branch's head are told apart from a branch's own commits."""
        store.apply(a_batch(a_commit(_A), a_commit(_B, _A)))
        store.apply(a_batch(walk=Walk(branch="main", target=_B, boundary=frozenset()), walk_ended="done"))
        store.apply(a_batch(a_commit(_C, _A, branch="feature/x")))
        assert store.reached_elsewhere(REPOSITORY, "feature/x", [_A, _C]) == {_A}
        assert store.reached_elsewhere(REPOSITORY, "main", [_A]) == frozenset()

    def test_first_parents_stop_where_the_store_knows_no_more(self, store: Store) -> None:
        """Distances count along first parents; what is not stored is not returned."""
        store.apply(a_batch(a_commit(_C, _B, _D), a_commit(_B, _A)))
        assert list(store.first_parents(REPOSITORY, _C, (1, 2, 4))) == [_B]

    # --- files -------------------------------------------------------------------------------------------

    def test_skipped_files_are_owed_when_wanted(self, store: Store) -> None:
        """A wider window owes the files of its commits, `all` also those that were refused."""
        old = _NOW - timedelta(days=9)
        store.apply(a_batch(a_commit(_A, files_status="skipped"), a_commit(_B, files_status="skipped", date=old)))
        store.apply(a_batch(a_commit(_C, files_status="unobtainable"), a_commit(_D, files_status="owed")))
        assert list(store.owed_files(REPOSITORY, 10)) == [_D]
        store.apply(a_batch(want_files=_NOW - timedelta(days=1)))
        assert list(store.owed_files(REPOSITORY, 10)) == [_A, _D]
        store.apply(a_batch(want_files="all"))
        assert list(store.owed_files(REPOSITORY, 2)) == [_A, _B]
        assert list(store.owed_files(REPOSITORY, 2, _B)) == [_C, _D]
        assert store.owed_count(REPOSITORY) == 4

    # --- repositories and runs ---------------------------------------------------------------------------

    def test_change_mark_is_saved_only_by_a_complete_scan(self, store: Store) -> None:
        """`updated_on` of a partial scan would hide what is still missing."""
        moved = attrs.evolve(REPOSITORY, updated_on="2026-11-23T17:00:00.000001+00:00")
        partial = Scanned(name="acme/api", status="partial", selection="[]", swept=True)
        store.apply(Batch(repository=moved, scanned=partial))
        state = store.repository("test", REPOSITORY.uuid)
        assert state is not None
        assert (state.repository.updated_on, state.selection, state.swept_at) == (None, None, None)
        store.apply(Batch(repository=moved, scanned=attrs.evolve(partial, status="complete")))
        state = store.repository("test", REPOSITORY.uuid)
        assert state is not None
        assert (state.repository.updated_on, state.selection) == (moved.updated_on, "[]")
        assert state.swept_at is not None

    def test_renamed_repository_is_one_repository(self, store: Store) -> None:
        """The uuid decides; the name follows."""
        store.apply(a_batch(a_commit(_A)))
        store.apply(Batch(repository=attrs.evolve(REPOSITORY, full_name="acme/renamed")))
        assert [state.repository.full_name for state in store.repositories("test")] == ["acme/renamed"]
        assert [row["repository"] for row in store.commits()] == ["acme/renamed"]

    def test_fork_keeps_its_own_links(self, store: Store) -> None:
        """The same commit in two repositories is one commit with two rows in every listing."""
        fork = attrs.evolve(REPOSITORY, uuid="{2}", full_name="ann/api")
        seen = frozenset({Sighting("{2}", _NOW, branch="main")})
        store.apply(a_batch(a_commit(_A)))
        assert store.apply(Batch(repository=fork, commits=(a_commit(_A, sightings=seen),))).new == {_A}
        assert [row["repository"] for row in content(store)] == ["acme/api", "ann/api"]

    def test_sighted_holds_what_a_run_saw_and_refreshed(self, store: Store) -> None:
        """The payload has each commit once, with `new` told apart from what was there before."""
        done = Walk(branch="main", target=_B, boundary=frozenset())
        store.apply(a_batch(a_commit(_A), a_commit(_B, _A), walk=done, walk_ended="done"))
        run = a_run(status="running", finished_at=None)
        store.begin_run(run)
        feature = attrs.evolve(done, branch="feature/x", target=_C)
        store.apply(a_batch(a_commit(_C, _B, branch="feature/x"), walk=feature, walk_ended="done"), run_id=run.run_id)
        assert store.refresh(REPOSITORY, ["main", "feature/x"], run.window, run_id=run.run_id) == 2
        assert {entry["hash"]: entry["new"] for entry in store.sighted(run.run_id)} == {_A: False, _B: False, _C: True}
        store.finish_run(attrs.evolve(run, status="complete"))
        assert list(store.sighted(run.run_id)) == []
        for rows in (store.runs(), store.runs(run_id=run.run_id)):
            assert [(row["run_id"], row["status"]) for row in rows] == [(run.run_id, "complete")]
        assert list(store.runs(run_id="another")) == []

    def test_runs_of_one_second_come_newest_first(self, store: Store) -> None:
        """Times are whole seconds and ids end at random: neither tells which of two short runs came first."""
        begun = ["b", "c", "a"]
        for run_id in begun:
            run = a_run(run_id=run_id, status="running", finished_at=None)
            store.begin_run(run)
            store.finish_run(attrs.evolve(run, status="complete"))
        assert [row["run_id"] for row in store.runs()] == begun[::-1]
        assert [row["run_id"] for row in store.runs(limit=2)] == begun[:0:-1]

    def test_refresh_leaves_out_what_a_force_push_took(self, store: Store) -> None:
        """A link says "was seen on"; what no head reaches any more is not seen again."""
        window = Window.last(4, until=_NOW)
        old = Walk(branch="main", target=_B, boundary=frozenset())
        store.apply(a_batch(a_commit(_A), a_commit(_B, _A), walk=old, walk_ended="done"))
        store.apply(a_batch(a_commit(_C, _A), walk=attrs.evolve(old, target=_C), walk_ended="done"))
        store.begin_run(a_run(status="running"))
        assert store.refresh(REPOSITORY, ["main"], window, run_id=a_run().run_id) == 2
        assert {entry["hash"] for entry in store.sighted(a_run().run_id)} == {_A, _C}

    # --- announcements -----------------------------------------------------------------------------------

    def test_announced_branch_is_stale_until_it_is_settled(self, store: Store) -> None:
        """A mark stays until whoever fetched what it announced says so; one that came meanwhile stays longer."""
        store.apply(a_batch(stale_branches={"x": Announced("pushed", target=_A)}))
        (mark,) = store.stale_branches(REPOSITORY).values()
        assert (mark.reason, mark.target) == ("pushed", _A)
        assert [r.uuid for r in store.to_repair(REPOSITORY.source)] == [REPOSITORY.uuid]
        store.apply(a_batch(stale_branches={"x": Announced("deleted")}))
        store.apply(a_batch(settled_branches={"x": mark.marks}))
        (mark,) = store.stale_branches(REPOSITORY).values()
        assert (mark.reason, mark.target) == ("deleted", _A)
        store.apply(a_batch(settled_branches={"x": mark.marks}))
        assert (store.stale_branches(REPOSITORY), list(store.to_repair(REPOSITORY.source))) == ({}, [])
        assert store.heads(REPOSITORY) == {}

    def test_announced_pull_request_is_stale_until_it_is_settled(self, store: Store) -> None:
        """As for branches."""
        store.apply(a_batch(stale_pull_requests={7: Announced("created", target=_A[:12])}))
        (mark,) = store.stale_pull_requests(REPOSITORY).values()
        store.apply(a_batch(settled_pull_requests={7: mark.marks}))
        assert store.stale_pull_requests(REPOSITORY) == {}

    def test_pull_request_is_kept_as_last_updated(self, store: Store) -> None:
        """Of two sightings the later update wins, in whatever order they come; its commits are remembered."""
        seen = frozenset({Sighting(REPOSITORY.uuid, _NOW, pull_request=7, title="RC-1")})
        late = PullRequest(id=7, title="late", updated_on=_NOW)
        early = PullRequest(id=7, title="early", updated_on=_NOW - timedelta(hours=1))
        store.apply(a_batch(a_commit(_B, sightings=seen), pull_requests=(late,)))
        store.apply(a_batch(pull_requests=(early,)))
        assert store.pull_request_updates(REPOSITORY) == {7: _NOW}
        assert list(store.pull_request_commits(REPOSITORY, 7)) == [_B]
        assert list(store.resolve(REPOSITORY, _B[:12])) == [_B]

    def test_known_elsewhere_is_seen_or_reached(self, store: Store) -> None:
        """A commit is known elsewhere when another branch showed it, or another head reaches it."""
        walk = Walk(branch="main", target=_B, boundary=frozenset())
        store.apply(a_batch(a_commit(_A), a_commit(_B, _A), walk=walk, walk_ended="done"))
        store.apply(a_batch(a_commit(_C, _B, branch="x")))
        assert store.known_elsewhere(REPOSITORY, "y", [_A, _B, _C, _D]) == {_A, _B, _C}
        assert store.known_elsewhere(REPOSITORY, "x", [_A, _B, _C, _D]) == {_A, _B}

    def test_announced_look_is_not_remembered_as_a_whole_one(self, store: Store) -> None:
        """After a repair the next scan looks at the repository as if there had been none."""
        seen = attrs.evolve(REPOSITORY, updated_on="mark")
        store.apply(Batch(repository=seen, scanned=Scanned(name="acme/api", status="complete", whole=False)))
        state = store.repository(REPOSITORY.source, REPOSITORY.uuid)
        assert state is not None
        assert (state.status, state.repository.updated_on) == (None, None)

    # --- deliveries --------------------------------------------------------------------------------------

    def test_delivery_is_kept_with_what_it_tells(self, store: Store) -> None:
        """Record, commits and marks are there at once."""
        record = a_delivery("1")
        told = a_batch(a_commit(_A), stale_branches={"main": Announced("pushed", target=_A)})
        assert delivered(store, record, [told]) == ("1", False)
        assert list(store.stale_branches(REPOSITORY)) == ["main"]
        assert [row["hash"] for row in store.commits()] == [_A]
        kept = store.delivery("1")
        assert kept == attrs.evolve(record, last_received_at=record.received_at)
        assert [found.body for found in store.deliveries()] == [None]

    @pytest.mark.parametrize("changes", [{"request_id": "r-1"}, {"body_sha256": "sha-1"}], ids=["request", "body"])
    def test_duplicate_changes_nothing_but_seen_at_times(self, store: Store, changes: dict[str, str]) -> None:
        """The same request id, or the same body under another one, is known; nothing becomes stale again."""
        told = a_batch(a_commit(_A), stale_branches={"main": Announced("pushed", target=_A)})
        delivered(store, a_delivery("1"), [told])
        before = content(store)
        store.apply(a_batch(settled_branches={"main": 1}))
        again = a_delivery("2", received_at=_NOW + timedelta(hours=1), **changes)
        assert delivered(store, again, [told]) == ("1", True)
        assert store.stale_branches(REPOSITORY) == {}
        assert content(store) == before
        (kept,) = store.deliveries()
        assert (kept.times, kept.received_at, kept.last_received_at) == (2, _NOW, _NOW + timedelta(hours=1))

    def test_duplicate_that_means_more_by_now_changes_nothing_either(self, store: Store) -> None:
        """The name that a repository had, and a title that would reach a later commit, are no news."""
        told = a_batch(a_commit(_A))
        delivered(store, a_delivery("1"), [told, a_batch(a_commit(_B, _A))])
        before = content(store)
        old_title = frozenset({StoryKey("RC-7", "pr_title", "jira-keys")})
        more = (a_commit(_A, story_keys=old_title), a_commit(_C, _A))
        again = attrs.evolve(told, repository=attrs.evolve(REPOSITORY, full_name="acme/once"), commits=more)
        assert delivered(store, a_delivery("2", request_id="r-1"), [again]) == ("1", True)
        assert content(store) == before

    def test_other_delivery_is_no_duplicate(self, store: Store) -> None:
        """Two deliveries that share nothing, or lack a request id, are two; the newest comes first."""
        for number in "123":
            changes = {"request_id": None} if number != "1" else {}
            moment = _NOW + timedelta(minutes=int(number))
            assert delivered(store, a_delivery(number, received_at=moment, **changes), []) == (number, False)
        assert [found.id for found in store.deliveries()] == ["3", "2", "1"]
        assert [found.id for found in store.deliveries(limit=1)] == ["3"]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), drawn=st.lists(batches(), min_size=1, max_size=4))
    def test_deliveries_together_are_as_one_by_one(
        self, make_store: Any, data: st.DataObject, drawn: list[Batch]
    ) -> None:
        """However deliveries are put together, repeated ones among them, the same is stored and returned."""
        told = [(a_delivery(str(number)), [batch]) for number, batch in enumerate(drawn)]
        told += [(attrs.evolve(record, id=f"{record.id} again"), batches) for record, batches in told]
        cut = data.draw(st.integers(0, len(told)))
        one, other = make_store(), make_store()
        try:
            singly = [delivered(one, record, batches) for record, batches in told]
            together = [found for part in (told[:cut], told[cut:]) if part for found in other.deliver_all(part)]
            assert singly == together
            assert content(one) == content(other)
            assert [(d.id, d.times) for d in one.deliveries()] == [(d.id, d.times) for d in other.deliveries()]
        finally:
            one.close()
            other.close()

    def test_deliveries_together_are_stored_or_not(self, store: Store) -> None:
        """When one of them cannot be stored, none is, and nothing of what they tell."""
        foreign = a_batch(a_commit(_B, sightings=frozenset({Sighting("{another}", _NOW, branch="main")})))
        with pytest.raises(Exception, match="another"):
            store.deliver_all([(a_delivery("1"), [a_batch(a_commit(_A))]), (a_delivery("2"), [foreign])])
        assert (list(store.deliveries()), content(store)) == ([], [])
        assert delivered(store, a_delivery("1"), [a_batch(a_commit(_A))]) == ("1", False)

    def test_deliveries_of_one_second_come_newest_first(self, store: Store) -> None:
        """Times are whole seconds and ids end at random: neither tells which of two came first."""
        came = ["b", "c", "a"]
        for number in came:
            delivered(store, a_delivery(number), [])
        assert [found.id for found in store.deliveries()] == came[::-1]
        assert [found.id for found in store.deliveries(limit=1)] == ["a"]

    def test_failed_delivery_can_be_replayed(self, store: Store) -> None:
        """What could not be decoded is kept, and tells what it has to tell later."""
        delivered(store, a_delivery("1", status="failed", reason="no hash"), [])
        assert [found.reason for found in store.deliveries(status="failed")] == ["no hash"]
        store.redeliver("1", [a_batch(a_commit(_A))], "stored", None)
        assert ([*store.deliveries(status="failed")], len(content(store))) == ([], 1)

    def test_pruned_delivery_keeps_its_record(self, store: Store) -> None:
        """Only raw bodies go, and only old ones; a duplicate is still known."""
        delivered(store, a_delivery("1", received_at=_NOW - timedelta(days=40)), [])
        delivered(store, a_delivery("2", received_at=_NOW), [])
        assert store.prune_deliveries(_NOW - timedelta(days=30)) == 1
        old, new = store.delivery("1"), store.delivery("2")
        assert old is not None
        assert new is not None
        assert (old.body, new.body) == (None, b"{}")
        assert delivered(store, a_delivery("3", request_id="r-1"), []) == ("1", True)

    # --- leases ------------------------------------------------------------------------------------------

    def test_lease_has_one_holder(self, store: Store) -> None:
        """Who holds it may prolong it; others get it when it is given back or has expired."""
        assert store.lease("work", "a", 60)
        assert store.lease("work", "a", 60)
        assert not store.lease("work", "b", 60)
        store.release("work", "b")
        assert not store.lease("work", "b", 60)
        store.release("work", "a")
        assert store.lease("work", "b", -1)
        assert store.lease("work", "a", 60)

    # --- story keys --------------------------------------------------------------------------------------

    def test_keys_can_be_replaced(self, store: Store) -> None:
        """`rekey` removes keys too, in one transaction, and records by which rules."""
        jira = StoryKey("RC-1", "message", "jira-keys")
        store.apply(a_batch(a_commit(_A, story_keys=frozenset({jira})), a_commit(_B, _A)))
        assert {commit.sha: set(keys) for commit, keys in store.commits_for_keys()} == {_A: {jira}, _B: set()}
        other = StoryKey("RC-2", "branch", "acme")
        store.replace_keys([(_A, frozenset()), (_B, frozenset({other}))], a_run(kind="rekey", key_rules="new"))
        assert {commit.sha: set(keys) for commit, keys in store.commits_for_keys()} == {_A: set(), _B: {other}}
        assert store.key_rules() == {"new"}
        assert [(row["story_key"], row["commits"]) for row in store.stories()] == [("RC-2", 1), (None, 1)]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(since=st.none() | moments)
    def test_questions_agree(self, make_store: Any, since: Any) -> None:
        """Stories count the commits that the listing of commits shows, from any time on."""
        store = make_store()
        try:
            key = frozenset({StoryKey("RC-1", "message", "jira-keys")})
            store.apply(a_batch(a_commit(_A, story_keys=key), a_commit(_B, _A)))
            listed = list(store.commits(since=since))
            assert sum(row["commits"] for row in store.stories(since=since)) == len(listed)
            assert len(list(store.commits(since=since, story="RC-1"))) + len(
                list(store.commits(since=since, unassigned=True))
            ) == len(listed)
        finally:
            store.close()
