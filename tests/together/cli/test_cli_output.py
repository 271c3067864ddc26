"""stdout carries the result, stderr progress and problems, the log the details, and nothing a secret."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import Batch, Commit, CommitStorage, Repository, Sighting
from releasecopilot_core._cli.logs import logging_to

PHOENIX = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-07:00"


def test_result_goes_to_stdout_and_progress_to_stderr(shell: Any, workspace: Any) -> None:
    """A summary with the stories of the window on one, a line for each repository that is done on the other."""
    workspace.add("api").commit("main", "RC-1", hours_ago=1)
    workspace.add("web").commit("main", "no key", hours_ago=2)
    done = shell.scan()
    assert re.match(r"Run \S+: complete\. 2 commits listed, 2 new, 0 seen again in 2 repositories with \d+", done.out)
    assert re.search(r"^RC-1 +1 +acme/api +\d{4}-\d\d-\d\d \d\d:\d\d$", done.out, re.MULTILINE)
    assert re.search(r"^\(no story\) +1 +acme/web", done.out, re.MULTILINE)
    lines = sorted(re.sub(r"^\[\d", "[n", line) for line in done.err.splitlines())
    assert lines == [
        "[n/2] acme/api: complete, 1 listed, 1 new, 0 seen again",
        "[n/2] acme/web: complete, 1 listed, 1 new, 0 seen again",
    ]


def test_commits_dated_before_the_window_are_told_apart(shell: Any, workspace: Any) -> None:
    """The first line counts them, and in the artifact they are `new` and not `in_window`."""
    api = workspace.add("api")
    base = api.commit("main", "RC-1", hours_ago=1)
    shell.scan()
    late = api.commit("feature/late", "RC-2", hours_ago=500, parents=[base])
    now = api.commit("feature/late", "RC-3", hours_ago=0.1)
    done = shell.scan("--branches", "main", "feature/*")
    assert re.search(r" 2 new \(1 dated before the window\), 1 seen again in ", done.out)
    flags = {entry["hash"]: (entry["new"], entry["in_window"]) for entry in shell.documents()[-1]["payload"]}
    assert flags == {base: (False, True), late: (True, False), now: (True, True)}


def test_terminal_gets_a_bar(shell: Any, workspace: Any) -> None:
    """On a terminal progress is a bar that is drawn anew, and stdout is the same as ever."""
    for slug in ("api", "web"):
        workspace.add(slug).commit("main", "RC-1")
    done, screen = shell.on_terminal("ingest", "bitbucket-scan")
    assert done.code == 0
    assert "100%" in screen
    assert screen.count("\r") > 2
    assert "1 commit" in screen
    assert "[1/2]" not in screen
    assert done.out.startswith("Run ")
    _, silent = shell.on_terminal("ingest", "bitbucket-scan", "--quiet")
    assert silent == ""


def test_log_has_phoenix_stamps(shell: Any, workspace: Any) -> None:
    """Each run has a log of its own; every line begins with the time in Phoenix; problems are in it."""
    workspace.add("api").commit("main", "RC-1")
    assert shell.scan("--branches", "main", "nope").code == 3
    (document,) = shell.documents()
    lines = (shell.folder / f"logs/scan_{document['run_id']}.log").read_text().splitlines()
    assert all(re.match(rf"{PHOENIX} [A-Z]+ [\w.]+: ", line) for line in lines)
    assert "INFO releasecopilot_core: run" in lines[0]
    assert any("WARNING" in line and "no repository has a branch 'nope'" in line for line in lines)
    assert "complete" not in lines[-1]
    assert "partial" in lines[-1]


def test_log_may_be_removed_meanwhile(tmp_path: Path) -> None:
    """Who cleans up while a run is at work does not make it fail."""
    with logging_to(str(tmp_path / "logs"), "1"):
        logging.getLogger("releasecopilot_core").info("begun")
        (tmp_path / "logs" / "scan_1.log").unlink()
    assert list((tmp_path / "logs").iterdir()) == []


def test_artifact_speaks_phoenix_time(shell: Any, workspace: Any) -> None:
    """All times of the artifact carry the offset; `documents` has checked it against the schema beside it."""
    workspace.add("api").commit("main", "RC-1")
    shell.scan()
    (document,) = shell.documents()
    times = [document["generated_at"], document["window"]["start"], document["payload"][0]["modified_on"]]
    assert all(re.fullmatch(PHOENIX, time) for time in times)
    assert document["timezone"] == "America/Phoenix"


def test_git_sha_is_the_working_directory_s(shell: Any, workspace: Any) -> None:
    """It is given, or HEAD of the repository in which the command runs, or not known."""
    api = workspace.add("api")
    head = api.commit("main", "RC-1")
    shell.scan(GIT_CEILING_DIRECTORIES=str(shell.folder.parent))
    shell.scan(GIT_DIR=str(api.path))
    shell.scan(RC_GIT_SHA="cafe" * 10)
    assert {document["git_sha"] for document in shell.documents()} == {None, head, "cafe" * 10}


@pytest.mark.parametrize("verdict", ["complete", "failed"])
def test_secret_is_nowhere(shell: Any, workspace: Any, verdict: str) -> None:
    """Neither a file nor the output holds the token, in clear or as HTTP sends it, however the run ends."""
    workspace.add("api").commit("main", "RC-1")
    secret = "s3cret-token" if verdict == "complete" else "an0ther-secret"
    done = shell.scan(SANDBOX_TOKEN=secret)
    assert f": {verdict}." in done.out
    written = b"".join(path.read_bytes() for path in shell.folder.rglob("*") if path.is_file())
    everything = written + done.out.encode() + done.err.encode()
    assert secret.encode() not in everything
    assert base64.b64encode(f"bot@acme.example:{secret}".encode()).rstrip(b"=") not in everything


def test_written_out_secret_is_warned_of(shell: Any, workspace: Any, configure: Any) -> None:
    """A token in the settings file itself works, and costs a line that does not show it."""
    workspace.add("api").commit("main", "RC-1")
    credentials = {"username": "bot@acme.example", "api_token": "s3cret-token"}
    done = configure(shell, workspace, credentials=credentials).scan("--quiet")
    assert done.code == 0
    assert done.problem.startswith("warning: bitbucket.credentials.api_token: a secret is written out")
    assert "s3cret" not in done.err


# --- nobody reads any more -------------------------------------------------------------------------------------


@pytest.fixture
def closed_pipe() -> Any:
    """Return the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_full_disk_is_one_line(scanned: Any, wait_for: Any) -> None:
    """`rc commits --csv > report.csv` on a full disk fails in one line; a scan is stored all the same."""
    with open("/dev/full", "w") as full:
        questioned = wait_for(scanned.start("commits", "--csv", stdout=full))
        scan = wait_for(scanned.start("ingest", "bitbucket-scan", "--json", "--quiet", stdout=full))
    line = "rc: the output cannot be written (No space left on device)\n"
    assert (questioned.code, questioned.err) == (1, line)
    assert (scan.code, scan.err) == (1, line)
    assert scanned.rc("runs", "list", "--limit", "1", "--json").json[0]["status"] == "complete"


def test_log_on_a_full_disk_does_not_stop_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is told once, in one line, and the run goes on."""
    (tmp_path / "scan_1.log").symlink_to("/dev/full")
    with logging_to(str(tmp_path), "1"):
        for number in range(3):
            logging.getLogger("releasecopilot_core").info("line %d", number)
    printed, told = capfd.readouterr()
    assert (printed, told) == (
        "",
        f"rc: {tmp_path}/scan_1.log: the log cannot be written (No space left on device)\n",
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(scanned: Any, closed: str) -> None:
    """Some schedulers close standard streams: commands do their work without them."""
    for command in ("ingest bitbucket-scan", "stories", "rekey"):
        script = f'"$RC" {command} {closed}'
        environment = {**scanned.environment, "RC": str(scanned.program)}
        done = subprocess.run(
            ["bash", "-c", script], cwd=scanned.folder, env=environment, capture_output=True, check=False
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done


def test_closed_pipe_ends_a_question_quietly(empty_shell: Any) -> None:
    """`rc commits | head` is no failure, and no traceback."""
    api, now = Repository(source="bitbucket", uuid="{1}", full_name="acme/api"), datetime.now(UTC)
    seen = frozenset({Sighting(api.uuid, now, branch="main")})
    many = [Commit(sha=f"{n:040x}", date=now, message="RC-1 " + 50 * "word ", sightings=seen) for n in range(1_000)]
    with CommitStorage(empty_shell.folder / "commits.db") as storage:
        storage.apply(Batch(repository=api, commits=tuple(many)))
    command = 'set -o pipefail; "$RC" commits --database commits.db --csv | head -n 1'
    environment = {**empty_shell.environment, "RC": str(empty_shell.program)}
    shell = {"cwd": empty_shell.folder, "env": environment}
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, **shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"hash,")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_closed_pipe_does_not_harm_a_scan(
    shell: Any, workspace: Any, wait_for: Any, closed_pipe: int, stream: str
) -> None:
    """The run goes on unread, and the exit code still tells how it ended."""
    sha = workspace.add("api").commit("main", "RC-1")
    process = shell.start("ingest", "bitbucket-scan", "--branches", "main", "nope", **{stream: closed_pipe})
    done = wait_for(process)
    assert done.code == 3
    assert "Traceback" not in done.err
    assert workspace.stored() == {sha}
    assert [document["status"] for document in shell.documents()] == ["partial"]
    assert json.loads(shell.rc("runs", "list", "--json").out)[0]["status"] == "partial"
