"""Questions in a folder without a settings file: which database they are about."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

COMMANDS = (["stories"], ["commits"], ["runs", "list"], ["deliveries", "list"])
every = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@pytest.fixture
def place(scanned: Any, empty_shell: Any) -> Any:
    """Return a shell in whose folder a function puts a database that a scan of some source would have written."""

    def put(source: str) -> Path:
        file = Path("data") / source / "commits.db"
        (empty_shell.folder / file).parent.mkdir(parents=True)
        shutil.copy(scanned.folder / "commits.db", empty_shell.folder / file)
        return file

    empty_shell.put = put
    return empty_shell


@every
def test_only_database_below_the_folder_is_meant(place: Any, command: list[str]) -> None:
    """One line on stderr names it; stdout is what it would be with --database."""
    file = place.put("git")
    (place.folder / "data" / "empty").mkdir()
    done = place.rc(*command, "--json")
    assert (done.code, done.err) == (0, f"rc: no settings file; this is {file}\n")
    assert done.json == place.rc(*command, "--json", "--database", file).json


@every
def test_several_databases_are_named(place: Any, command: list[str]) -> None:
    """The error lists them; --source chooses among them as --database does, and says nothing."""
    files = [place.put(source) for source in ("git", "bitbucket")]
    done = place.rc(*command)
    assert done.code == 2
    assert done.problem == (
        "config/settings.yaml: no settings file, and several databases; choose one with --database: "
        "data/bitbucket/commits.db, data/git/commits.db"
    )
    chosen = place.rc(*command, "--json", "--source", "git")
    assert (chosen.code, chosen.err) == (0, "")
    assert chosen.json == place.rc(*command, "--json", "--database", files[0]).json


@every
def test_no_database_is_told(empty_shell: Any, command: list[str]) -> None:
    """The line says where one was looked for and what to do; nothing is written."""
    done = empty_shell.rc(*command)
    assert done.code == 2
    assert done.problem == (
        "config/settings.yaml: no settings file, and no database data/*/commits.db; "
        "scan first, or name one with --config or --database"
    )
    assert "data/git/commits.db: no such database" in empty_shell.rc(*command, "--source", "git").problem
    assert empty_shell.entries() == set()


def test_scan_without_settings_is_asked_about_without_any(workspace: Any, empty_shell: Any) -> None:
    """What `rc ingest git-scan` says to type next works as it stands."""
    api = workspace.add("api")
    for number in range(15):
        api.commit("main", f"RC-{number + 1} work")
    done = empty_shell.rc("ingest", "git-scan", api.path, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert len(empty_shell.rc("stories", "--hours", "4", "--json").json) == 15


def test_what_was_named_is_taken(place: Any) -> None:
    """A settings file, a named one and the environment win over what lies around."""
    place.put("git")
    other = place.put("other")
    done = place.rc("runs", "list", "--json", RC_DATABASE=str(other))
    assert (done.code, done.err, len(done.json)) == (0, "", 1)
    assert "elsewhere.db: no such database" in place.rc("stories", RC_DATABASE="elsewhere.db").problem
    assert "named.yaml: no such settings file" in place.rc("stories", "--config", "named.yaml").problem
    place.configure({"bitbucket": {"workspace": "acme"}})
    assert "data/bitbucket/commits.db: no such database" in place.rc("stories").problem


def test_environment_counts_beside_a_named_database(scanned: Any, empty_shell: Any) -> None:
    """Key rules that were set there are those of the question, as they were those of the scan."""
    database = scanned.folder / "commits.db"
    assert empty_shell.rc("stories", "--database", database).err == ""
    told = empty_shell.rc("stories", "--database", database, RC_STORY_KEYS__PROJECTS="[RC]").err
    assert told == "rc: the story-key rules have changed since keys were stored; run `rc rekey`\n"


def test_commands_that_change_keys_want_to_be_told(place: Any) -> None:
    """Writing to a database that merely lies there would be too much."""
    place.put("git")
    assert "no settings file" in place.rc("rekey", "--yes").problem
