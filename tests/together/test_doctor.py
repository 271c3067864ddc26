"""`rc doctor` against the sandbox: everything well, and each fault on."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

RC = Path(sys.executable).parent / "rc"
TOKEN = "s3cret-token"


@pytest.fixture
def doctor(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, list[str]]]]:
    """Return a function that runs the doctor: exit code, and the lines that are not well by the name of their check."""
    workspace.add("api").commit("main", "RC-1 work")
    monkeypatch.chdir(workspace.folder)
    section: dict[str, Any] = {
        "workspace": "acme",
        "api_url": workspace.sandbox.url,
        "credentials": {"username": "bot@acme.example", "api_token": "${SANDBOX_TOKEN}"},
        "retry_seconds": 0.3,
        "timeout_seconds": 0.5,
    }

    def run(*arguments: str, **changes: Any) -> tuple[int, dict[str, list[str]]]:
        settings = {"bitbucket": {**section, **changes}, "database": "commits.db"}
        Path("settings.yaml").write_text(json.dumps(settings))
        command = [RC, "doctor", "--config", "settings.yaml", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        found: dict[str, list[str]] = {}
        for row in json.loads(done.stdout):
            if row["status"] != "ok":
                found.setdefault(row["check"], []).append(row["text"])
        return done.returncode, found

    return run


def test_all_is_well_before_and_after_a_scan(doctor: Any, workspace: Any) -> None:
    """Nothing is written by looking: the database is made by the first scan."""
    assert doctor() == (0, {})
    assert not (workspace.folder / "commits.db").exists()
    subprocess.run([RC, "ingest", "bitbucket-scan", "--config", "settings.yaml"], check=True, capture_output=True)
    assert doctor() == (0, {})


def test_table_has_a_line_a_finding(doctor: Any) -> None:
    """For people: passed, warning or failed, the check's name, and what is so."""
    doctor()
    done = subprocess.run([RC, "doctor", "--config", "settings.yaml"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert any("commits can be listed" in line for line in lines)
    assert any("America/Phoenix" in line for line in lines)


SERVICE = "bitbucket: service"


@pytest.mark.parametrize(
    ("fault", "value", "text"),
    [
        ("forbidden@commits", "1", "needed scope: read:repository:bitbucket"),
        ("forbidden@diffstat", "1", "needed scope: read:repository:bitbucket"),
        ("status@commits", "404", "not found"),
        ("status@commits", "503", "answered 503"),
        ("diffstat-555", "*", "gave up on this diff (555)"),
        ("slow", "1", "no whole answer"),
        ("reset", "1000", "no whole answer"),
        ("truncate", "1000", "no whole answer"),
        ("bad-json", "1000", "not JSON"),
        ("rate-limit", "0", "quota is used up"),
    ],
)
def test_each_fault_is_one_line_with_a_remedy(doctor: Any, workspace: Any, fault: str, value: str, text: str) -> None:
    """What the service refuses ends neither the doctor nor its other checks."""
    workspace.sandbox.set_fault(fault, value)
    code, found = doctor()
    assert code == 1
    assert any(text in line for line in found[SERVICE]), found


def test_credentials_are_examined(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token, none, one without an e-mail, and an app password each get their own advice."""
    code, found = doctor(credentials={"username": "bot", "api_token": "${SANDBOX_TOKEN}"})
    assert (code, "is no e-mail address" in found["bitbucket: credentials"][0]) == (1, True)
    code, found = doctor(credentials={"username": "bot", "app_password": "${SANDBOX_TOKEN}"})
    assert "app passwords were removed on 2026-07-28" in found["bitbucket: credentials"][0]
    code, found = doctor(credentials={})
    assert (code, found[SERVICE][0].startswith("Bitbucket refused the credential")) == (1, True)
    monkeypatch.setenv("SANDBOX_TOKEN", "wr0ng")
    code, found = doctor()
    assert (code, "check that username is the Atlassian account's e-mail" in found[SERVICE][0]) == (1, True)
    monkeypatch.delenv("SANDBOX_TOKEN")
    code, found = doctor()
    assert (code, "SANDBOX_TOKEN is not set" in found["bitbucket: credentials"][0]) == (1, True)


def test_wrong_settings_and_workspace(doctor: Any) -> None:
    """An unknown key and a workspace that is not there are found, and the rest is looked at all the same."""
    code, found = doctor(workspce="acme")
    assert (code, "unknown key" in found["bitbucket: credentials"][0]) == (1, True)
    code, found = doctor(workspace="amce")
    assert (code, "not found" in found[SERVICE][0]) == (1, True)


def test_database_is_examined(doctor: Any) -> None:
    """A broken file, another program's, and what is left over in ours."""
    Path("commits.db").write_text("no database, but a text of some length" * 50)
    code, found = doctor()
    assert (code, "restore it from a backup" in found["sqlite-store: database"][0]) == (1, True)
    Path("commits.db").unlink()
    other = sqlite3.connect("commits.db")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    code, found = doctor()
    assert (code, "of another program" in found["sqlite-store: database"][0]) == (1, True)
    Path("commits.db").unlink()
    scan = [RC, "ingest", "bitbucket-scan", "--config", "settings.yaml", "--files", "none"]
    subprocess.run(scan, check=True, capture_output=True)
    code, found = doctor()
    assert (code, found) == (3, {"sqlite-store: record": ["1 commits still owe their files; scan again"]})


RECORD, DATABASE = "sqlite-store: record", "sqlite-store: database"


@pytest.fixture
def database(doctor: Any) -> Path:
    """Return the database that one scan made."""
    doctor()
    subprocess.run([RC, "ingest", "bitbucket-scan", "--config", "settings.yaml"], check=True, capture_output=True)
    return Path("commits.db")


def execute(database: Path, *statements: str) -> None:
    db = sqlite3.connect(database)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("INSERT INTO stale_branches SELECT id, 'x', NULL, 'pushed', 1, '2026-11-25T00:00:00Z' FROM repositories",
         "1 branches were announced and not fetched; run the repair, or scan"),
        ("INSERT INTO walks (repository_id, branch, target, bounded, opened_at) "
         "SELECT id, 'x', printf('%040d', 1), 0, '2026-11-25T00:00:00Z' FROM repositories",
         "1 walks were cut off; the next scan resumes them"),
    ],
    ids=["stale branch", "open walk"],
)  # fmt: skip
def test_what_is_left_over_is_told(doctor: Any, database: Path, statement: str, text: str) -> None:
    """What a crash or a delivery left is a warning, with who takes care of it."""
    execute(database, statement)
    assert doctor() == (3, {RECORD: [text]})


@pytest.mark.parametrize(
    ("statement", "code", "text"),
    [
        ("PRAGMA user_version = 99", 1, "is newer than"),
        ("PRAGMA user_version = 1", 3, "the next command that opens it migrates it"),
        ("PRAGMA journal_mode = delete", 3, "journal mode is delete, not wal"),
        ("UPDATE commit_branches SET repository_id = 99", 1, "a row of commit_branches belongs to none"),
    ],
)
def test_schema_journal_and_references_are_examined(
    doctor: Any, database: Path, statement: str, code: int, text: str
) -> None:
    """Each has its own line and remedy."""
    execute(database, statement)
    found = doctor()
    assert (found[0], text in found[1][DATABASE][0]) == (code, True), found


def test_damaged_pages_are_found(doctor: Any, database: Path) -> None:
    """A file whose first page is right may be broken behind it."""
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(database.read_bytes())
    raw[4096 * 2 : 4096 * 8] = b"\xff" * 4096 * 6
    database.write_bytes(raw)
    code, found = doctor()
    assert (code, "restore it from a backup" in found[DATABASE][0]) == (1, True)


def test_lock_that_is_held_is_found(doctor: Any, database: Path) -> None:
    """A process that writes for longer than others wait keeps everybody out."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    code, found = doctor()
    holder.close()
    assert (code, "holds the write lock" in found[DATABASE][0]) == (1, True)


def test_database_that_may_only_be_read_is_found(database: Path) -> None:
    """SQLite begins a transaction there all the same; whoever runs as root could write a file of mode 444."""
    from releasecopilot_core.builtin.sqlite_store import checks

    db = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    finding = checks._lock(db, database)
    db.close()
    assert (finding.status, "make the file and its folder writable" in finding.text) == ("failed", True)


def test_webhooks_are_looked_for(doctor: Any, workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the workspace count; one that is wanted and missing, or has no secret, is a warning."""
    monkeypatch.setenv("HOOK_SECRET", "s3cret-webhook")
    code, found = doctor(webhook_secret="${HOOK_SECRET}")
    assert (code, "but webhook_secret is set" in found[SERVICE][0]) == (3, True)
    hook = {"description": "x", "url": "http://127.0.0.1:9/", "active": True, "events": ["repo:push"]}
    auth = ("bot@acme.example", TOKEN)
    places = (f"{workspace.sandbox.url}/workspaces/acme/hooks", f"{workspace.sandbox.url}/repositories/acme/api/hooks")
    assert httpx.post(places[0], json={**hook, "secret": "x"}, auth=auth).status_code == 201
    assert doctor(webhook_secret="${HOOK_SECRET}") == (0, {})
    assert httpx.post(places[1], json=hook, auth=auth).status_code == 201
    assert doctor() == (3, {SERVICE: ["2 webhooks for pushes, 1 without a secret; set one"]})
    workspace.sandbox.set_fault("forbidden@hooks", "1")
    assert doctor() == (0, {})


@pytest.mark.parametrize(
    ("told", "text"), [("git version 2.20.1", "is too old; clones need 2.32"), ("", "is too old; clones need 2.32")]
)
def test_old_git_is_found(doctor: Any, monkeypatch: pytest.MonkeyPatch, told: str, text: str) -> None:
    """It is a warning: scans go on over the API."""
    folder = Path("bin").absolute()
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\necho {told}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    code, found = doctor()
    assert (code, text in found["git"][0]) == (3, True)


@pytest.mark.parametrize(("seconds", "text"), [(-3600, "ahead of"), (3600, "behind")])
def test_clock_that_differs_is_found(seconds: int, text: str) -> None:
    """From the `Date` of an answer: tokens and people mind, windows of hours do not."""
    from releasecopilot_bitbucket import checks

    (finding,) = checks._skew(formatdate(time.time() + seconds, usegmt=True))
    assert (finding.status, f"s {text} the service's; set it by NTP" in finding.text) == ("warning", True)
    (finding,) = checks._skew(formatdate(usegmt=True))
    assert finding.status == "ok"
