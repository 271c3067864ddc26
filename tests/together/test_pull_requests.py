"""Pull requests in scans: titles, commits, states, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest


@pytest.fixture
def service(workspace: Any) -> Callable[..., dict[str, Any]]:
    """Return a function that asks the sandbox to change a pull request of `acme/api`."""

    def ask(method: str, address: str = "", **body: Any) -> dict[str, Any]:
        url = f"{workspace.sandbox.url}/repositories/acme/api/pullrequests{address}"
        answer = httpx.request(method, url, json=body, auth=("bot@acme.example", "s3cret-token"))
        assert answer.status_code < 300, answer.text
        return dict(answer.json())

    return ask


def opened(ask: Callable[..., dict[str, Any]], branch: str, title: str) -> int:
    return int(ask("POST", title=title, source={"branch": {"name": branch}})["id"])


def keys(workspace: Any) -> set[tuple[str, str, str]]:
    return set(workspace.rows("SELECT sha, story_key, origin FROM commit_story_keys"))


def listings(workspace: Any) -> int:
    """Count the listings of pull requests that were asked for, and forget them."""
    found = sum(served.path.endswith("/pullrequests") for served in workspace.sandbox.requests)
    workspace.sandbox.clear_requests()
    return found


def test_title_gives_its_key_to_the_commits(workspace: Any, service: Any) -> None:
    """Also to commits that were stored before the pull request was opened."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    work = api.commit("feature/x", "work", parents=[base])
    workspace.scan()
    number = opened(service, "feature/x", "RC-7 Round taxes")
    api.commit("main", "something moved")
    run = workspace.scan()
    assert run.status == "complete"
    assert keys(workspace) == {(work, "RC-7", "pr_title")}
    rows = workspace.rows("SELECT id, title, state, source_branch, destination_branch FROM pull_requests")
    assert rows == [(number, "RC-7 Round taxes", "OPEN", "feature/x", "main")]
    assert workspace.rows("SELECT sha, pull_request FROM commit_pull_requests") == [(work, number)]


def test_sweep_finds_what_moves_no_repository(workspace: Any, service: Any) -> None:
    """A new title does not move `updated_on`: the sweep finds it, and the old key stays beside the new one."""
    api = workspace.add("api")
    work = api.commit("feature/x", "work", parents=[api.commit("main", "base")])
    number = opened(service, "feature/x", "RC-7 Round taxes")
    workspace.scan()
    service("PUT", f"/{number}", title="RC-8 Round taxes")
    listings(workspace)
    workspace.scan()
    assert listings(workspace) == 0
    workspace.scan(bitbucket={"sweep_hours": 0})
    assert listings(workspace) == 1
    assert keys(workspace) == {(work, "RC-7", "pr_title"), (work, "RC-8", "pr_title")}


def test_all_four_states_are_asked_for_fifty_a_page(workspace: Any, service: Any) -> None:
    """Without `state` only open ones are told, and a longer page is refused; what comes is in any order."""
    api = workspace.add("api")
    api.commit("feature/x", "x", parents=[api.commit("main", "base")])
    opened(service, "feature/x", "RC-1")
    workspace.sandbox.clear_requests()
    workspace.scan(full=True)
    (query,) = (served.query for served in workspace.sandbox.requests if served.path.endswith("/pullrequests"))
    asked = parse_qs(query)
    assert sorted(asked["state"]) == ["DECLINED", "MERGED", "OPEN", "SUPERSEDED"]
    assert (asked["pagelen"], asked.get("sort"), asked.get("q")) == (["50"], None, None)


def test_unchanged_pull_requests_cost_nothing_twice(workspace: Any, service: Any) -> None:
    """Only what was updated is asked for its commits; what lies before the mark is not even listed."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    for number in range(4):
        api.commit(f"feature/{number}", "work", parents=[base])
        opened(service, f"feature/{number}", f"RC-{number + 1}")
    workspace.scan()
    workspace.sandbox.clear_requests()
    api.commit("main", "more")
    workspace.scan(bitbucket={"default_branches": ["main"]})
    asked = [served.path for served in workspace.sandbox.requests if "/pullrequests/" in served.path]
    assert asked == []
    (mark,) = (mark for (mark,) in workspace.rows("SELECT pull_requests_to FROM repositories"))
    (latest,) = (at for (at,) in workspace.rows("SELECT max(updated_on) FROM pull_requests"))
    assert mark == latest


def test_merged_branch_that_is_gone_leaves_its_story(workspace: Any, service: Any) -> None:
    """All four states are asked for; the merge commit's hash is whole."""
    api = workspace.add("api")
    work = api.commit("feature/x", "work", parents=[api.commit("main", "base")])
    number = opened(service, "feature/x", "RC-7 Round taxes")
    other = opened(service, "feature/x", "RC-9 Never mind")
    service("POST", f"/{other}/decline")
    service("POST", f"/{number}/merge", close_source_branch=True)
    run = workspace.scan()
    assert run.status == "complete"
    assert (work, "RC-7", "pr_title") in keys(workspace)
    states = dict(workspace.rows("SELECT id, state FROM pull_requests"))
    assert states == {number: "MERGED", other: "DECLINED"}
    (merged,) = workspace.rows(f"SELECT merge_commit FROM pull_requests WHERE id = {number}")
    assert merged == (api.head("main"),)


def test_missing_scope_is_told_and_files_come_all_the_same(workspace: Any, service: Any) -> None:
    """The message says which scope is missing, and how to go without pull requests."""
    api = workspace.add("api")
    sha = api.commit("feature/x", "x", parents=[api.commit("main", "base")])
    opened(service, "feature/x", "RC-1")
    workspace.sandbox.set_fault("forbidden@pullrequests", "1")
    run = workspace.scan()
    assert run.status == "partial"
    assert "pull_requests: false leaves them out" in run.problems[0].message
    assert workspace.rows(f"SELECT files_status FROM commits WHERE sha = '{sha}'") == [("known",)]
    run = workspace.scan(bitbucket={"pull_requests": False})
    assert run.status == "complete"


def test_fork_that_is_gone_keeps_the_title(workspace: Any, service: Any) -> None:
    """Its commits are a 404: a note, and the run is complete."""
    api = workspace.add("api")
    api.commit("feature/x", "x", parents=[api.commit("main", "base")])
    opened(service, "feature/x", "RC-7")
    workspace.sandbox.set_fault("fork-gone", "1")
    run = workspace.scan()
    assert (run.status, [problem.kind for problem in run.problems]) == ("complete", ["note"])
    assert workspace.rows("SELECT title FROM pull_requests") == [("RC-7",)]


def test_full_scan_reads_all_pull_requests(workspace: Any, service: Any) -> None:
    """More than a page of them, with commits on several pages behind opaque tokens."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    api.set("feature/long", base)
    shas = api.history("feature/long", [1.0] * 120, message="work {}")
    numbers = {opened(service, "feature/long", f"RC-{n + 1}") for n in range(60)}
    run = workspace.scan(full=True, files="none")
    assert run.status == "complete"
    assert {number for (number,) in workspace.rows("SELECT id FROM pull_requests")} == numbers
    linked = workspace.rows(f"SELECT sha FROM commit_pull_requests WHERE pull_request = {min(numbers)}")
    assert {sha for (sha,) in linked} == set(shas)
