"""`rc doctor` against the sandbox: everything well, and each fault on."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
