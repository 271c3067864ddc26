"""What bites at Bitbucket Cloud, as the facts tell it, and no other test holds: one test a trap."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

#: kind of listing -> most entries a page; more is answered with 400 (pull requests: BCLOUD-9659).
CAPS = {"repositories": 100, "branches": 100, "commits": 100, "diffstat": 5000, "pullrequests": 50}

#: Git allows all of these as names of branches.
ODD_BRANCHES = (
    "a/b/c",
    "RC-1#2",
    "50%",
    "a%2Fb",
    "x+y&include=main",
    "größe/日本",
    "{x}",
    "cafe",
    "deadbeef" * 5,
    "refs/heads/main",
    "HEAD2",
    "a=b;c",
    "it's",
)


def listings(workspace: Any) -> list[tuple[str, dict[str, list[str]]]]:
    """Return (last part of the path, parameters) of all that was asked for."""
    found = []
    for served in workspace.sandbox.requests:
        parameters: dict[str, list[str]] = {}
        for name, value in parse_qsl(served.query, keep_blank_values=True):
            parameters.setdefault(name, []).append(value)
        found.append((served.kind, parameters))
    return found


def test_each_listing_keeps_next_and_its_cap(workspace: Any) -> None:
    """`fields` without `next` ends the paging after one page without a word; a page above the cap is refused."""
    api = workspace.add("api")
    api.history("main", [1.0] * 5)
    asked = []
    for request in ({}, {"full": True}):
        assert workspace.scan(**request).status == "complete"
        asked += listings(workspace)
        workspace.sandbox.clear_requests()
    assert {kind for kind, _ in asked} >= set(CAPS)
    for kind, parameters in asked:
        if "pagelen" in parameters:
            assert "next" in parameters["fields"][0].split(","), (kind, parameters)
            assert int(parameters["pagelen"][0]) <= CAPS.get(kind, 100), (kind, parameters)


def test_time_in_a_query_is_encoded(workspace: Any) -> None:
    """A bare `+` would be read as a blank, and the filter as none."""
    workspace.add("api").commit("main", "RC-1")
    workspace.scan()
    (query,) = [served.query for served in workspace.sandbox.requests if served.path.endswith("/pullrequests")]
    assert "%2B00%3A00" in query
    assert dict(parse_qsl(query))["q"].endswith('+00:00"')


def test_pages_of_a_few_entries_lose_nothing(workspace: Any) -> None:
    """Services may give less than was asked for: only a missing `next` is the end."""
    api = workspace.add("api")
    api.history("main", [1.0] * 12)
    head = api.head("main")
    for number in range(5):
        api.commit(f"feature/{number}", f"RC-{number}", parents=[head], files={f"{n}.txt": "x" for n in range(6)})
    workspace.sandbox.set_fault("short-pages", "2")
    assert workspace.scan().status == "complete"
    assert workspace.stored() == set(api.reachable(*api.branches()))
    for sha in workspace.stored():
        assert workspace.files(sha) == api.files(sha)


def test_date_is_the_committers(workspace: Any) -> None:
    """The API gives one date: that of a rebase, not that of the first draft; what it does not tell stays unknown."""
    api = workspace.add("api")
    stream = b"""commit refs/heads/main
author Ann <ann@acme.example> 1700000000 +0200
committer Bob <bob@acme.example> 1790000000 -0700
data 4
RC-1
"""
    api.git("fast-import", "--quiet", given=stream)
    workspace.scan()
    assert workspace.rows("SELECT author, date, author_date FROM commits") == [
        ("Ann <ann@acme.example>", "2026-09-21T14:13:20Z", None)
    ]


@pytest.mark.parametrize("branch", ODD_BRANCHES)
def test_odd_branch_names(workspace: Any, branch: str) -> None:
    """Names hold slashes, signs that mean something in addresses, and what looks like a hash; they are kept as they are."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    # Not by fast-import, which refuses some.
    tree = api.git("rev-parse", f"{base}^{{tree}}").strip()
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@acme.example")
    work = api.git(*identity, "commit-tree", tree, "-p", base, "-m", "work").strip()
    api.set(branch, work)
    run = workspace.scan()
    assert run.status == "complete", run.problems
    assert run.repositories[0].heads_after == {"main": base, branch: work}
    assert workspace.stored() == {base, work}
    only = workspace.scan(branches=[branch], full=True)
    assert (only.status, sorted(only.repositories[0].heads_after)) == ("complete", sorted(["main", branch]))


def test_lost_rights_delete_nothing(workspace: Any) -> None:
    """A 404 may only mean that the credential may not see it any more: heads and commits stay, and the run tells."""
    api = workspace.add("api")
    shas = api.history("main", [2.0, 1.0])
    workspace.add("web").commit("main", "RC-1")
    workspace.scan()
    workspace.sandbox.set_fault("missing@branches:api", "1")
    api.commit("main", "more")
    run = workspace.scan()
    assert run.status == "partial"
    assert "acme/api" in {problem.repository for problem in run.problems}
    assert workspace.rows("SELECT sha, deleted_at FROM heads WHERE sha = '" + shas[-1] + "'") == [(shas[-1], None)]
    workspace.sandbox.clear_faults()
    assert workspace.scan().status == "complete"
    assert set(api.reachable("main")) <= workspace.stored()


def test_squashed_and_deleted_branch_keeps_its_commits(workspace: Any) -> None:
    """No ref reaches them any more, and the service may lose them: what was stored keeps its pull request and story."""
    api = workspace.add("api")
    work = api.commit("feature/x", "work", parents=[api.commit("main", "base")])
    address = f"{workspace.sandbox.url}/repositories/acme/api/pullrequests"
    auth = ("bot@acme.example", "s3cret-token")
    opened = httpx.post(address, json={"title": "RC-7", "source": {"branch": {"name": "feature/x"}}}, auth=auth).json()
    workspace.scan()
    wish = {"merge_strategy": "squash", "close_source_branch": True, "message": "RC-7 Squashed"}
    assert httpx.post(f"{address}/{opened['id']}/merge", json=wish, auth=auth).status_code == 200
    api.collect_garbage()
    run = workspace.scan()
    assert (run.status, run.new) == ("complete", 1)
    assert {work, api.head("main")} <= workspace.stored()
    assert workspace.rows(f"SELECT pull_request FROM commit_pull_requests WHERE sha = '{work}'") == [(opened["id"],)]
    state, merged = workspace.rows("SELECT state, merge_commit FROM pull_requests")[0]
    assert (state, merged) == ("MERGED", api.head("main"))


def test_repositories_are_asked_for_by_uuid(workspace: Any) -> None:
    """A new slug in the middle of a scan breaks no request."""
    workspace.add("api").commit("main", "RC-1")
    workspace.scan()
    asked = [served for served in workspace.sandbox.requests if served.kind != "repositories"]
    assert {served.kind for served in asked} >= {"branches", "commits", "diffstat", "pullrequests"}
    assert all("/acme/%7B" in served.path or "/acme/{" in served.path for served in asked)


def test_clone_address_with_a_user_is_kept_nowhere(workspace: Any) -> None:
    """Clone addresses carry the caller's name as the service gives them: none is stored or written down."""
    workspace.add("api").commit("main", "RC-1")
    run = workspace.scan()
    left = [path for path in workspace.folder.iterdir() if path.is_file()] + [Path(run.artifact)]
    assert {path.suffix for path in left} >= {".db", ".json"}
    content = b"".join(path.read_bytes() for path in left)
    assert b"@127.0.0.1" not in content
