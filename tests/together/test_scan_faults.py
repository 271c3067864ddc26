"""Scans of a service that fails, refuses, limits, forgets or leads astray."""

from __future__ import annotations

from typing import Any

import pytest
from workspaces import document

from releasecopilot_core import CommitStorage


def test_failed_repository_does_not_stop_the_others(workspace: Any) -> None:
    """One that is out of reach is reported by name with what to do; the rest is complete."""
    for slug in ("api", "locked", "web"):
        workspace.add(slug).commit("main", "RC-1")
    workspace.sandbox.set_fault("forbidden@branches:locked", "1")
    run = workspace.scan()
    assert (run.status, run.new) == ("partial", 2)
    assert {r.name: r.status for r in run.repositories} == {
        "acme/api": "complete", "acme/locked": "failed", "acme/web": "complete",
    }  # fmt: skip
    assert "needed scope: read:repository:bitbucket" in run.problems[0].message
    workspace.sandbox.clear_faults()
    assert (workspace.scan().status, len(workspace.rows("SELECT * FROM commit_branches"))) == ("complete", 3)


def test_files_that_fail_are_owed_and_fetched_next_time(workspace: Any) -> None:
    """A file list that cannot be had now makes the run partial, and costs nothing twice."""
    api = workspace.add("api")
    shas = api.history("main", [2.0, 1.5, 1.0])
    workspace.sandbox.set_fault("status@diffstat", "403")
    run = workspace.scan()
    assert (run.status, run.repositories[0].files_owed) == ("partial", 3)
    workspace.sandbox.clear_faults()
    workspace.asked()
    run = workspace.scan()
    assert workspace.asked()["diffstat"] == 3
    assert (run.status, run.repositories[0].files_owed) == ("complete", 0)
    for sha in shas:
        assert workspace.files(sha) == api.files(sha)


def test_unobtainable_files_are_told_once_and_asked_by_full_only(workspace: Any) -> None:
    """A diff that the service cannot compute leaves the run complete, with a problem that names it."""
    sha = workspace.add("api").commit("main", "huge")
    workspace.sandbox.set_fault("diffstat-555", "*")
    run = workspace.scan()
    assert (run.status, [problem.kind for problem in run.problems]) == ("complete", ["unobtainable"])
    assert document(run)["payload"][0]["files_status"] == "unobtainable"
    workspace.asked()
    workspace.scan()
    assert "diffstat" not in workspace.asked()
    workspace.sandbox.clear_faults()
    workspace.scan(full=True)
    assert workspace.rows(f"SELECT files_status FROM commits WHERE sha = '{sha}'") == [("known",)]


def test_files_none_asks_for_no_files_and_is_complete(workspace: Any) -> None:
    """Leaving files out is not a fault."""
    workspace.add("api").commit("main", "x")
    run = workspace.scan(files="none")
    assert run.status == "complete"
    assert "diffstat" not in workspace.asked()


@pytest.mark.parametrize(
    "fault",
    [("status", "503:2"), ("reset", "2"), ("truncate", "2"), ("bad-json", "2"), ("slow", "0.02"), ("rate-limit", "20")],
)
def test_passing_faults_cost_time_and_nothing_else(workspace: Any, fault: tuple[str, str]) -> None:
    """5xx, resets, cut-off and garbled bodies, and a rate limit that eases are waited out."""
    api = workspace.add("api")
    shas = api.history("main", [2.0, 1.5, 1.0])
    workspace.sandbox.set_fault("rate-window", "0.3")
    workspace.sandbox.set_fault(*fault)
    run = workspace.scan()
    assert (run.status, workspace.stored()) == ("complete", set(shas))


@pytest.mark.parametrize("retry_after", ["absent", "seconds:3600", "date:3600"])
def test_exhausted_quota_ends_partial_and_resumable(workspace: Any, retry_after: str) -> None:
    """When the quota is used up the run says so, stops asking, and the next one goes on."""
    api = workspace.add("api")
    shas = api.history("main", [float(n) for n in range(20, 0, -1)])
    workspace.sandbox.set_fault("rate-limit", "4")
    workspace.sandbox.set_fault("retry-after", retry_after)
    run = workspace.scan(bitbucket={"retry_seconds": 0.5})
    assert run.status == "partial"
    assert any("quota is used up" in problem.message for problem in run.problems)
    workspace.sandbox.clear_faults()
    assert workspace.scan().status == "complete"
    assert workspace.stored() == set(shas)


def test_cut_off_walk_costs_only_its_rest(workspace: Any) -> None:
    """The next run goes on from the last page that was stored, before anything newer."""
    api = workspace.add("api")
    shas = api.history("main", [1.0] * 900)
    workspace.sandbox.set_fault("rate-limit@commits", "4")
    first = workspace.scan(full=True, files="none", bitbucket={"retry_seconds": 0.3})
    assert (first.status, workspace.stored()) == ("partial", set(shas[-400:]))
    newer = api.commit("main", "newer")
    workspace.sandbox.clear_faults()
    workspace.asked()
    second = workspace.scan(full=True, files="none")
    assert (second.status, second.new, workspace.stored()) == ("complete", 501, {*shas, newer})
    assert workspace.asked()["commits"] == 5 + 1


def test_own_budget_ends_a_run_before_the_service_refuses(workspace: Any) -> None:
    """The budget is kept across runs; the message says when to go on, and nothing more is sent."""
    api = workspace.add("api")
    shas = api.history("main", [float(n) for n in range(20, 0, -1)])
    first = workspace.scan(bitbucket={"requests_per_hour": 5})
    assert (first.status, first.requests) == ("partial", 5)
    assert any("scan again after 20" in problem.message for problem in first.problems)
    workspace.asked()
    second = workspace.scan(bitbucket={"requests_per_hour": 5})
    assert (second.status, second.requests, workspace.asked()) == ("failed", 0, {})
    assert workspace.scan().status == "complete"
    assert workspace.stored() == set(shas)


def test_repository_that_another_scan_holds_is_left_alone(workspace: Any) -> None:
    """Two scans at once do not double the work: the second says so, and the next one looks again."""
    api = workspace.add("api")
    api.commit("main", "base")
    workspace.scan()
    api.commit("main", "more")
    (uuid,) = (uuid for (uuid,) in workspace.rows("SELECT uuid FROM repositories"))
    with CommitStorage(workspace.folder / "commits.db") as other:
        assert other.lease(f"scan of {uuid}", "another", 60)
        workspace.asked()
        run = workspace.scan()
        assert (run.status, run.problems[0].kind) == ("partial", "busy")
        assert workspace.asked() == {"repositories": 1}
        other.release(f"scan of {uuid}", "another")
    run = workspace.scan()
    assert (run.status, run.new) == ("complete", 1)
    assert workspace.rows("SELECT * FROM leases") == []


def test_wrong_credential_is_a_failed_run(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be asked: failed, in one line, without the secret anywhere."""
    workspace.add("api").commit("main", "x")
    monkeypatch.setenv("SANDBOX_TOKEN", "wr0ng-token")
    run = workspace.scan()
    assert (run.status, run.problems[0].kind) == ("failed", "authentication")
    everything = b"".join(path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file())
    assert b"wr0ng-token" not in everything


def test_vanishing_shas_are_left_out_and_asked_again(workspace: Any) -> None:
    """An old head that the service no longer knows costs one more request, and no commit."""
    api = workspace.add("api")
    shas = api.history("main", [3.0, 2.0])
    workspace.scan()
    new = api.commit("main", "more")
    workspace.sandbox.set_fault("vanished@commits", shas[-1])
    run = workspace.scan()
    assert (run.status, workspace.stored()) == ("complete", {*shas, new})


def test_listing_that_expires_goes_on_from_its_boundary(workspace: Any) -> None:
    """A cursor that the service forgets is replaced; every commit arrives once."""
    api = workspace.add("api")
    shas = api.history("main", [1.0] * 350)
    workspace.sandbox.set_fault("ctx-expiry", "1")
    run = workspace.scan(files="none")
    assert (run.status, workspace.stored(), run.new) == ("complete", set(shas), 350)


@pytest.mark.parametrize("fault", ["next-loop", "foreign-next"])
def test_next_that_leads_astray_is_not_followed(workspace: Any, fault: str) -> None:
    """A circle, or another host, ends the branch with a clear line; no credential is sent anywhere else."""
    workspace.add("api").history("main", [1.0] * 250)
    workspace.sandbox.set_fault(fault, "1" if fault == "next-loop" else "http://127.0.0.1:9/2.0")
    run = workspace.scan(files="none")
    assert run.status == "partial"
    assert any("circle" in p.message or "points outside" in p.message for p in run.problems)
