"""From `git push` to the record: the sandbox delivers, a real server stores, a repair fetches the rest, git is the oracle."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from receiving import SECRET, receiving, subscribe
from releasecopilot_bitbucket.webhooks import signature_of
from workspaces import Workspace

from releasecopilot_core import Ingestor

AUTH = ("bot@acme.example", "s3cret-token")


@pytest.fixture
def hooked(workspace: Any) -> Iterator[Any]:
    """Return a workspace whose pushes are delivered to a server that does not repair by itself."""
    with receiving(workspace) as url:
        subscribe(workspace, url)
        yield workspace


@pytest.fixture
def api(hooked: Any) -> Any:
    """Return a repository that was scanned once."""
    api = hooked.add("api")
    api.commit("main", "base")
    # Delivered after the scan, it would be stale again.
    hooked.sandbox.flush()
    hooked.scan()
    return api


def delivered(workspace: Any) -> list[tuple[str, str]]:
    """Wait for all deliveries; returns event and status as stored, oldest first."""
    workspace.sandbox.flush(20)
    return workspace.rows("SELECT event, status FROM deliveries ORDER BY id")


def repair(workspace: Any) -> Any:
    with Ingestor(workspace.settings()) as ingestor:
        return ingestor.repair("bitbucket")


def asked(workspace: Any) -> list[str]:
    found = [served.kind for served in workspace.sandbox.requests]
    workspace.sandbox.clear_requests()
    return found


def keys(workspace: Any) -> set[tuple[str, str, str]]:
    return set(workspace.rows("SELECT sha, story_key, origin FROM commit_story_keys"))


def stale(workspace: Any) -> set[str]:
    return {branch for (branch,) in workspace.rows("SELECT branch FROM stale_branches")}


def heads(workspace: Any) -> dict[str, str]:
    return dict(workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL"))


def tables(workspace: Any) -> dict[str, list[Any]]:
    """Return all rows of all tables, but for the times at which something was seen again, and their count."""
    names = workspace.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    found = {}
    for (name,) in names:
        columns = [column for _, column, *_ in workspace.rows(f"PRAGMA table_info({name})")]
        kept = [column for column in columns if column not in ("last_seen_at", "last_received_at", "times")]
        found[name] = sorted(workspace.rows(f"SELECT {', '.join(kept)} FROM {name}"), key=repr)
    return found


def test_push_is_stored_at_once_and_completed_by_a_repair(hooked: Any, api: Any) -> None:
    """The body's commits and keys are there without a request; the repair moves the head and brings the files."""
    before = heads(hooked)
    asked(hooked)
    shas = [api.commit("feature/RC-9", "work", parents=[before["main"]])]
    shas.append(api.commit("feature/RC-9", "MOB-2 more"))
    assert {status for _, status in delivered(hooked)} == {"stored"}
    assert set(shas) <= hooked.stored()
    assert {(shas[0], "RC-9", "branch"), (shas[1], "RC-9", "branch"), (shas[1], "MOB-2", "message")} == keys(hooked)
    assert (heads(hooked), stale(hooked)) == (before, {"feature/RC-9"})
    assert "commits" not in asked(hooked)
    run = repair(hooked)
    assert (run.kind, run.status, stale(hooked)) == ("repair", "complete", set())
    assert heads(hooked) == {**before, "feature/RC-9": shas[-1]}
    assert all(hooked.files(sha) == api.files(sha) for sha in shas)
    document = json.loads(Path(run.artifact).read_text(encoding="utf-8"))
    assert (document["kind"], {entry["hash"] for entry in document["payload"]}) == ("repair", set(shas))
    assert repair(hooked).requests == 0


def test_body_carries_five_commits_and_the_repair_the_rest(hooked: Any, api: Any) -> None:
    """`truncated` pushes are announced; a scan afterwards finds nothing new."""
    shas = api.history("main", [1.0] * 12, message="RC-3 {}")
    delivered(hooked)
    assert len(hooked.stored() & set(shas)) == 5
    assert repair(hooked).status == "complete"
    assert hooked.stored() >= set(shas)
    run = hooked.scan()
    assert (run.status, run.new, heads(hooked)) == ("complete", 0, api.branches())


def test_created_branch_shows_old_history_that_stays_main_s(hooked: Any, api: Any) -> None:
    """The tip's ancestry comes along; only what is above known history is the branch's own."""
    api.history("main", [3.0, 2.5, 2.0])
    hooked.scan()
    own = api.commit("feature/RC-9", "work", parents=[api.head("main")])
    delivered(hooked)
    assert keys(hooked) >= {(own, "RC-9", "branch")}
    assert {sha for sha, key, _ in keys(hooked) if key == "RC-9"} == {own}
    assert hooked.rows("SELECT sha FROM commit_branches WHERE branch = 'feature/RC-9'") == [(own,)]


@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder"])
def test_lost_doubled_and_reordered_deliveries_end_in_the_same_record(hooked: Any, api: Any, fault: str) -> None:
    """Scans are the source of truth; webhooks are hints."""
    hooked.sandbox.set_fault(fault, "2")
    for number in range(3):
        api.commit("main", f"RC-{number + 1} work")
        api.commit(f"feature/MOB-{number + 1}", "work", parents=[api.head("main")])
        hooked.sandbox.flush(20)
    repair(hooked)
    run = hooked.scan()
    assert (run.status, stale(hooked)) == ("complete", set())
    reachable = set(api.reachable(*api.branches().values()))
    assert (hooked.stored(), heads(hooked)) == (reachable, api.branches())
    assert all(hooked.files(sha) == api.files(sha) for sha in reachable)
    arrived = {delivery.outcome for delivery in hooked.sandbox.deliveries}
    assert fault != "drop" or "dropped" in arrived
    times = [times for (times,) in hooked.rows("SELECT times FROM deliveries")]
    assert max(times) == (2 if fault == "duplicate" else 1)


def test_branch_that_is_gone_before_the_repair_keeps_its_commits(hooked: Any, api: Any) -> None:
    """What the service still has is fetched; the branch is known to be deleted."""
    api.set("feature/RC-9", api.head("main"))
    shas = api.history("feature/RC-9", [1.0] * 8, message="work {}")
    delivered(hooked)
    api.delete("feature/RC-9")
    delivered(hooked)
    run = repair(hooked)
    assert (run.status, stale(hooked)) == ("complete", set())
    assert set(shas) <= hooked.stored()
    assert "feature/RC-9" not in heads(hooked)
    assert {sha for sha, key, _ in keys(hooked) if key == "RC-9"} == set(shas)


def test_branch_whose_commits_are_gone_too_is_told(hooked: Any, api: Any) -> None:
    """What was garbage-collected before it was fetched is named in a note; what the body carried stays."""
    api.set("feature/RC-9", api.head("main"))
    shas = api.history("feature/RC-9", [1.0] * 8, message="work {}")
    delivered(hooked)
    api.delete("feature/RC-9")
    delivered(hooked)
    api.collect_garbage()
    run = repair(hooked)
    assert (run.status, stale(hooked)) == ("complete", set())
    assert "was deleted before all that was pushed to it could be fetched" in run.problems[0].message
    assert len(hooked.stored() & set(shas)) == 5


@pytest.mark.parametrize(("fault", "kind"), [("bad-json", "bad-answer"), ("missing", "not-found")])
def test_branch_that_is_gone_is_asked_for_again_after_a_fault(hooked: Any, api: Any, fault: str, kind: str) -> None:
    """A garbled answer, or lost access, is no proof that its commits are gone: it stays announced, the run is partial."""
    api.set("feature/RC-9", api.head("main"))
    shas = api.history("feature/RC-9", [1.0] * 8, message="work {}")
    delivered(hooked)
    api.delete("feature/RC-9")
    delivered(hooked)
    hooked.sandbox.set_fault(f"{fault}@commits", "1000" if fault == "bad-json" else "1")
    with Ingestor(hooked.settings(retry_seconds=0.3)) as ingestor:
        run = ingestor.repair("bitbucket")
    assert (run.status, [problem.kind for problem in run.problems]) == ("partial", [kind])
    assert stale(hooked) == {"feature/RC-9"}
    hooked.sandbox.clear_faults()
    run = repair(hooked)
    assert (run.status, stale(hooked)) == ("complete", set())
    assert set(shas) <= hooked.stored()


def test_pull_request_events_give_titles_and_commits(hooked: Any, api: Any) -> None:
    """Created, updated and merged: titles count at once, commits come by the repair."""
    api.set("feature/x", api.head("main"))
    shas = api.history("feature/x", [1.0] * 7, message="work {}")
    delivered(hooked)
    address = f"{hooked.sandbox.url}/repositories/acme/api/pullrequests"
    body = {"title": "RC-7 Taxes", "source": {"branch": {"name": "feature/x"}}}
    number = httpx.post(address, json=body, auth=AUTH).json()["id"]
    delivered(hooked)
    assert keys(hooked) == {(shas[-1], "RC-7", "pr_title")}
    repair(hooked)
    assert keys(hooked) == {(sha, "RC-7", "pr_title") for sha in shas}
    httpx.put(f"{address}/{number}", json={"title": "RC-8 Taxes"}, auth=AUTH)
    delivered(hooked)
    assert keys(hooked) == {(sha, key, "pr_title") for sha in shas for key in ("RC-7", "RC-8")}
    httpx.post(f"{address}/{number}/merge", json={}, auth=AUTH)
    delivered(hooked)
    assert hooked.rows("SELECT state FROM pull_requests") == [("MERGED",)]
    run = repair(hooked)
    assert (run.status, heads(hooked)["main"]) == ("complete", api.head("main"))
    assert hooked.rows("SELECT merge_commit FROM pull_requests") == [(api.head("main"),)]


def test_webhooks_and_scans_end_in_the_same_tables(make_workspace: Callable[[], Workspace]) -> None:
    """After repairs, what webhooks brought is what a scan of the same history brings, but for how it was seen."""
    told, scanned = make_workspace(), make_workspace()
    with receiving(told) as url:
        subscribe(told, url)
        for workspace in (told, scanned):
            api = workspace.add("api")
            api.commit("main", "RC-1 base", hours_ago=3)
        told.scan()
        for workspace in (told, scanned):
            api = workspace.workspace_repository("api")
            base = api.head("main")
            for n in range(7):
                api.commit("feature/RC-9", f"work {n}", parents=[base] if n == 0 else None, hours_ago=2.5 - n / 10)
            api.commit("main", "MOB-3 other", hours_ago=1)
            api.commit("main", "merge", parents=[api.head("main"), api.head("feature/RC-9")], hours_ago=0.5)
            workspace.sandbox.flush(20)
        repair(told)
    for workspace in (told, scanned):
        assert workspace.scan().status == "complete"
    for sql in (
        "SELECT sha, author, date, message, files_status FROM commits ORDER BY sha",
        "SELECT * FROM commit_parents ORDER BY sha, position",
        "SELECT * FROM commit_files ORDER BY sha, path",
        "SELECT branch, sha FROM heads ORDER BY branch",
        "SELECT sha, story_key, origin FROM commit_story_keys WHERE origin <> 'branch' ORDER BY sha, story_key",
    ):
        assert told.rows(sql) == scanned.rows(sql)
    # A scan after the merge can no longer tell whose commits they were; the events saw it.
    assert keys(told) >= keys(scanned)


def test_duplicate_changes_nothing_but_seen_at_times(hooked: Any, api: Any) -> None:
    """Every delivery comes again after a title, a repository's name and branches have changed: all tables stay."""
    api.set("feature/x", api.head("main"))
    api.commit("feature/x", "one")
    delivered(hooked)
    address = f"{hooked.sandbox.url}/repositories/acme/api/pullrequests"
    body = {"title": "RC-7 Taxes", "source": {"branch": {"name": "feature/x"}}}
    number = httpx.post(address, json=body, auth=AUTH).json()["id"]
    delivered(hooked)
    repair(hooked)
    httpx.put(f"{address}/{number}", json={"title": "RC-8 Taxes"}, auth=AUTH)
    later = api.commit("feature/x", "two")
    delivered(hooked)
    shutil.move(hooked.repositories / "api.git", hooked.repositories / "core.git")
    assert hooked.scan().status == "complete"
    assert (later, "RC-7", "pr_title") not in keys(hooked)
    before = tables(hooked)
    kept = hooked.rows("SELECT headers, body FROM deliveries ORDER BY id")
    with receiving(hooked) as url:
        for headers, raw in kept:
            proof = {"X-Hub-Signature": signature_of(raw, SECRET)}
            answer = httpx.post(url, content=raw, headers={**json.loads(headers), **proof})
            assert answer.json()["status"] == "duplicate"
    assert tables(hooked) == before
    assert {times for (times,) in hooked.rows("SELECT times FROM deliveries")} == {2}


def test_background_repair_begins_within_seconds(workspace: Any) -> None:
    """With credentials the serving process fetches what a delivery lacks, and leaves the artifact of a repair."""
    api = workspace.add("api")
    api.commit("main", "base")
    workspace.scan()
    with receiving(workspace, repair=True) as url:
        subscribe(workspace, url)
        shas = api.history("main", [1.0] * 8)
        delivered(workspace)
        begun = time.monotonic()
        while heads(workspace)["main"] != shas[-1]:
            assert time.monotonic() - begun < 30
            time.sleep(0.1)
    assert set(shas) <= workspace.stored()
    assert workspace.rows("SELECT kind FROM runs WHERE kind = 'repair'")


def test_push_too_large_to_be_delivered_is_found_by_the_scan(hooked: Any, api: Any) -> None:
    """Bodies above 256 KB never arrive."""
    sha = api.commit("main", "RC-5 " + "x" * 300_000)
    assert delivered(hooked) == []
    assert hooked.scan().new == 1
    assert (sha, "RC-5", "message") in keys(hooked)


def renamed(workspace: Any, old: str, new: str) -> None:
    shutil.move(workspace.repositories / f"{old}.git", workspace.repositories / f"{new}.git")


def test_late_delivery_does_not_take_a_name_back(hooked: Any, api: Any) -> None:
    """What was pushed before a rename is stored under the name that a scan has found since."""
    hooked.sandbox.set_fault("reorder", "1")
    late = api.commit("feature/x", "RC-1 before", parents=[api.head("main")])
    while not hooked.sandbox.deliveries:
        time.sleep(0.05)
    renamed(hooked, "api", "core")
    assert hooked.scan().status == "complete"
    assert hooked.rows("SELECT full_name FROM repositories") == [("acme/core",)]
    assert delivered(hooked) == [("repo:push", "stored")]
    assert hooked.rows("SELECT full_name FROM repositories") == [("acme/core",)]
    assert hooked.rows(f"SELECT via FROM commit_branches WHERE sha = '{late}' AND via = 'webhook'")


def test_repair_learns_name_and_main_branch(hooked: Any) -> None:
    """Of a repository that was never scanned: main is walked first, though another branch was told first."""
    web = hooked.add("web")
    hooked.sandbox.flush()
    web.history("main", [3.0] * 8)
    web.commit("a-branch", "work", parents=[web.head("main")])
    delivered(hooked)
    renamed(hooked, "web", "shop")
    assert repair(hooked).status == "complete"
    assert hooked.rows("SELECT full_name, main_branch FROM repositories") == [("acme/shop", "main")]
    own = hooked.rows("SELECT DISTINCT branch, count(*) FROM commit_branches WHERE via = 'scan' GROUP BY branch")
    assert dict(own) == {"main": 8, "a-branch": 1}
