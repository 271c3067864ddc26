"""`git push` from a work clone, delivered over HTTP to `rc serve`, repaired: git and scans are the oracles."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pushing import AUTH, CONTENT, Developer, content, pull_requests, scan, story, subscribe

from releasecopilot_core import Ingestor

both = pytest.mark.parametrize("framework", ["fastapi", "flask"])


def hold_to_git(workspace: Any, ann: Developer) -> None:
    """Assert that the database says what `git rev-list` and `git diff-tree` say."""
    served = ann.served
    live = dict(workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL"))
    assert live == served.branches()
    reachable = set(served.git("rev-list", "--branches").split())
    stored = workspace.stored()
    assert reachable <= stored
    assert stored == ann.pushed
    parents = {sha: [] for sha in stored}
    for sha, parent in workspace.rows("SELECT sha, parent FROM commit_parents ORDER BY sha, position"):
        parents[sha].append(parent)
    lines = served.git("rev-list", "--no-walk", "--parents", *sorted(stored)).splitlines()
    assert parents == {sha: rest for sha, *rest in map(str.split, lines)}
    for sha in stored:
        assert workspace.files(sha) == served.files(sha), sha


# --- the tests -----------------------------------------------------------------------------------------------


def configure(place: Any, workspace: Any, file: str, **bitbucket: Any) -> None:
    credentials = {"username": AUTH[0], "api_token": "${SANDBOX_TOKEN}"}
    section = {"api_url": workspace.sandbox.url, "default_branches": ["*"], "retry_seconds": 5, "sweep_hours": 0}
    place.configure(
        {"credentials": credentials, **section, **bitbucket},
        database=str(workspace.folder / "commits.db"),
        webhooks={"body_limit": 1 << 20},
    )
    shutil.copy(place.folder / "config" / "settings.yaml", place.folder / file)


@pytest.fixture
def serve(place: Any, workspace: Any) -> Callable[..., Any]:
    """Return a function that starts a server which takes what the sandbox delivers."""

    def serve(framework: str, *, repairs: bool) -> Any:
        configure(place, workspace, "serving.yaml", **({} if repairs else {"credentials": {}}))
        server = place.serve("--with", framework, "--workers", "2", "--config", "serving.yaml")
        assert ("repaired in the background" in server.first_line) is repairs
        configure(place, workspace, "scanning.yaml")
        subscribe(workspace, server.url + server.path)
        return server

    return serve


def hold_deliveries(workspace: Any) -> None:
    """Assert that all that was sent was answered 202 at the first attempt, and is in the database once."""
    sent = workspace.sandbox.deliveries
    assert [[attempt.status for attempt in delivery.attempts] for delivery in sent] == [[202]] * len(sent)
    rows = workspace.rows("SELECT event, body FROM deliveries WHERE status <> 'failed'")
    assert sorted(rows) == sorted((delivery.event, delivery.body) for delivery in sent)
    bodies = [json.loads(delivery.body) for delivery in sent]
    changes = [change for body in bodies if "push" in body for change in body["push"]["changes"]]
    assert sum(change["truncated"] for change in changes) >= 5
    assert all(any(change[flag] for change in changes) for flag in ("forced", "created", "closed"))
    assert ("ignored",) in workspace.rows("SELECT status FROM deliveries")


@both
def test_repair_after_each_push_is_as_good_as_a_scan_after_each(
    workspace: Any, serve: Callable[..., Any], tmp_path: Path, framework: str
) -> None:
    """Truncated, forced, created, deleted, renamed, tags, pull requests: not a row differs, and git says the same."""
    ann = Developer(workspace, tmp_path / "ann")
    told, scanned = workspace.folder / "commits.db", tmp_path / "scanned.db"
    steps = itertools.chain(story(ann), pull_requests(ann))
    next(steps)
    for file in (None, scanned):
        scan(workspace, file)
    server = serve(framework, repairs=False)
    for number, _ in enumerate(steps):
        scan(workspace, scanned)
        with Ingestor(workspace.settings()) as ingestor:
            run = ingestor.repair("bitbucket")
        assert (run.kind, run.status) == ("repair", "complete")
        assert content(told) == content(scanned), number
    hold_deliveries(workspace)
    hold_to_git(workspace, ann)
    assert server.stop() == 0


@both
@pytest.mark.parametrize("repairs", [False, True], ids=["one repair at the end", "repaired in the background"])
def test_pushes_end_in_git_s_history(
    place: Any, workspace: Any, serve: Callable[..., Any], tmp_path: Path, framework: str, repairs: bool
) -> None:
    """All that a late scan finds is there, and what only the events saw; a scan after each push has that as well."""
    ann = Developer(workspace, tmp_path / "ann")
    steps = itertools.chain(story(ann), pull_requests(ann))
    next(steps)
    often, late = tmp_path / "often.db", tmp_path / "late.db"
    for file in (None, often):
        scan(workspace, file)
    begun = workspace.rows("SELECT branch, sha FROM heads")
    server = serve(framework, repairs=repairs)
    for _ in steps:
        scan(workspace, often)
    hold_deliveries(workspace)
    if repairs:
        wait_for_repairs(workspace)
    else:
        assert workspace.stored() < ann.pushed
        assert workspace.rows("SELECT branch, sha FROM heads") == begun
        done = place.rc("ingest", "bitbucket-repair", "--quiet", "--config", "scanning.yaml")
        assert (done.returncode, done.stderr) == (0, "")
    assert server.stop() == 0
    hold_to_git(workspace, ann)
    scan(workspace, late)
    told, least, most = (content(file) for file in (workspace.folder / "commits.db", late, often))
    assert told["unfinished"] == set()
    # Of branches that share commits the one that is walked first gets them: any that had them will do.
    most["branches"] = ann.reached
    for name in CONTENT:
        assert told[name] >= least[name], name
        assert told[name] <= most[name], name
    only_told = {sha for sha, *_ in told["commits"] - least["commits"]}
    assert only_told == ann.pushed - set(ann.served.git("rev-list", "--branches").split())
    scan(workspace)
    assert content(workspace.folder / "commits.db") == told


def wait_for_repairs(workspace: Any) -> None:
    deadline = time.monotonic() + 60
    running = "SELECT 1 FROM runs WHERE status = 'running'"
    while content(workspace.folder / "commits.db")["unfinished"] or workspace.rows(running):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert workspace.rows("SELECT 1 FROM runs WHERE kind = 'repair' AND status = 'complete'")
