"""What a batch means for commits that are stored already: claims of a push, titles of pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import Announced, Batch, Commit, CommitStorage, Ingestor, PullRequest, Sighting, Walk
from releasecopilot_core._preparing import prepared
from releasecopilot_core.testing import strategies
from releasecopilot_core.testing.stores import a_batch, a_commit

REPOSITORY = strategies.REPOSITORY
A, B, C, D = strategies.SHAS[:4]
NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "t.db") as opened:
        yield opened


def pushed(branch: str, *shas: str, base: str | None) -> Batch:
    """Return what a push of commits tells, newest first, all on the branch's first-parent line."""
    seen = frozenset({Sighting(REPOSITORY.uuid, NOW, branch=branch, via="webhook", own=True)})
    commits = [Commit(sha=sha, message="work", sightings=seen) for sha in shas]
    return a_batch(*commits, stale_branches={branch: Announced("pushed", target=shas[0], base=base)})


def told(store: CommitStorage, batch: Batch) -> dict[str, tuple[list[str], list[str]]]:
    """Return sha -> (branches it is seen on, keys) of a batch as it would be stored."""
    with Ingestor() as ingestor:
        ready = prepared(batch, store, ingestor._keys)
    return {
        commit.sha: (
            sorted(s.branch for s in commit.sightings if s.branch),
            sorted(key.key for key in commit.story_keys),
        )
        for commit in ready.commits
    }


def main_at(store: CommitStorage, *shas: str) -> None:
    """Store a line of commits of the main branch, oldest first, and its head."""
    commits = [a_commit(sha, *shas[max(0, n - 1) : n], message="main") for n, sha in enumerate(shas)]
    store.apply(a_batch(*commits, walk=Walk(branch="main", target=shas[-1], boundary=frozenset()), walk_ended="done"))


def test_pushed_commits_get_the_branch_s_story(store: CommitStorage) -> None:
    """An update shows what is new since the branch's old head."""
    assert told(store, pushed("feature/RC-9", C, B, base=A)) == {
        C: (["feature/RC-9"], ["RC-9"]),
        B: (["feature/RC-9"], ["RC-9"]),
    }


def test_main_s_commits_stay_main_s(store: CommitStorage) -> None:
    """A branch that was fast-forwarded to main shows main's commits as if they were new."""
    main_at(store, A, B)
    assert told(store, pushed("feature/RC-9", B, base=A)) == {B: (["feature/RC-9"], [])}


def test_new_branch_owns_what_is_above_known_history(store: CommitStorage) -> None:
    """A creation shows old commits, too: those are not the branch's news."""
    main_at(store, A, B)
    assert told(store, pushed("feature/RC-9", C, B, A, base=None)) == {
        C: (["feature/RC-9"], ["RC-9"]),
        B: ([], []),
        A: ([], []),
    }


def test_new_branch_above_nothing_known_owns_nothing_yet(store: CommitStorage) -> None:
    """Nobody can tell where main ends; the repair will."""
    assert told(store, pushed("feature/RC-9", C, B, base=None)) == {
        C: (["feature/RC-9"], []),
        B: (["feature/RC-9"], []),
    }


def test_commits_seen_on_main_by_a_webhook_count_as_known(store: CommitStorage) -> None:
    """Heads do not move by webhooks, but sightings tell as well."""
    with Ingestor() as ingestor:
        store.apply(prepared(pushed("main", B, base=A), store, ingestor._keys))
    assert told(store, pushed("feature/RC-9", C, B, base=None))[C] == (["feature/RC-9"], ["RC-9"])


def test_title_reaches_commits_that_were_seen_before(store: CommitStorage) -> None:
    """A pull request that is renamed gives its new key to the commits that it has."""
    seen = frozenset({Sighting(REPOSITORY.uuid, NOW, pull_request=7, title="no key")})
    store.apply(a_batch(a_commit(A, message="x", sightings=seen), pull_requests=(PullRequest(id=7, title="no key"),)))
    assert told(store, a_batch(pull_requests=(PullRequest(id=7, title="RC-7 Taxes"),))) == {A: ([], ["RC-7"])}


def test_announced_head_is_found_by_its_first_digits(store: CommitStorage) -> None:
    """Pull requests abbreviate hashes; an ambiguous one is nobody's."""
    main_at(store, A, B)
    request: dict[str, Any] = {"pull_requests": (PullRequest(id=7, title="RC-7"),)}
    found = told(store, a_batch(**request, stale_pull_requests={7: Announced("created", target=B)}))
    assert found == {B: ([], ["RC-7"])}
    assert told(store, a_batch(**request, stale_pull_requests={7: Announced("created", target=B[:12])})) == {}
