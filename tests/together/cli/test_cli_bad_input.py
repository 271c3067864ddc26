"""Bad input gets one clear line on stderr and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import CommitStorage

SETTINGS = "bitbucket:\n  workspace: acme\n"


def assert_refused(done: Any, *words: str) -> None:
    """Check exit code, silence on stdout, and one line that says all these words."""
    assert done.code == 2, done
    for word in words:
        assert word in done.problem


# --- settings ------------------------------------------------------------------------------------------------


def test_no_settings_file(empty_shell: Any) -> None:
    """The line names the file that was looked for and the command that writes one."""
    assert_refused(empty_shell.scan(), "config/settings.yaml: no settings file", "`rc init`", "--config")
    assert_refused(empty_shell.scan("--config", "other.yaml"), "other.yaml: no such settings file")
    assert_refused(empty_shell.rc("stories"), "config/settings.yaml: no settings file")
    assert empty_shell.entries() == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{SETTINGS}  repositores: [api]\n", "bitbucket.repositores: unknown key; did you mean 'repositories'?"),
        (f"{SETTINGS}  repositories: api\n", "bitbucket.repositories: expected a list"),
        (f"{SETTINGS}  concurrency: many\n", "bitbucket.concurrency: expected"),
        (f"{SETTINGS}databse: x.db\n", "databse: unknown key; did you mean 'database'?"),
        (f"{SETTINGS}database: [x.db]\n", "database: expected text"),
        (f"{SETTINGS}story_keys: {{project: [RC]}}\n", "story_keys.project: unknown key; did you mean 'projects'?"),
        (f"{SETTINGS}  credentials: {{access_token: '${{UNSET_TOKEN}}'}}\n", "UNSET_TOKEN is not set"),
        (f"{SETTINGS}  credentials: {{access_token: 'file:no/such/secret'}}\n", "no/such/secret: cannot read"),
        (f"{SETTINGS}  api_url: not-an-address\n", "api_url must be an address such as"),
        (f"{SETTINGS}bitbucket: {{}}\n", "not valid YAML in line 3, column 1: 'bitbucket' is there twice"),
        (f"{SETTINGS}story_keys: {{1: 2, two: 3}}\n", "story_keys.1: unknown key"),
        (f"{SETTINGS}webhooks: {{keep_days: 0}}\n", "webhooks: keep_days must be above 0"),
        (f"{SETTINGS}story_keys: no\n", "story_keys: expected keys and values, not False"),
        ("bitbucket: {}\n", "bitbucket.workspace"),
        ("bitbucket: [\n", "not valid YAML in line"),
        ("- bitbucket\n", "expected keys and values at the top"),
    ],
)
def test_wrong_settings(empty_shell: Any, text: str, words: str) -> None:
    """The line names the file, the path inside it, the fault and the likely fix."""
    config = empty_shell.folder / "config"
    config.mkdir()
    (config / "settings.yaml").write_text(text)
    before = empty_shell.entries()
    assert_refused(empty_shell.scan(), "config/settings.yaml: ", words)
    assert empty_shell.entries() == before


def test_wrong_environment_variable(shell: Any) -> None:
    """A setting that comes from the environment is refused like one of the file."""
    before = shell.entries()
    assert_refused(shell.scan(RC_BITBUCKET__CONCURRENCY="many"), "bitbucket.concurrency")
    assert_refused(shell.scan(RC_BITBUCKET__REPOSITORIES="[api"), "RC_BITBUCKET__REPOSITORIES")
    assert shell.entries() == before


# --- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "-inf", "1e30", "abc"])
def test_hours_that_are_no_length_of_time(shell: Any, hours: str) -> None:
    """Zero, negative, endless and no numbers are refused before anything is opened."""
    before = shell.entries()
    assert_refused(shell.scan("--hours", hours), "hours")
    assert shell.entries() == before


@pytest.mark.parametrize(
    ("question", "hours"), [("stories", "nan"), ("stories", "1e30"), ("commits", "0"), ("commits", "-1")]
)
def test_hours_of_a_question(scanned: Any, question: str, hours: str) -> None:
    """Questions take the same lengths of time as scans."""
    assert_refused(scanned.rc(question, "--hours", hours), "--hours", "is not a number above 0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest", "bitbucket-scan", "--fulll"], ("'--fulll'", "'--full'", "`rc ingest bitbucket-scan --help`")),
        (["ingest", "bitbucket-scan", "main"], ("extra argument", "main")),
        (["ingest", "bitbucket-scan", "--hours"], ("'--hours' requires an argument",)),
        (["ingest", "bitbucket-scan", "--files", "gti"], ("'gti'", "'git'", "'none'")),
        (["ingest", "bitbucket-scan", "--repos", "--full"], ("--repos needs at least one name",)),
        (["ingest", "bitbucket-scan", "--branches"], ("--branches needs at least one name",)),
        (["ingest", "bitbucket-scan", "--repos", ""], ("--repos needs at least one name",)),
        (["ingest", "bitbucket-scan", "--repos", "api", "\udcff"], ("--repos: not text in this terminal's encoding",)),
        (["ingest", "bitbucket-scan", "--database", "sqlite:"], ("sqlite: names no file",)),
        (["ingest", "bitbuckt-scan"], ("no command 'bitbuckt-scan'; did you mean 'bitbucket-scan'?",)),
        (["ingest", "bitbucket"], ("no command 'bitbucket'; did you mean 'bitbucket-scan'?",)),
        (["ingets"], ("no command 'ingets'; did you mean 'ingest'?", "`rc --help`")),
        (
            ["xyz"],
            (
                "no command 'xyz'; there are: commits, ",
                "ingest, init",
            ),
        ),
        (["commits", "--story", "RC-1", "--unassigned"], ("--story and --unassigned exclude each other",)),
        (["commits", "--json", "--csv"], ("--json and --csv exclude each other",)),
        (["runs", "list", "--limit", "0"], ("--limit",)),
        (["runs", "list", "--limit", "99999999999999999999"], ("--limit",)),
        (["stories"], ("commits.db: no such database; scan first",)),
        (["rekey"], ("commits.db: no such database; scan first",)),
    ],
    ids=" ".join,
)
def test_wrong_arguments(shell: Any, arguments: list[str], words: tuple[str, ...]) -> None:
    """The line says what is wrong with the command, and what was probably meant."""
    before = shell.entries()
    assert_refused(shell.rc(*arguments), *words)
    assert shell.entries() == before


@pytest.mark.parametrize("group", [[], ["ingest"], ["runs"]], ids=lambda group: f"rc {' '.join(group)}")
def test_group_without_a_command_shows_its_help(empty_shell: Any, group: list[str]) -> None:
    """Nothing was asked for: the help on stderr, line by line, and exit code 2."""
    done = empty_shell.rc(*group)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Usage: {' '.join(['rc', *group])} [OPTIONS] COMMAND")
    assert "\nCommands:\n" in done.err


# --- what is found out when the service is asked ---------------------------------------------------------------


def test_repository_that_does_not_exist(shell: Any, workspace: Any) -> None:
    """A misspelt name is told, with the closest one; no commit and no artifact is written."""
    workspace.add("api").commit("main", "RC-1")
    words = "--repos: no repository 'apo' in workspace 'acme'; did you mean 'api'?"
    assert_refused(shell.scan("--repos", "apo"), words)
    assert_refused(shell.scan("--repos", "apo", "web-*"), words)
    assert (workspace.stored(), shell.documents()) == (set(), [])


# --- databases and folders -------------------------------------------------------------------------------------


def of_another_program(path: Path) -> None:
    """Make an SQLite database that is not ours."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE invoices (number)")
    db.close()


def of_a_newer_version(path: Path) -> None:
    """Make a database as a later release would leave it."""
    CommitStorage(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("Not a database, but somebody's notes.\n" * 50), "not an SQLite database"),
        (of_another_program, "an SQLite database of another program"),
        (of_a_newer_version, "schema version 999 is newer than this release knows"),
    ],
    ids=["text file", "another program's", "newer"],
)
def test_database_that_is_not_ours(shell: Any, workspace: Any, make: Any, words: str) -> None:
    """It is refused by scans and questions alike, and not a byte of it changes."""
    workspace.add("api").commit("main", "RC-1")
    path = shell.folder / "theirs.db"
    make(path)
    content, before = path.read_bytes(), shell.files()
    for command in (["ingest", "bitbucket-scan"], ["ingest", "bitbucket-scan", "--dry-run"], ["stories"], ["rekey"]):
        assert_refused(shell.rc(*command, "--database", "theirs.db"), "theirs.db: ", words)
    assert (path.read_bytes(), shell.files()) == (content, before)


def test_address_that_no_plugin_opens(shell: Any) -> None:
    """The scheme is named, and nothing else of the address: there may be a password in it."""
    before = shell.files()
    address = "mongodb://me:pa55word@db.acme.example/x"
    assert_refused(shell.scan("--database", address), "no plugin opens 'mongodb' as a database", "`rc plugins`")
    done = shell.rc("stories", "--database", address)
    assert_refused(done, "no plugin opens 'mongodb' as a database")
    assert "pa55word" not in done.err
    assert shell.files() == before


def test_artifact_folder_that_cannot_be_written(shell: Any, workspace: Any) -> None:
    """It is tried before anything is scanned."""
    workspace.add("api").commit("main", "RC-1")
    (shell.folder / "file").write_text("no folder")
    for place in ("file", "file/below"):
        assert_refused(shell.scan("--artifact-dir", place), f"{place}: cannot write artifacts here", "--artifact-dir")
    assert_refused(shell.scan("--artifact-dir", "ftp://acme.example/x"), "no plugin opens 'ftp'")
    assert workspace.sandbox.requests == []


def test_log_folder_that_cannot_be_written(shell: Any, workspace: Any) -> None:
    """A run without its log is not begun."""
    (shell.folder / "file").write_text("no folder")
    before = shell.entries()
    assert_refused(shell.scan(RC_LOGS="file/logs"), "file/logs: cannot write logs here", "`logs`")
    assert (workspace.sandbox.requests, shell.entries()) == ([], before)
