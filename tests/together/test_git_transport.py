"""Bitbucket's histories and files by git: the same record as by the API, at next to no requests, whatever goes wrong."""

from __future__ import annotations

import http.server
import itertools
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_bitbucket.git_transport import ENOUGH_TO_CLONE, ENOUGH_TO_FETCH
from releasecopilot_bitbucket.source import BitbucketSource
from releasecopilot_git.testing import Drawn, Repository, histories

from releasecopilot_core import CommitStorage, Ingestor, ScanRequest, Window

TOKEN = "s3cret-token"
TABLES = {
    "commits": "sha, author, author_name, author_email, date, message, files_status",
    "commit_parents": "sha, position, parent",
    "commit_branches": "sha, branch, via, own",
    "commit_story_keys": "sha, story_key, origin, plugin",
    "heads": "branch, sha",
}


def record(workspace: Any) -> dict[str, Any]:
    """Return all that is stored of commits; a renamed path is one removed and one added."""
    found: dict[str, Any] = {
        table: sorted(workspace.rows(f"SELECT {columns} FROM {table}")) for table, columns in TABLES.items()
    }
    shas = {sha for (sha,) in workspace.rows("SELECT DISTINCT sha FROM commit_files")}
    found["files"] = {sha: workspace.files(sha) for sha in shas}
    return found


def forget(workspace: Any) -> None:
    """Begin with an empty database."""
    for file in workspace.folder.glob("commits.db*"):
        file.unlink()


def assert_equal_to_git(workspace: Any, repository: Any) -> None:
    """Hold commits, heads, files and walks to what git says."""
    expected = set(repository.reachable("--branches"))
    assert expected <= workspace.stored()
    assert dict(workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL")) == repository.branches()
    assert workspace.rows("SELECT * FROM walks") == []
    assert workspace.rows("SELECT sha FROM commits WHERE files_status <> 'known'") == []
    for sha in sorted(expected)[:: 1 + len(expected) // 40]:
        assert workspace.files(sha) == repository.files(sha)


def problems(run: Any) -> list[tuple[str, str]]:
    return [(problem.kind, problem.message) for problem in run.problems]


# --- the same record -------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(drawn=histories())
def test_record_is_the_same_by_api_and_by_git(make_workspace: Callable[[], Any], drawn: list[Drawn]) -> None:
    """Commits, parents, authors, dates, messages, files with status, keys and heads are equal, odd bytes and all."""
    workspace = make_workspace()
    repository = Repository(workspace.repositories / "api.git")
    repository.write(drawn, branches={"main": len(drawn) - 1, "feature/RC-9": len(drawn) // 2})
    assert workspace.scan(files="api", full=True).status == "complete"
    by_api = record(workspace)
    forget(workspace)
    assert workspace.scan(files="git", full=True).status == "complete"
    by_git = record(workspace)
    assert by_git == by_api
    # Whoever scans the other way later changes nothing, either.
    assert workspace.scan(files="api", full=True).status == "complete"
    assert record(workspace) == by_git


@settings(max_examples=8)
@given(data=st.data())
def test_ways_may_alternate(make_workspace: Callable[[], Any], data: st.DataObject) -> None:
    """A walk that one way began and something cut off, the other one finishes; branches move meanwhile."""
    workspace = make_workspace()
    api = workspace.add("api")
    shas = api.history("main", [1_000 - number for number in range(150)])
    ways = st.sampled_from(["api", "git"])
    for number in range(data.draw(st.integers(1, 3))):
        for branch in data.draw(st.lists(st.sampled_from(["main", "release/1"]), unique=True)):
            api.set(branch, data.draw(st.sampled_from(shas)))
        request = ScanRequest(window=Window.last(4), full=True, files=data.draw(ways), run_id=f"run {number}")
        cut_off(workspace, request, data.draw(st.integers(1, 8)))
    api.commit("main", "RC-2 the latest")
    assert workspace.scan(full=True, files=data.draw(ways)).status == "complete"
    assert_equal_to_git(workspace, api)


def cut_off(workspace: Any, request: ScanRequest, batches: int) -> None:
    """Scan as a process does that dies when so many batches are stored."""
    with (
        CommitStorage(workspace.folder / "commits.db") as store,
        closing(BitbucketSource.from_settings(workspace.settings())) as source,
        closing(source.scan(request, store)) as scan,
    ):
        for batch in itertools.islice(scan, batches):
            store.apply(batch)
    # Nobody gives back what a dead process held.
    db = sqlite3.connect(workspace.folder / "commits.db")
    db.execute("DELETE FROM leases")
    db.commit()
    db.close()


# --- when it is used -------------------------------------------------------------------------------------------


def test_whole_history_costs_next_to_no_requests(workspace: Any) -> None:
    """`auto` clones for --full: one clone instead of a request a commit; afterwards only what is new is fetched."""
    api = workspace.add("api")
    api.history("main", [2_000 - number / 2 for number in range(1_500)])
    run = workspace.scan(full=True)
    assert (run.status, run.new, run.problems) == ("complete", 1_500, ())
    kinds = workspace.asked()
    assert not {"commits", "diffstat", "branches"} & set(kinds)
    assert kinds["git"] <= 4
    assert_equal_to_git(workspace, api)
    api.commit("main", "RC-2")
    assert workspace.scan(full=True).new == 1
    assert_equal_to_git(workspace, api)


def test_many_owed_lists_are_read_from_a_clone(workspace: Any) -> None:
    """Up to a number of lists the API is asked, from there on git; with a clone at hand that number is smaller."""
    api = workspace.add("api")
    api.history("main", [3.9 - number / 100 for number in range(ENOUGH_TO_CLONE - 1)])
    workspace.scan()
    assert "git" not in workspace.asked()
    api.history("main", [2 - number / 100 for number in range(ENOUGH_TO_CLONE)])
    workspace.scan()
    kinds = workspace.asked()
    assert "git" in kinds
    assert "diffstat" not in kinds
    assert_equal_to_git(workspace, api)
    for count, by_git in ((ENOUGH_TO_FETCH - 1, False), (ENOUGH_TO_FETCH, True)):
        api.history("main", [1 - number / 1_000 for number in range(count)])
        workspace.scan()
        kinds = workspace.asked()
        assert ("git" in kinds, kinds.get("diffstat", 0)) == (by_git, 0 if by_git else count)
    assert_equal_to_git(workspace, api)


def test_git_is_used_for_everything_where_it_is_asked_for(workspace: Any) -> None:
    """With `git` even one commit comes from the clone; an unchanged repository is not fetched."""
    api = workspace.add("api")
    api.commit("main", "RC-1")
    workspace.scan(files="git")
    assert not {"commits", "diffstat", "branches"} & set(workspace.asked())
    workspace.scan(files="git")
    assert "git" not in workspace.asked()
    assert_equal_to_git(workspace, api)


@pytest.mark.parametrize("mode", ["api", "none"])
def test_git_is_not_used_where_it_is_not_wanted(workspace: Any, mode: str) -> None:
    """`api` and `none` never clone."""
    workspace.add("api").history("main", [3.9 - number / 100 for number in range(ENOUGH_TO_CLONE + 5)])
    workspace.scan(files=mode, full=True)
    assert "git" not in workspace.asked()
    assert not (workspace.folder / "clones").exists()


def test_commits_that_no_branch_has_come_from_the_api(workspace: Any) -> None:
    """What was force-pushed away is not in a clone: its files are asked for one by one, as before."""
    api = workspace.add("api")
    shas = api.history("main", [3.9 - number / 100 for number in range(150)])
    workspace.scan(files="none")
    api.set("main", shas[140])
    workspace.scan()
    assert workspace.asked()["diffstat"] == 9
    assert workspace.rows("SELECT DISTINCT files_status FROM commits") == [("known",)]
    assert workspace.files(shas[149]) == api.files(shas[149])


def test_plan_counts_git_operations(workspace: Any) -> None:
    """A dry run prices a clone as one git operation, instead of the requests that it saves."""
    api = workspace.add("api")
    api.history("main", [3.9 - number / 100 for number in range(ENOUGH_TO_CLONE)])
    with Ingestor(workspace.settings(pull_requests=False)) as ingestor:
        assert [(e.requests, e.git_operations) for e in ingestor.plan("bitbucket", full=True).entries[1:]] == [(0, 1)]
        assert [(e.requests, e.git_operations) for e in ingestor.plan("bitbucket").entries[1:]] == [(2, 0)]
        ingestor.scan("bitbucket", files="none")
        assert [(e.requests, e.git_operations) for e in ingestor.plan("bitbucket").entries[1:]] == [(0, 1)]
        assert [e.git_operations for e in ingestor.plan("bitbucket", files="api").entries[1:]] == [0]


def test_renames_and_line_counts_need_contents(workspace: Any) -> None:
    """They are off unless they are asked for, and then the clone is whole."""
    api = workspace.add("api")
    api.commit("main", "one", files={"a.txt": "1\n2\n3\n4\n5\n"})
    api.git("fast-import", "--quiet", given=b"commit refs/heads/main\ncommitter A <a@x> 1790000999 +0000\ndata 1\nx\n"
            b"from refs/heads/main^0\nR a.txt b.txt\n")  # fmt: skip
    sql = "SELECT path, status, old_path, lines_added FROM commit_files ORDER BY path, status"
    workspace.scan(files="git", full=True)
    assert workspace.rows(sql) == [
        ("a.txt", "added", None, None),
        ("a.txt", "removed", None, None),
        ("b.txt", "added", None, None),
    ]
    assert list(workspace.folder.glob("clones/*/objects/pack/*.promisor"))
    forget(workspace)
    workspace.scan(files="git", full=True, bitbucket={"git_renames": True, "git_line_counts": True})
    assert workspace.rows(sql) == [("a.txt", "added", None, 5), ("b.txt", "renamed", "a.txt", 0)]
    assert not list(workspace.folder.glob("clones/*/objects/pack/*.promisor"))


# --- credentials -----------------------------------------------------------------------------------------------


@pytest.fixture
def wrapped_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `git` in front that writes down its arguments and environment before it goes on; returns where."""
    real = shutil.which("git")
    folder = tmp_path / "bin"
    folder.mkdir()
    written = f'printf "%s\\n" "$@" >> {tmp_path}/arguments; env >> {tmp_path}/environment'
    (folder / "git").write_text(f'#!/bin/sh\n{written}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "arguments"


@pytest.mark.parametrize("credentials", [
    {"username": "bot@acme.example", "api_token": "${SANDBOX_TOKEN}"},
    {"access_token": "${SANDBOX_ACCESS_TOKEN}"},
])  # fmt: skip
def test_token_reaches_the_server_and_nobody_else(
    make_workspace: Any, credentials: dict[str, str], wrapped_git: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind goes with the user name that git needs; it is in no argument, no file, no message."""
    from releasecopilot_bitbucket_sandbox.server import Sandbox

    monkeypatch.setenv("SANDBOX_ACCESS_TOKEN", "an-access-s3cret")
    workspace = make_workspace()
    workspace.sandbox.stop()
    workspace.sandbox = Sandbox(workspace.repositories, users={"bot@acme.example": TOKEN}, tokens=["an-access-s3cret"])
    with workspace.sandbox:
        api = workspace.add("api")
        api.history("main", [100 - number for number in range(30)])
        run = workspace.scan(files="git", full=True, bitbucket={"credentials": credentials})
        assert (run.status, run.problems) == ("complete", ())
        assert_equal_to_git(workspace, api)
        assert "commits" not in workspace.asked()
    assert "fetch" in wrapped_git.read_text()
    # Nobody gets the variable that the settings refer to, and git gets one header.
    environment = wrapped_git.with_name("environment").read_text()
    assert "s3cret" not in environment
    assert "extraHeader" in environment
    everything = [
        wrapped_git,
        *(path for path in workspace.folder.rglob("*") if path.is_file() and path.suffix != ".pack"),
    ]
    for path in everything:
        assert b"s3cret" not in path.read_bytes(), path
        assert b"x-token-auth" not in path.read_bytes(), path


@pytest.mark.parametrize("fault", ["status@git=503:50", "status@git=403:50", "truncate@git=50"])
def test_api_takes_over_when_a_clone_fails(workspace: Any, fault: str) -> None:
    """One note says why; everything is there, and the run is complete."""
    api = workspace.add("api")
    api.history("main", [50 - number for number in range(30)])
    workspace.sandbox.set_fault(*fault.split("=", 1))
    run = workspace.scan(full=True)
    assert (run.status, run.new) == ("complete", 30)
    ((kind, message),) = problems(run)
    assert kind == "note"
    assert re.fullmatch(r"no clone, so that the API is asked instead: http://127[^\n]*", message)
    assert TOKEN not in message
    assert workspace.asked()["diffstat"] == 30
    assert_equal_to_git(workspace, api)


def test_credential_that_git_does_not_take(workspace: Any) -> None:
    """A name that the API takes and git does not costs a note; helpers and prompts of the user are not asked."""
    workspace.add("api").commit("main", "RC-1")
    run = workspace.scan(files="git", bitbucket={"git_url": workspace.sandbox.git_url + "/elsewhere"})
    ((kind, message),) = problems(run)
    assert (run.status, kind) == ("complete", "note")
    assert "check the address" in message


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        self.send_response(302)
        self.send_header("Location", self.server.target + self.path)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def redirecting() -> Iterator[Callable[[str], Any]]:
    """Return a function that starts a server which sends everybody on to another one."""
    started = []

    def start(target: str) -> Any:
        server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
        server.asked, server.target = [], target
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


def test_redirects_are_not_followed(workspace: Any, redirecting: Any) -> None:
    """A server that sends git elsewhere does not make it carry the credential there."""
    workspace.add("api").commit("main", "RC-1")
    other = redirecting("http://127.0.0.1:9")
    first = redirecting(f"http://127.0.0.1:{other.server_port}")
    run = workspace.scan(files="git", bitbucket={"git_url": f"http://127.0.0.1:{first.server_port}"})
    assert run.status == "complete"
    assert [kind for kind, _ in problems(run)] == ["note"]
    assert "Authorization" in first.asked[0]
    assert other.asked == []


# --- git and the cache -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "problem"), [
    (None, "git is not installed, or not on the PATH; install git 2.32 or later"),
    ("echo git version 2.20.1", "git 2.20 is too old; install git 2.32 or later"),
])  # fmt: skip
def test_without_a_git_that_will_do_the_api_takes_over(
    workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, problem: str
) -> None:
    """It is told once, not for each repository, and nothing is missing."""
    for name in ("api", "web"):
        workspace.add(name).history("main", [50 - number for number in range(15)], message=name + " {}")
    (tmp_path / "bin").mkdir()
    if script:
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    run = workspace.scan(full=True)
    assert (run.status, run.new) == ("complete", 30)
    assert problems(run) == [("note", f"no clone, so that the API is asked instead: {problem}")]
    assert workspace.rows("SELECT count(*) FROM commits WHERE files_status = 'known'") == [(30,)]


def test_server_without_partial_clones(workspace: Any) -> None:
    """It sends file contents; that costs room, and nothing else."""
    api = workspace.add("api")
    api.history("main", [50 - number for number in range(15)])
    workspace.sandbox.set_fault("no-filter", "1")
    assert workspace.scan(full=True).problems == ()
    assert_equal_to_git(workspace, api)


def test_broken_clone_is_made_anew(workspace: Any) -> None:
    """Whatever happened to the cache, the next scan is complete without a word."""
    api = workspace.add("api")
    api.history("main", [50 - number for number in range(15)])
    workspace.scan(full=True)
    (clone,) = workspace.folder.glob("clones/*.git")
    for pack in clone.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:100])
    api.commit("main", "RC-2")
    forget(workspace)
    run = workspace.scan(full=True)
    assert (run.status, run.problems, run.new) == ("complete", (), 16)
    assert_equal_to_git(workspace, api)


def test_cache_is_bounded(workspace: Any) -> None:
    """With no room at all a clone goes after each visit."""
    workspace.add("api").commit("main", "RC-1")
    workspace.scan(files="git", bitbucket={"git_cache_limit_mb": 0})
    assert list(workspace.folder.glob("clones/*.git")) == []
    assert workspace.rows("SELECT files_status FROM commits") == [("known",)]


def test_cache_that_cannot_be_written(workspace: Any) -> None:
    """One note says where, and the API takes over."""
    workspace.add("api").commit("main", "RC-1")
    (workspace.folder / "file").write_text("")
    run = workspace.scan(files="git", bitbucket={"git_cache": str(workspace.folder / "file" / "clones")})
    ((kind, message),) = problems(run)
    assert (run.status, kind) == ("complete", "note")
    assert "cannot keep clones here" in message


def test_several_repositories_at_once(workspace: Any) -> None:
    """Each thread has its own clone; the database has all of them."""
    repositories = {name: workspace.add(name) for name in ("api", "web", "tools", "docs", "infra")}
    for number, repository in enumerate(repositories.values()):
        repository.history("main", [50 - n for n in range(20 + number)], message=f"RC-{number} {{}}")
    run = workspace.scan(files="git", full=True)
    assert (run.status, run.new) == ("complete", sum(20 + number for number in range(5)))
    assert len(list(workspace.folder.glob("clones/*.git"))) == 5


def test_announced_branch_that_is_gone_is_asked_of_the_api(workspace: Any) -> None:
    """A clone does not have it; the API may, and is asked."""
    api = workspace.add("api")
    base = api.commit("main", "RC-1")
    workspace.scan(files="git")
    tip = api.commit("feature/x", "RC-2", parents=[base])
    db = sqlite3.connect(workspace.folder / "commits.db")
    db.execute("INSERT INTO stale_branches VALUES (1, 'feature/x', ?, 'push', 1, '2026-11-25T00:00:00Z')", (tip,))
    db.commit()
    db.close()
    api.delete("feature/x")
    assert workspace.scan(files="git").status == "complete"
    assert tip in workspace.stored()
