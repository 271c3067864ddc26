"""What scans ask of the service, counted where it is served: between sweeps little, and no more than was told beforehand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import CommitStorage, Ingestor, Plan

REPOSITORIES = 50


def plan_of(workspace: Any, **bitbucket: Any) -> Plan:
    """Return what a dry run tells."""
    with Ingestor(workspace.settings(**bitbucket)) as ingestor:
        return ingestor.plan("bitbucket")


@pytest.fixture
def fifty(workspace: Any) -> Any:
    """Return a workspace of 50 repositories with two branches each, which were scanned once."""
    first = workspace.add("repository-00")
    first.history("main", [3.0, 2.0, 1.0])
    first.commit("feature/RC-2", parents=[first.head("main")])
    for number in range(1, REPOSITORIES):
        shutil.copytree(first.path, workspace.repositories / f"repository-{number:02}.git")
    assert workspace.scan(files="none").status == "complete"
    assert workspace.scan().status == "complete"
    workspace.asked()
    return workspace


def test_quiet_workspace_of_fifty_costs_at_most_three_requests(fifty: Any) -> None:
    """Nothing moved: one page of the workspace's list tells so, and the dry run had told as much."""
    plan = plan_of(fifty)
    assert fifty.asked() == {"repositories": plan.requests}
    run = fifty.scan()
    cost = fifty.asked()
    assert (run.status, len(run.repositories), run.new, run.refreshed) == (
        "complete",
        REPOSITORIES,
        0,
        4 * REPOSITORIES,
    )
    assert cost.total() == run.requests == plan.requests
    assert cost.total() <= 3


def test_ten_new_commits_in_one_of_fifty_cost_at_most_twenty(fifty: Any) -> None:
    """Their files included; what the dry run could not know is one file list a commit, and nothing else."""
    shas = fifty.workspace_repository("repository-07").history("main", [0.5] * 10)
    plan = plan_of(fifty)
    fifty.asked()
    run = fifty.scan()
    cost = fifty.asked()
    assert (run.status, run.new) == ("complete", len(shas))
    assert cost == {"repositories": 1, "branches": 1, "commits": 1, "diffstat": len(shas), "pullrequests": 1}
    assert cost.total() == run.requests == plan.requests + len(shas)
    assert cost.total() <= 20
    named = [(entry.repository, entry.requests, entry.note) for entry in plan.entries if entry.requests]
    assert named == [("(all)", 1, "choosing the repositories"), ("acme/repository-07", 3, "changed")]


@pytest.mark.parametrize("further", [0, 5], ids=["main alone", "five old branches"])
def test_first_contact_with_a_long_history_costs_at_most_forty(workspace: Any, further: int) -> None:
    """A window of 4 hours with 10 commits in it, on 3,000: the list of commits ends a little behind the window's start."""
    api = workspace.add("api")
    old = api.history("main", [3000.0 - number for number in range(2990)])
    for number in range(further):
        api.set(f"release/{number}", old[-100 * (number + 1)])
    shas = api.history("main", [1.0] * 10)
    plan = plan_of(workspace)
    workspace.asked()
    run = workspace.scan(hours=4)
    cost = workspace.asked()
    assert (run.status, run.repositories[0].history) == ("complete", "bounded")
    assert set(shas) <= workspace.stored()
    assert cost["diffstat"] == len(shas)
    assert cost.total() == run.requests
    assert plan.requests <= cost.total() <= 40


def test_owed_files_are_in_the_plan(workspace: Any) -> None:
    """What a scan without files left owed is known beforehand, to the request."""
    workspace.add("api").history("main", [3.0] * 7)
    workspace.scan(files="none")
    workspace.asked()
    plan = plan_of(workspace)
    workspace.asked()
    run = workspace.scan()
    cost = workspace.asked()
    assert cost == {"repositories": 1, "diffstat": 7}
    assert cost.total() == run.requests == plan.requests
    assert plan.entries[1].note == "unchanged, 7 file lists owed"


def test_quota_that_a_dry_run_names_is_what_scans_left(workspace: Any) -> None:
    """Every request of every scan in the hour counts, repetitions included; a dry run writes nothing, and counts nothing."""
    workspace.add("api").history("main", [3.0] * 7)
    workspace.sandbox.set_fault("status@commits", "503:2")
    workspace.scan()
    workspace.scan()
    counted = workspace.asked().total()
    assert counted == 1 + 1 + 3 + 7 + 1 + 1
    assert [plan_of(workspace).quota_left for _ in range(2)] == [1000 - counted] * 2


@pytest.mark.parametrize(("headers", "left"), [("seconds", 29), ("absent", 999), ("scaled", 999)])
def test_quota_is_what_the_service_tells(workspace: Any, headers: str, left: int) -> None:
    """Others use the same credential up: the service knows better than the record, when it says so."""
    workspace.add("api").commit("main", "RC-1")
    workspace.sandbox.set_fault("rate-limit", "30")
    workspace.sandbox.set_fault("rate-headers", headers)
    with CommitStorage(workspace.folder / "commits.db") as store:
        store.spend(f"{workspace.sandbox.url} bot@acme.example", 1000)
    assert plan_of(workspace).quota_left == left


@pytest.mark.parametrize(("owed", "hours"), [(9, 0), (10, 1), (29, 1), (30, 2)])
def test_estimate_waits_for_the_quota(workspace: Any, owed: int, hours: int) -> None:
    """What is left of the hour's requests takes seconds; those beyond wait for an hour, for each hour's worth of them."""
    workspace.add("api").history("main", [3.0] * owed)
    workspace.scan(files="none")
    with CommitStorage(workspace.folder / "commits.db") as store, store._connection.writing() as db:
        db.execute("UPDATE budgets SET requests = iif(minute = (SELECT max(minute) FROM budgets), 10, 0)")
    plan = plan_of(workspace, requests_per_hour=20)
    assert (plan.requests, plan.quota_left) == (1 + owed, 10)
    assert hours * 60 < (plan.minutes or 0) < hours * 60 + 1


@pytest.mark.parametrize(("days", "cost"), [(-0.5, 1), (-2, 3), (2, 3)], ids=["today", "two days ago", "yet to come"])
def test_sweep_looks_at_everything_once_a_day(workspace: Any, days: float, cost: int) -> None:
    """Once a day, and also when the last one was noted by a clock that has been set back since."""
    workspace.add("api").commit("main", "RC-1")
    workspace.scan()
    workspace.asked()
    moment = datetime.now(UTC) + timedelta(days=days)
    with CommitStorage(workspace.folder / "commits.db") as store, store._connection.writing() as db:
        db.execute("UPDATE repositories SET swept_at = ?", (f"{moment:%Y-%m-%dT%H:%M:%SZ}",))
    plan = plan_of(workspace)
    workspace.asked()
    assert workspace.scan().requests == workspace.asked().total() == plan.requests == cost


def test_budget_minds_no_clock_that_was_ahead(workspace: Any) -> None:
    """What was counted for tomorrow, before the clock was set back, keeps nobody waiting."""
    workspace.add("api").commit("main", "RC-1")
    first = workspace.scan(bitbucket={"requests_per_hour": 20}).requests
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with CommitStorage(workspace.folder / "commits.db") as store, store._connection.writing() as db:
        sql = "UPDATE budgets SET minute = ?, requests = 20"
        db.execute(sql, (f"{tomorrow:%Y-%m-%dT%H:%M:00Z}",))
    assert first < 20
    assert workspace.scan(bitbucket={"requests_per_hour": 20}).status == "complete"


def test_processes_keep_to_one_budget(workspace: Any) -> None:
    """Four scans at once ask as often as the budget allows, all together, and not once more; each says when to go on."""
    slugs = ["api", "web", "tools", "docs"]
    for slug in slugs:
        workspace.add(slug).history("main", [3.0] * 20, message=f"{slug} {{}}")
    section = {**workspace.settings().raw("bitbucket"), "requests_per_hour": 40}
    settings = {"bitbucket": section, "database": "commits.db", "artifacts": "artifacts", "logs": "logs"}
    (workspace.folder / "settings.json").write_text(json.dumps(settings))
    command = [
        Path(sys.executable).parent / "rc",
        "ingest",
        "bitbucket-scan",
        "--config",
        "settings.json",
        "--files",
        "api",
    ]
    scans = [
        subprocess.Popen([*command, "--repos", slug], cwd=workspace.folder, stderr=subprocess.PIPE, text=True)
        for slug in slugs
    ]
    told = [scan.communicate(timeout=60)[1] for scan in scans]
    assert workspace.asked().total() == 40
    assert 3 in {scan.returncode for scan in scans} <= {0, 1, 3}
    late = [text for scan, text in zip(scans, told, strict=True) if scan.returncode]
    assert all("the budget of bitbucket.requests_per_hour is used up; scan again after" in text for text in late)
