"""Scans that are killed, and scans that run at once: the record ends equal to git's, whatever happened on the way."""

from __future__ import annotations

import random
import re
import resource
import signal
import threading
from typing import Any

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


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), answers=st.integers(1, 8) | st.integers(9, 45))
def test_killed_scan_loses_nothing(make_workspace: Any, shell_for: Any, wait_for: Any, seed: int, answers: int) -> None:
    """SIGKILL after any answer of the service, then a second run: all is there, and the dead run is told as such."""
    workspace = make_workspace()
    api = workspace.add("api")
    grow(api, random.Random(seed))
    shell = shell_for(workspace)
    started, count = threading.Event(), iter(range(1, 10_000))

    def answered(_: Any) -> None:
        if next(count) == answers:
            started.wait()
            process.kill()

    workspace.sandbox.on_request(answered)
    process = shell.start("ingest", "bitbucket-scan", "--hours", str(HOURS))
    started.set()
    assert wait_for(process).code == -signal.SIGKILL
    workspace.sandbox.on_request(None)
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
