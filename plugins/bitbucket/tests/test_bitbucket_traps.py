"""Traps of the service that the sandbox, which answers as documented, does not set: filters that it ignores, odd lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from releasecopilot_bitbucket.pull_requests import PullRequestVisit

from releasecopilot_core import Batch, CommitStorage, Repository, Window

NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)
REPOSITORY = Repository(source="bitbucket", uuid="{1}", full_name="acme/api", main_branch="main")


def a_pull_request(number: int, updated: datetime) -> dict[str, Any]:
    """Return a pull request as the list gives it: times in microseconds, hashes of twelve digits."""
    return {
        "id": number,
        "title": f"RC-{number}",
        "state": "OPEN",
        "author": {"display_name": "Ann"},
        "source": {"branch": {"name": f"feature/{number}"}},
        "destination": {"branch": {"name": "main"}},
        "merge_commit": None,
        "updated_on": updated.isoformat(timespec="microseconds"),
    }


@pytest.fixture
def visit(api: Any, store: CommitStorage) -> PullRequestVisit:
    """Return a look at pull requests that were updated in the last hour."""
    return PullRequestVisit(
        api=api,
        path="repositories/acme/api",
        repository=REPOSITORY,
        memory=store,
        window=Window.last(4, until=NOW),
        since=NOW - timedelta(hours=1),
        first=False,
    )


def fetched(batches: list[Batch]) -> list[int]:
    return [request.id for batch in batches for request in batch.pull_requests]


def test_query_that_is_ignored_costs_nothing_more(visit: PullRequestVisit, server: Any) -> None:
    """Elsewhere in this API filters are ignored without a word: what is older is not asked for its commits."""
    old, new = NOW - timedelta(days=30), NOW - timedelta(minutes=5)
    server.then({"values": [a_pull_request(1, old), a_pull_request(2, new), a_pull_request(3, old)]})
    server.then({"values": []})
    assert fetched(list(visit.updated({}))) == [2]
    assert [asked.path.removeprefix("/2.0/repositories/acme/api") for asked in server.asked] == [
        "/pullrequests",
        "/pullrequests/2/commits",
    ]
    assert visit.seen_to == new


def test_pull_requests_come_in_any_order(visit: PullRequestVisit, server: Any) -> None:
    """The mark is the latest update that was listed, wherever it stood; `sort` with several states answers 500."""
    times = [NOW - timedelta(minutes=minutes) for minutes in (30, 5, 55)]
    server.then({"values": [a_pull_request(number, at) for number, at in enumerate(times, start=1)]})
    server.then({"values": []})
    assert fetched(list(visit.updated({}))) == [1, 2, 3]
    assert visit.seen_to == times[1]
    names = [name for name, _ in server.asked[0].query]
    assert "sort" not in names
    assert names.count("state") == 4


def test_pull_request_on_two_pages_is_stored_once(visit: PullRequestVisit, store: CommitStorage, server: Any) -> None:
    """A list by page numbers moves while it is read: what slips onto the next page comes twice."""
    new = NOW - timedelta(minutes=5)
    server.then({"values": [a_pull_request(1, new)], "next": f"{server.url}/repositories/acme/api/pullrequests?page=2"})
    server.then({"values": []})
    server.then({"values": [a_pull_request(1, new), a_pull_request(2, new)]})
    server.then({"values": []})
    for batch in visit.updated({}):
        store.apply(batch)
    assert sorted(store.pull_request_updates(REPOSITORY)) == [1, 2]
