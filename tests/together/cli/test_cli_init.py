"""`rc init` writes a settings file that loads and scans, from flags or by asking."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

USER = "bot@acme.example"


def read(shell: Any, name: str = "config/settings.yaml") -> Any:
    return yaml.safe_load((shell.folder / name).read_text(encoding="utf-8"))


def test_flags_write_settings_that_scan(empty_shell: Any, workspace: Any) -> None:
    """What the flags say is what a scan does; the secret itself is not asked for."""
    api = workspace.add("api")
    base = api.commit("main", "RC-1")
    release = api.commit("release/1.0", "MOB-2", parents=[base])
    api.commit("feature/x", "RC-3", parents=[base])
    flags = ("--workspace", "acme", "--username", USER, "--api-url", workspace.sandbox.url)
    done = empty_shell.rc("init", *flags, "--branches", "main release/*", "--projects", "RC, MOB",
                          "--token-variable", "SANDBOX_TOKEN")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Wrote config/settings.yaml. Next: ")
    assert read(empty_shell) == {
        "bitbucket": {
            "workspace": "acme",
            "default_branches": ["main", "release/*"],
            "credentials": {"username": USER, "api_token": "${SANDBOX_TOKEN}"},
            "api_url": workspace.sandbox.url,
        },
        "story_keys": {"projects": ["RC", "MOB"]},
    }
    assert empty_shell.scan().code == 0
    (document,) = empty_shell.documents("artifacts/issues/wave3/bitbucket")
    assert {entry["hash"] for entry in document["payload"]} == {base, release}


def test_answers_write_the_same_as_flags(empty_shell: Any) -> None:
    """On a terminal it asks for what no flag says; an empty answer takes the default that is shown."""
    url = "https://api.acme.example/2.0"
    done, screen = empty_shell.on_terminal("init", "--api-url", url, typed=f"acme\n{USER}\n\n\n")
    assert done.code == 0, screen
    assert "Workspace (the slug in bitbucket.org/SLUG): " in screen
    assert "[BITBUCKET_API_TOKEN]" in screen
    assert url not in screen
    flags = ("--workspace", "acme", "--username", USER, "--api-url", url, "--config", "flags.yaml")
    assert empty_shell.rc("init", *flags).code == 0
    assert read(empty_shell) == read(empty_shell, "flags.yaml")


def test_ending_the_questions_writes_nothing(empty_shell: Any) -> None:
    """The end of the input, in the middle of the questions, leaves no file."""
    done, _ = empty_shell.on_terminal("init", typed="acme\n\x04")
    assert (done.code, empty_shell.entries()) == (130, set())


def test_without_terminal_a_missing_answer_is_named(empty_shell: Any) -> None:
    """Nobody can be asked: one line that names the flag."""
    done = empty_shell.rc("init")
    assert (done.code, empty_shell.entries()) == (2, set())
    assert done.problem.startswith("--workspace is needed: ")


def test_existing_file_is_kept_unless_forced(empty_shell: Any) -> None:
    """A file that is there is not overwritten without --force."""
    flags = ("init", "--workspace", "acme", "--username", USER)
    assert empty_shell.rc(*flags).code == 0
    before = (empty_shell.folder / "config/settings.yaml").read_bytes()
    done = empty_shell.rc("init", "--workspace", "other", "--username", USER)
    assert (done.code, done.problem) == (2, "config/settings.yaml: is there already; --force overwrites it")
    assert (empty_shell.folder / "config/settings.yaml").read_bytes() == before
    assert empty_shell.rc("init", "--workspace", "other", "--username", USER, "--force").code == 0
    assert read(empty_shell)["bitbucket"]["workspace"] == "other"


@pytest.mark.parametrize("answer", ['a: "b', "#1", "ünï: [", "${HOME}"])
def test_odd_answers_are_read_back_as_they_were_given(empty_shell: Any, answer: str) -> None:
    """Whatever is typed stays one value of the file."""
    assert empty_shell.rc("init", "--workspace", answer, "--username", USER).code == 0
    assert read(empty_shell)["bitbucket"]["workspace"] == answer


@pytest.mark.parametrize("projects", ["rc", "x: y", "{}", "RC, 'M"])
def test_projects_that_no_scan_would_take_are_refused(empty_shell: Any, projects: str) -> None:
    """They are told now, and not at the first scan."""
    done = empty_shell.rc("init", "--workspace", "acme", "--username", USER, "--projects", projects)
    assert (done.code, empty_shell.entries()) == (2, set())
    assert done.problem.startswith(("the answers: story_keys", "an answer cannot be written as YAML"))


def test_place_that_cannot_be_written(empty_shell: Any) -> None:
    """One line says where and why."""
    (empty_shell.folder / "file").write_text("no folder")
    done = empty_shell.rc("init", "--workspace", "acme", "--username", USER, "--config", "file/settings.yaml")
    assert done.code == 2
    assert done.problem.startswith("file/settings.yaml: cannot be written (")
