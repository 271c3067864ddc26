"""`rc rekey` derives all keys anew, after showing what would change."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

STALE = "rc: the story-key rules have changed since keys were stored; run `rc rekey`\n"


@pytest.fixture
def changed(shell: Any, workspace: Any) -> Any:
    """Return a shell whose database was filled by other rules than the settings' present ones."""
    api = workspace.add("api")
    api.commit("main", "RC-1 and MOB-2")
    api.commit("main", "MOB-3 alone")
    assert shell.scan().code == 0
    allow(shell, "RC")
    return shell


def allow(shell: Any, *projects: str) -> None:
    file = shell.folder / "config/settings.yaml"
    values = yaml.safe_load(file.read_text())
    shell.configure({**values, "story_keys": {"projects": list(projects)}})


def keys(workspace: Any) -> set[str]:
    return {key for (key,) in workspace.rows("SELECT story_key FROM commit_story_keys")}


def test_changed_rules_are_announced_and_mended(changed: Any, workspace: Any) -> None:
    """Every command says that keys are stale, on stderr only, until `rc rekey` has been run."""
    for command in (["stories"], ["commits"], ["ingest", "bitbucket-scan", "--quiet"]):
        done = changed.rc(*command)
        assert (done.code, done.err) == (0, STALE)
    done = changed.rc("rekey", "--yes")
    assert (done.code, done.err) == (0, "")
    assert "2 commits would change." in done.out
    assert done.out.endswith("Written.\n")
    assert keys(workspace) == {"RC-1"}
    assert changed.rc("stories").err == ""
    for flag in ("--yes", "--dry-run"):
        assert changed.rc("rekey", flag).out == "Keys are up to date.\n"


def test_dry_run_shows_and_writes_nothing(changed: Any, workspace: Any) -> None:
    """The difference, commit by commit, as a table and as JSON."""
    done = changed.rc("rekey", "--dry-run")
    assert done.code == 0
    assert "MOB-2" in done.out
    assert "MOB-3" in done.out
    difference = changed.rc("rekey", "--dry-run", "--json").json
    assert sorted((d["added"], d["removed"], d["kept"]) for d in difference) == [
        ([], ["MOB-2"], ["RC-1"]),
        ([], ["MOB-3"], []),
    ]
    assert keys(workspace) == {"RC-1", "MOB-2", "MOB-3"}
    assert changed.rc("stories").err == STALE


def test_without_terminal_writing_needs_yes(changed: Any, workspace: Any) -> None:
    """Nobody can be asked: the difference is shown, nothing is written, and the line says what to add."""
    done = changed.rc("rekey")
    assert done.code == 2
    assert done.err == "rc: nothing was written: add --yes to write without being asked (see `rc rekey --help`)\n"
    assert keys(workspace) == {"RC-1", "MOB-2", "MOB-3"}


@pytest.mark.parametrize(("typed", "left"), [("n\n", {"RC-1", "MOB-2", "MOB-3"}), ("y\n", {"RC-1"})])
def test_on_a_terminal_it_asks(changed: Any, workspace: Any, typed: str, left: set[str]) -> None:
    """Only a yes writes."""
    done, screen = changed.on_terminal("rekey", typed=typed)
    assert "Write these keys? [y/N]: " in screen
    assert "Traceback" not in screen
    assert keys(workspace) == left
    assert (done.code == 0) == (left == {"RC-1"})


def test_rules_that_change_no_key_are_settled_by_rekey(shell: Any, workspace: Any) -> None:
    """Nothing differs, so nobody is asked; the new rules count as applied."""
    workspace.add("api").commit("main", "RC-1")
    shell.scan()
    allow(shell, "RC", "MOB")
    assert shell.rc("stories").err == STALE
    assert (shell.rc("rekey").out, shell.rc("stories").err) == ("Keys are up to date.\n", "")
    assert keys(workspace) == {"RC-1"}
