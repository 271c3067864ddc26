"""Scans that are killed, and scans that run at once: the record ends equal to git's, whatever happened on the way."""

from __future__ import annotations

import contextlib
import ctypes
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

#: The window of these scans; history behind it is listed, too, and its files are not fetched.
HOURS = 48


def grow(api: Any, dice: random.Random) -> None:
    """Write some 260 commits: two lines of more than a page, merges, a feature, dates in no order."""

    def dates(count: int, recent: int) -> list[float]:
        old = [dice.uniform(HOURS + 1, 2_000) for _ in range(count - recent)]
        return old + [dice.uniform(0.1, HOURS - 1) for _ in range(recent)]

    main = api.history("main", dates(130, 20), message="RC-1 main {}")
    api.set("release/1", dice.choice(main[20:60]))
    api.history("release/1", dates(110, 15), message="RC-2 release {}")
    api.commit("feature/RC-9", "start", parents=[dice.choice(main[60:])], hours_ago=dice.uniform(0.1, 2_000))
    for _ in range(12):
        branch, other = dice.sample(["main", "release/1", "feature/RC-9"], 2)
        merged = [api.head(branch), api.head(other)] if dice.random() < 0.4 else None
        api.commit(branch, parents=merged, hours_ago=dice.uniform(0.1, HOURS - 1))


def assert_equal_to_git(workspace: Any, api: Any) -> None:
    """Compare commits, parents, heads and files with what git says."""
    expected = {}
    for line in api.git("rev-list", "--parents", "--all").splitlines():
        sha, *parents = line.split()
        expected[sha] = parents
    stored: dict[str, list[str]] = {sha: [] for sha in workspace.stored()}
    for sha, parent in workspace.rows("SELECT sha, parent FROM commit_parents ORDER BY sha, position"):
        stored[sha].append(parent)
    assert stored == expected
    assert dict(workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL")) == api.branches()
    assert workspace.rows("SELECT * FROM walks") == []
    known = {sha for (sha,) in workspace.rows("SELECT sha FROM commits WHERE files_status = 'known'")}
    assert len(known) >= 40
    for sha in known:
        assert workspace.files(sha) == api.files(sha)
    assert workspace.rows("SELECT DISTINCT files_status FROM commits WHERE files_status <> 'known'") == [("skipped",)]


def kill_after(workspace: Any, answers: int, start: Callable[[], Any], wait_for: Any) -> None:
    """Start a scan, and kill its process when the service has given so many answers."""
    started, count = threading.Event(), iter(range(1, 10_000))

    def answered(_: Any) -> None:
        if next(count) == answers:
            started.wait()
            process.kill()

    workspace.sandbox.on_request(answered)
    process = start()
    started.set()
    assert wait_for(process).code == -signal.SIGKILL
    # What it had sent by then is still answered, and counted.
    deadline = time.monotonic() + 20
    while workspace.sandbox.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workspace.sandbox.on_request(None)


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), answers=st.integers(1, 8) | st.integers(9, 45))
def test_killed_scan_loses_nothing(make_workspace: Any, shell_for: Any, wait_for: Any, seed: int, answers: int) -> None:
    """SIGKILL after any answer of the service, then a second run: all is there, and the dead run is told as such."""
    workspace = make_workspace()
    api = workspace.add("api")
    grow(api, random.Random(seed))
    shell = shell_for(workspace)
    kill_after(workspace, answers, lambda: shell.start("ingest", "bitbucket-scan", "--hours", str(HOURS)), wait_for)
    (run_id,) = [run_id for (run_id,) in workspace.rows("SELECT run_id FROM runs WHERE status = 'running'")]
    # As it lies there when a process dies while it writes the artifact.
    partial = shell.folder / "artifacts" / f".{run_id}.json.part"
    partial.write_text('{"run_id": "')
    api.commit("main", "RC-3 pushed in between")
    done = shell.scan("--hours", str(HOURS))
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert_equal_to_git(workspace, api)
    assert workspace.rows("SELECT status FROM runs ORDER BY rowid") == [("abandoned",), ("complete",)]
    assert not partial.exists()
    assert [document["status"] for document in shell.documents()] == ["complete"]


@pytest.mark.parametrize("answers", [4, 130], ids=["in the listing", "in the file lists"])
def test_resumed_scan_costs_less_than_a_new_one(shell: Any, workspace: Any, wait_for: Any, answers: int) -> None:
    """What was stored before SIGKILL is not asked for again, neither pages nor file lists."""
    workspace.add("api").history("main", [HOURS / 2 - number / 10 for number in range(250)])
    scan = ("--hours", str(HOURS), "--files", "api")
    kill_after(workspace, answers, lambda: shell.start("ingest", "bitbucket-scan", *scan), wait_for)
    stored = len(workspace.stored())
    ((known,),) = workspace.rows("SELECT count(*) FROM commits WHERE files_status = 'known'")
    # The answer that kills is on its way: its page may be stored as well, or not.
    assert (stored in (100, 200), known) == (True, 0) if answers < 10 else (stored == 250 and known >= 50)
    resumed = asked_by(workspace, lambda: shell.scan(*scan))
    new = asked_by(workspace, lambda: shell.scan(*scan, "--database", "new.db"))
    assert (new["commits"], new["diffstat"]) == (3, 250)
    assert resumed["diffstat"] == 250 - known
    assert resumed["commits"] == (0 if stored == 250 else 3 - stored // 100)
    assert resumed.total() == new.total() - known - (new["commits"] - resumed["commits"])
    assert workspace.rows("SELECT count(*) FROM commits WHERE files_status = 'known'") == [(250,)]


def asked_by(workspace: Any, scan: Callable[[], Any]) -> Counter[str]:
    """Return how many requests of each kind a complete scan takes."""
    workspace.sandbox.clear_requests()
    assert scan().code == 0
    return Counter(served.kind for served in workspace.sandbox.requests)


def test_two_scans_at_once(shell: Any, workspace: Any, wait_for: Any) -> None:
    """Both begin with nothing on one database and end; the record is the same as after one, and nothing is told twice.

    One of them may leave a repository to the other, and says so: that is all that may be missing in it.
    """
    api = workspace.add("api")
    grow(api, random.Random(7))
    both = [shell.start("ingest", "bitbucket-scan", "--hours", str(HOURS)) for _ in range(2)]
    codes = sorted(wait_for(process).code for process in both)
    documents = shell.documents()
    assert codes in ([0, 0], [0, 3])
    assert sorted(document["status"] for document in documents) == [{0: "complete", 3: "partial"}[c] for c in codes]
    assert {problem["kind"] for document in documents for problem in document["problems"]} <= {"busy"}
    assert_equal_to_git(workspace, api)
    new = [entry["hash"] for document in documents for entry in document["payload"] if entry["new"]]
    assert sorted(new) == sorted(workspace.stored())


def test_database_that_cannot_grow_is_one_line(workspace: Any, shell: Any, wait_for: Any) -> None:
    """Files may have 300 KB and no more: the run fails in one line, nothing is half-written, the next one goes on."""
    api = workspace.add("api")
    api.history("main", [1.0] * 600, message="RC-{} " + "x" * 900)
    scan = ["ingest", "bitbucket-scan", "--full", "--files", "none", "--quiet"]
    limit = (300_000, resource.RLIM_INFINITY)
    done = wait_for(shell.start(*scan, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)))
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"rc: commits\.db: .+; .*what was stored stays\n", done.err), done.err
    assert workspace.rows("PRAGMA integrity_check") == [("ok",)]
    assert workspace.stored() < set(api.reachable("main"))
    assert shell.rc(*scan).code == 0
    assert workspace.stored() == set(api.reachable("main"))


def without_root_rights() -> None:
    """Have this process obey the rights of files, whoever runs it; called in a child before it becomes `rc` (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: not after the next exec
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def may_write(path: Path) -> bool:
    """Return whether a child without root's rights may write to a file."""
    question = [sys.executable, "-c", "import os, sys; sys.exit(not os.access(sys.argv[1], os.W_OK))", str(path)]
    return subprocess.run(question, check=False, preexec_fn=without_root_rights).returncode == 0


@pytest.mark.parametrize("folder_mode", [0o755, 0o555], ids=["file", "file and folder"])
def test_database_that_may_only_be_read_is_one_line(
    workspace: Any, shell: Any, wait_for: Any, folder_mode: int
) -> None:
    """The scan fails before it asks for anything, in one line with the remedy, and nothing in the database changes."""
    api = workspace.add("api")
    api.commit("main", "RC-1")
    scan = ["ingest", "bitbucket-scan", "--quiet", "--database", "kept/commits.db"]
    assert shell.rc(*scan).code == 0
    api.commit("main", "RC-2")
    database = shell.folder / "kept" / "commits.db"
    before = database.read_bytes()
    try:
        database.chmod(0o444)
        database.parent.chmod(folder_mode)
        if may_write(database):
            pytest.skip("whoever runs this may write to any file")
        workspace.sandbox.clear_requests()
        done = wait_for(shell.start(*scan, preexec_fn=without_root_rights))
    finally:
        database.parent.chmod(0o755)
        database.chmod(0o644)
    remedies = "make the file and its folder writable|check that the path is a file in a folder that can be written"
    assert done.code == 1
    assert re.fullmatch(rf"rc: kept/commits\.db: [^\n]+; ({remedies})\n", done.err), done.err
    assert (workspace.sandbox.requests, database.read_bytes()) == ([], before)
    assert shell.rc(*scan).code == 0
