"""`rc doctor` against the sandbox: everything well, and each fault on."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.faults import FAULTS

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


OK, WARNING, FAILED = 0, 3, 1
SCOPE = "needed scope: read:repository:bitbucket; granted: "
RIGHTS = "check what the credential may read"
QUOTA = "quota is used up; it can be asked again"

#: Each fault that the doctor can notice, where it can: exit code, and what its line says, with the remedy.
NOTICED: list[tuple[dict[str, str], int, str]] = [
    ({"rate-limit": "0"}, FAILED, f"{QUOTA} within the hour"),
    ({"rate-limit@commits": "0"}, FAILED, f"{QUOTA} within the hour"),
    ({"rate-limit": "50"}, WARNING, "49 of 50 requests are left in this hour; wait, or scan less often"),
    ({"rate-limit": "0", "retry-after": "seconds:7"}, FAILED, f"{QUOTA} in 7 s"),
    ({"rate-limit": "0", "retry-after": "date:70"}, FAILED, f"{QUOTA} in "),
    ({"rate-limit": "1", "rate-window": "0.7"}, FAILED, f"{QUOTA} within the hour"),
    ({"status@repositories": "404"}, FAILED, "check bitbucket.workspace"),
    ({"status@commits": "404"}, FAILED, RIGHTS),
    ({"status@pullrequests": "404"}, FAILED, "or set bitbucket.pull_requests: false"),
    ({"status": "451"}, FAILED, "answered 451 (Something went wrong); check bitbucket.api_url, and whether a proxy"),
    ({"status": "500"}, FAILED, "repositories/acme: Bitbucket answered 500; try again later"),
    ({"status@commits": "503"}, FAILED, "acme/api: commits: Bitbucket answered 503; try again later"),
    ({"status@hooks": "502"}, FAILED, "acme/api: hooks: Bitbucket answered 502; try again later"),
    ({"reset": "1000"}, FAILED, "no whole answer from 127.0.0.1 (ReadError); try again later"),
    ({"slow": "1"}, FAILED, "no whole answer from 127.0.0.1 within 0.5 s (ReadTimeout); try again later"),
    ({"clock": "3600"}, WARNING, "s behind the service's; set it by NTP"),
    ({"clock": "-3600"}, WARNING, "s ahead of the service's; set it by NTP"),
    ({"truncate": "1000"}, FAILED, "no whole answer from 127.0.0.1 (RemoteProtocolError); try again later"),
    ({"bad-json": "1000"}, FAILED, "not JSON; try again later"),
    ({"unauthorized": "1"}, FAILED, "and that the API token has not expired"),
    ({"forbidden": "1"}, FAILED, SCOPE),
    ({"forbidden@commits": "1"}, FAILED, SCOPE),
    ({"forbidden@diffstat": "1"}, FAILED, SCOPE),
    ({"forbidden@pullrequests": "1"}, FAILED, "needed scope: read:pullrequest:bitbucket; granted: "),
    ({"scopes": "repository,account"}, FAILED, "needed scope: read:pullrequest:bitbucket; granted: "),
    ({"scopes": "account"}, FAILED, "create a token with the scope that is missing"),
    ({"missing": "1"}, FAILED, "check bitbucket.workspace"),
    ({"missing@diffstat": "1"}, FAILED, RIGHTS),
    ({"removed": "1"}, FAILED, "upgrade releasecopilot-bitbucket"),
    ({"removed@pullrequests": "1"}, FAILED, "or set bitbucket.pull_requests: false"),
    ({"vanished": "HEAD"}, FAILED, "force-pushed away just now: try again"),
    ({"diffstat-555": "*"}, WARNING, "gave up on this diff (555); a scan tells of such commits and stays complete"),
    ({"no-ancestor": "*"}, WARNING, "no common ancestor; a scan tells of such commits and stays complete"),
    ({"next-loop": "1"}, FAILED, "goes in a circle; check bitbucket.api_url, and whether a proxy answers in its place"),
    ({"foreign-next": "http://elsewhere.example/2.0"}, FAILED, "(to 'elsewhere.example'); not followed; check "),
    (
        {"ctx-expiry": "0"},
        FAILED,
        "can no longer be continued (Invalid or expired ctx); a scan goes on from the same place",
    ),
]
#: What spoils nothing, and so is nothing to complain of.
HARMLESS = ["rate-headers=absent", "rate-headers=scaled", "clock=30", "short-pages=1", "no-author-user=1", "null-author=1",
            "fork-gone=1", "order=date-order", "missing@hooks=1", "forbidden@hooks=1",
            "scopes=repository,pullrequest"]  # fmt: skip
#: What concerns clones, deliveries, and repositories without commits: not what the doctor asks of a repository that has some.
ELSEWHERE = {"no-filter", "drop", "duplicate", "reorder", "empty-changes", "empty-repository"}


def test_every_fault_of_the_sandbox_is_tried() -> None:
    """One that is added there is added here."""
    tried = {name.partition("@")[0] for faults, _, _ in NOTICED for name in faults}
    tried |= {re.split("[@=]", text)[0] for text in HARMLESS}
    assert tried | ELSEWHERE == set(FAULTS)


@pytest.mark.parametrize(("faults", "code", "text"), NOTICED, ids=[" ".join(faults) for faults, _, _ in NOTICED])
def test_each_fault_is_one_line_with_a_remedy(
    doctor: Any, workspace: Any, faults: dict[str, str], code: int, text: str
) -> None:
    """What the service refuses ends neither the doctor nor its other checks, and the exit code tells."""
    api = workspace.workspace_repository("api")
    api.history("main", [1.0] * 4)
    for name, value in faults.items():
        workspace.sandbox.set_fault(name, str(api.head("main")) if value == "HEAD" else value)
    found = doctor()
    assert found[0] == code
    assert set(found[1]) == {SERVICE}
    assert any(text in line for line in found[1][SERVICE]), found
    assert not any("%7B" in line for line in found[1][SERVICE])


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_spoils_nothing_is_no_complaint(doctor: Any, workspace: Any, fault: str) -> None:
    """Neither authors without an account nor short pages, nor a clock that is half a minute off."""
    workspace.workspace_repository("api").history("main", [1.0] * 4)
    workspace.sandbox.set_fault(*fault.split("="))
    assert doctor() == (0, {})


@pytest.mark.parametrize("answer", ["200", "404"])
def test_empty_repository_is_no_complaint(doctor: Any, workspace: Any, answer: str) -> None:
    """Neither beside one that has commits, nor alone."""
    workspace.sandbox.set_fault("empty-repository", answer)
    workspace.add("empty")
    assert doctor() == (0, {})
    shutil.rmtree(workspace.repositories / "api.git")
    assert doctor() == (0, {})


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
    assert (code, "'amce' is not found, or" in found[SERVICE][0]) == (1, True)


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
        ("UPDATE runs SET status = 'running'", "1 runs were killed; the next scan marks them abandoned"),
    ],
    ids=["stale branch", "open walk", "killed run"],
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


def test_database_that_cannot_be_opened_is_found(doctor: Any) -> None:
    """A folder of that name ends as a file does whose folder may only be read; the record is not complained of as well."""
    Path("commits.db").mkdir()
    code, found = doctor()
    assert code == 1
    assert found == {DATABASE: ["commits.db: unable to open database file; make the file and its folder writable"]}


def test_little_room_is_told(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan on a full disk fails; the warning comes before. What is little is raised here, as no disk is that large."""
    from releasecopilot_core.builtin.sqlite_store import checks

    assert checks._space(database).status == "ok"
    monkeypatch.setattr(checks, "ROOM", 1e15)
    finding = checks._space(database)
    assert (finding.status, "make room before the next scan" in finding.text) == ("warning", True)


def test_little_room_for_artifacts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be on another disk than the database."""
    from releasecopilot_core import Ingestor, Settings, _checks

    with Ingestor(Settings({"artifacts": str(tmp_path)})) as ingestor:
        assert [finding.status for finding in _checks._artifacts(ingestor, "bitbucket")] == ["ok"]
        monkeypatch.setattr(_checks, "ROOM", 1e15)
        (finding,) = _checks._artifacts(ingestor, "bitbucket")
    assert (finding.status, "make room before the next scan" in finding.text) == ("warning", True)


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
