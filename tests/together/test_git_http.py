"""Clones over HTTP, with credentials by git's own means, and what a process leaves that dies while it clones."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import Ingestor, Settings

RC = Path(sys.executable).parent / "rc"
USER, TOKEN = "x-bitbucket-api-token-auth", "s3cret-token"


@pytest.fixture
def scan(workspace: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that scans a repository of the workspace by its URL, as `rc ingest git-scan URL` would."""

    def scan(slug: str = "api", user: str = "", **more: Any) -> Any:
        url = f"{workspace.sandbox.git_url}/acme/{slug}.git".replace("://", f"://{user}")
        section = {"cache": str(tmp_path / "clones")}
        settings = Settings({"git": section, "database": str(tmp_path / "c.db"), "artifacts": str(tmp_path / "a")})
        with Ingestor(settings) as ingestor:
            return ingestor.scan("git", repositories=[url], **more)

    return scan


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure a credential helper for the user, as `git config --global` does; returns what it was asked and told."""
    program = tmp_path / "helper"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> {tmp_path}/told\nif [ "$1" = get ]; then\n'
        f"cat > /dev/null\necho username={USER}\necho password={TOKEN}\nelse cat >> {tmp_path}/told\nfi\n"
    )
    program.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[credential]\n\thelper = {program}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return tmp_path / "told"


@pytest.fixture
def api(workspace: Any) -> Any:
    """Return a repository with a few commits."""
    repository = workspace.add("api")
    repository.history("main", [50 - number for number in range(20)])
    return repository


def test_credential_helper_of_the_user(scan: Any, api: Any, helper: Path) -> None:
    """git asks whom it always asks."""
    run = scan(full=True)
    assert (run.status, run.new, run.problems) == ("complete", 20, ())
    assert "get" in helper.read_text()


def test_header_in_the_environment(scan: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What continuous integration sets up works as it is."""
    token = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.extraHeader")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"Authorization: Basic {token}")
    assert scan(full=True).status == "complete"


def test_program_that_answers_questions(scan: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_ASKPASS is asked for what the address does not have."""
    program = tmp_path / "askpass"
    program.write_text(f'#!/bin/sh\ncase "$1" in User*) echo {USER};; *) echo {TOKEN};; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(program))
    assert scan(full=True).status == "complete"
    assert scan(full=True, user=f"{USER}@").status == "complete"


def test_without_a_credential_nobody_is_asked(scan: Any, api: Any) -> None:
    """One line says what to do, and nothing waits at a terminal."""
    run = scan()
    assert run.status == "failed"
    ((kind, message),) = [(problem.kind, problem.message) for problem in run.problems]
    assert kind == "authentication"
    assert "give git a credential for it" in message
    assert "\n" not in message


def test_repository_that_is_not_there(scan: Any, workspace: Any, helper: Path) -> None:
    """The server's own words are told."""
    run = scan("nowhere")
    ((kind, message),) = [(problem.kind, problem.message) for problem in run.problems]
    assert (run.status, kind) == ("failed", "not-found")
    assert "check the address" in message


def test_own_credentials_are_not_told_to_helpers(workspace: Any, api: Any, helper: Path) -> None:
    """A token of the settings reaches no helper, which might write it down, and no helper is asked for another."""
    assert workspace.scan(files="git").problems == ()
    workspace.sandbox.set_fault("unauthorized@git", "1")
    api.commit("main", "RC-2")
    run = workspace.scan(files="git")
    assert (run.status, [problem.kind for problem in run.problems]) == ("complete", ["note"])
    assert not helper.exists()


# --- processes that die ----------------------------------------------------------------------------------------


def begun(workspace: Any, tmp_path: Path, *, until: Callable[[], object]) -> subprocess.Popen[bytes]:
    """Start a full scan over git in a process of its own, and wait until it has come so far."""
    settings = workspace.settings(files="git")
    names = ("bitbucket", "database", "artifacts", "logs")
    (tmp_path / "settings.yaml").write_text(json.dumps({name: settings.raw(name) for name in names}))
    command = [RC, "ingest", "bitbucket-scan", "--full", "--config", str(tmp_path / "settings.yaml")]
    process = subprocess.Popen(command, env={**os.environ, "SANDBOX_TOKEN": TOKEN}, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not until() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def test_scan_that_is_killed_while_it_clones(workspace: Any, tmp_path: Path, api: Any) -> None:
    """Half a clone is left, and the next scan begins a whole one."""
    workspace.sandbox.set_fault("slow@git", "0.5")
    process = begun(workspace, tmp_path, until=lambda: list(workspace.folder.glob("clones/*.half")))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(workspace.folder.glob("clones/*.half"))
    assert not list(workspace.folder.glob("clones/*.git"))
    workspace.sandbox.clear_faults()
    run = workspace.scan(full=True)
    assert (run.status, run.problems, run.new) == ("complete", (), 20)
    assert not list(workspace.folder.glob("clones/*.half"))


def test_scan_that_is_interrupted_while_it_clones(workspace: Any, tmp_path: Path, api: Any) -> None:
    """Ctrl-C ends git as well, at once, whichever thread waits for it; the artifact says so."""
    workspace.sandbox.set_fault("slow@git", "20")
    process = begun(workspace, tmp_path, until=lambda: list(workspace.folder.glob("clones/*.half")))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - began < 15) == (130, True)
    (artifact,) = (workspace.folder / "artifacts").glob("scan_*.json")
    assert json.loads(artifact.read_text())["status"] == "interrupted"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_scan_that_ends_while_pages_are_stored_goes_on_from_there(
    workspace: Any, tmp_path: Path, sent: int, code: int
) -> None:
    """What was stored is not read again, and the record ends as if nothing had happened."""
    api = workspace.add("api")
    shas = api.history("main", [9000 - number for number in range(8_000)])

    def stored() -> int:
        file = workspace.folder / "commits.db"
        return workspace.rows("SELECT count(*) FROM commits")[0][0] if has_tables(file) else 0

    process = begun(workspace, tmp_path, until=stored)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == code
    before = stored()
    assert 0 < before < len(shas)
    assert workspace.rows("SELECT count(*) FROM heads") == [(0,)]
    run = workspace.scan(full=True, files="git")
    assert (run.status, run.problems, run.new) == ("complete", (), len(shas) - before)
    assert workspace.rows("SELECT branch, sha FROM heads") == [("main", shas[-1])]
    assert workspace.stored() == set(shas)
    assert workspace.rows("SELECT count(*) FROM commits WHERE files_status <> 'known'") == [(0,)]


def has_tables(file: Path) -> bool:
    """Whether a database is there, and made."""
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'heads'").fetchone())
