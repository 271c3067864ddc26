"""Marked secrets through success, failure and crash: they are nowhere, also not encoded."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from receiving import SECRET, receiving, subscribe

RC = Path(sys.executable).parent / "rc"
TOKEN = "s3cret-token"
WRONG = "wr0ng+t0ken/with=signs"


def forms(secret: str) -> set[bytes]:
    """Return a secret as it could leak: plain, encoded for addresses, hexadecimal, and at any place inside Base64."""
    raw = secret.encode()
    inside = {base64.b64encode(b"x" * shift + raw)[4 : -4 or None] for shift in range(3)}
    basic = base64.b64encode(f"bot@acme.example:{secret}".encode())
    return {raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), raw.hex().encode(), basic, *inside} - {
        b""
    }


def leaks(folder: Path, *outputs: bytes, secrets: tuple[str, ...] = (TOKEN, WRONG, SECRET)) -> list[str]:
    """Return where a secret was found: in outputs, or in any file of a folder, git's own included."""
    found = []
    texts = {f"output {number}": output for number, output in enumerate(outputs)}
    texts |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for place, text in texts.items():
        found += [f"{place}: {form!r}" for secret in secrets for form in forms(secret) if form in text]
    return found


@pytest.fixture
def shell(workspace: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a function that runs `rc` with the settings of the workspace and a token in its environment."""
    settings = workspace.settings(retry_seconds=1, timeout_seconds=2, webhook_secret="${HOOK_SECRET}")
    names = ("bitbucket", "database", "artifacts", "logs")
    (workspace.folder / "settings.yaml").write_text(json.dumps({name: settings.raw(name) for name in names}))
    outputs: list[bytes] = []

    def run(*arguments: str, token: str = TOKEN, **more: Any) -> int:
        environment = {**os.environ, "SANDBOX_TOKEN": token, "HOOK_SECRET": SECRET}
        command = [RC, *arguments, "--config", str(workspace.folder / "settings.yaml")]
        done = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path, **more)
        outputs.extend((done.stdout, done.stderr))
        return done.returncode

    run.outputs = outputs
    yield run
    assert leaks(workspace.folder, *outputs) == []
    assert leaks(tmp_path, *outputs) == []


def test_success_and_failure_show_no_secret(shell: Any, workspace: Any) -> None:
    """Scans that work, that are refused, that are limited and that meet every fault; questions, doctor and plan."""
    api = workspace.add("api")
    api.history("main", [1.0] * 3, message="RC-1 {}")
    assert shell("ingest", "bitbucket-scan") == 0
    assert shell("ingest", "bitbucket-scan", token=WRONG) == 1
    for fault, value in (("forbidden", "1"), ("status", "503"), ("reset", "9"), ("bad-json", "9"), ("rate-limit", "0")):
        workspace.sandbox.clear_faults()
        workspace.sandbox.set_fault(fault, value)
        api.commit("main", "more")
        assert shell("ingest", "bitbucket-scan", "--json") in (1, 3)
    workspace.sandbox.clear_faults()
    for command in (["doctor"], ["ingest", "bitbucket-scan", "--dry-run"], ["runs", "list", "--json"], ["commits"]):
        assert shell(*command) in (0, 3)
    assert shell("doctor", token=WRONG) == 1


def test_traceback_shows_no_secret(shell: Any, workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a source's depths keeps its traceback in the log, and that holds no secret."""
    workspace.add("api").commit("main", "x")
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import releasecopilot_bitbucket.history as history\n"
        "def broken(payload):\n    raise ZeroDivisionError('a bug')\n"
        "history.commit_of = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert shell("ingest", "bitbucket-scan") == 1
    log = "".join(path.read_text() for path in (workspace.folder / "logs").glob("*.log"))
    assert "ZeroDivisionError" in log


@pytest.mark.parametrize(("files", "kind"), [("api", "diffstat"), ("git", "git")])
def test_process_that_is_killed_shows_no_secret(shell: Any, workspace: Any, files: str, kind: str) -> None:
    """Neither its arguments and those of the git that it runs, nor what it says, nor what it leaves behind."""
    workspace.add("api").history("main", [1.0] * 20)
    environment = {**os.environ, "SANDBOX_TOKEN": TOKEN, "HOOK_SECRET": SECRET}
    command = [RC, "ingest", "bitbucket-scan", "--config", str(workspace.folder / "settings.yaml"), "--files", files]
    started, killed = threading.Event(), threading.Event()
    arguments: list[bytes] = []

    def answered(served: Any) -> None:
        if served.kind == kind and not killed.is_set():
            started.wait()
            killed.set()
            arguments.extend(arguments_of(process.pid))
            process.kill()

    workspace.sandbox.on_request(answered)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        started.set()
        outputs = process.communicate(timeout=60)
    workspace.sandbox.on_request(None)
    assert process.returncode == -signal.SIGKILL
    assert any(b"bitbucket-scan" in line for line in arguments)
    assert any(b"fetch" in line for line in arguments) or files != "git"
    assert leaks(workspace.folder, *arguments, *outputs) == []


def arguments_of(pid: int) -> list[bytes]:
    """Return the command lines of a process and of all that it has started, as everybody on the machine sees them."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], check=True, capture_output=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    family = {b"%d" % pid}
    while more := {row[0] for row in rows if row[1] in family} - family:
        family |= more
    return [row[2] for row in rows if row[0] in family and len(row) == 3]


@pytest.fixture
def watched_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a git first that writes down its arguments, and its environment when it talks to nobody; returns that file."""
    seen, folder = tmp_path / "seen", tmp_path / "bin"
    folder.mkdir()
    git = folder / "git"
    real = shutil.which("git")
    git.write_text(
        f'#!/bin/sh\necho "$@" >> {seen}\n'
        f'case " $* " in *" clone "*|*" fetch "*|*" ls-remote "*) ;; *) env >> {seen} ;; esac\nexec {real} "$@"\n'
    )
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return seen


def test_programs_that_need_no_secret_get_none(shell: Any, workspace: Any, watched_git: Path) -> None:
    """Git that talks to nobody sees no token in its environment, and no git in its arguments; nor does a clone keep it."""
    workspace.add("api").history("main", [1.0] * 3)
    assert shell("ingest", "bitbucket-scan", "--files", "git", "--full") == 0
    text = watched_git.read_text()
    assert "PATH=" in text
    assert re.search(r"\b(clone|fetch)\b", text)
    assert list((workspace.folder / "clones").rglob("config"))


def test_server_shows_no_secret(shell: Any, workspace: Any, tmp_path: Path) -> None:
    """Neither its arguments and those of its workers, nor what it says, nor what it leaves when it is killed."""
    workspace.add("api").commit("main", "x")
    environment = {**os.environ, "SANDBOX_TOKEN": TOKEN, "HOOK_SECRET": SECRET}
    command = [RC, "serve", "bitbucket-webhook", "--config", str(workspace.folder / "settings.yaml"), "--port", "0",
               "--workers", "2", "--access-log"]  # fmt: skip
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stderr=stderr, cwd=tmp_path, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not (found := re.search(r"http://\S+", (tmp_path / "stderr").read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        body = b'{"push": {"changes": []}, "repository": {"uuid": "{1}", "full_name": "acme/api"}}'
        for proof, status in ((SECRET, 202), (WRONG, 401)):
            headers = {"X-Event-Key": "repo:push", "X-Webhook-Secret": proof}
            assert httpx.post(found[0], content=body, headers=headers, timeout=20).status_code == status
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pgid=,args="], check=True, capture_output=True).stdout
        arguments = [line for line in listed.splitlines() if line.split(None, 1)[0] == b"%d" % process.pid]
        assert len(arguments) >= 2
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert leaks(workspace.folder, *arguments) == []


def test_deliveries_keep_no_secret(shell: Any, workspace: Any) -> None:
    """A delivery with its signature, and one with the secret itself in a header, are kept without either."""
    api = workspace.add("api")
    api.commit("main", "x")
    assert shell("ingest", "bitbucket-scan") == 0
    with receiving(workspace) as url:
        subscribe(workspace, url)
        api.commit("main", "RC-2 y")
        workspace.sandbox.flush(20)
        body = {"push": {"changes": []}, "repository": {"uuid": "{1}", "full_name": "acme/api"}}
        headers = {"X-Event-Key": "repo:push", "X-Webhook-Secret": SECRET, "Authorization": f"Bearer {TOKEN}"}
        assert httpx.post(url, json=body, headers=headers).status_code == 202
    for command in (["list", "--json"], ["list"]):
        assert shell("deliveries", *command) == 0
    kept = workspace.rows("SELECT headers FROM deliveries")
    assert len(kept) == 2
    assert not any("signature" in headers.lower() for (headers,) in kept)
