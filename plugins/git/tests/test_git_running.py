"""Running git: a git that is missing or too old, what it says when it fails, and no secret where others can read it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from releasecopilot_git.environment import network_environment, reading_environment, without_userinfo
from releasecopilot_git.running import (
    GitError,
    GitUnavailable,
    Processes,
    require_git,
)
from releasecopilot_git.testing import Repository

from releasecopilot_core.errors import SourceError


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a `git` of its own in front of all others, or none at all."""

    def put(script: str | None, *, alone: bool = False) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        if script is not None:
            (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
            (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder) if alone else f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


def test_git_that_is_there_will_do(processes: Processes) -> None:
    """The tests themselves need one."""
    require_git(processes)


def test_missing_git(processes: Processes, pretend: Any) -> None:
    """One line says what to install."""
    pretend(None, alone=True)
    with pytest.raises(GitUnavailable, match=r"^git is not installed, or not on the PATH; install git 2.32 or later$"):
        require_git(processes)


@pytest.mark.parametrize(("said", "problem"), [
    ("git version 2.25.1", "git 2.25 is too old; install git 2.32 or later"),
    ("git version 1.8.3.1", "git 1.8 is too old; install git 2.32 or later"),
    ("what?", "the git on the PATH does not tell its version ('what?'); reinstall git"),
])  # fmt: skip
def test_old_git(processes: Processes, pretend: Any, said: str, problem: str) -> None:
    """One line says which it is and what to install."""
    pretend(f"echo '{said}'")
    with pytest.raises(GitUnavailable) as caught:
        require_git(processes)
    assert str(caught.value) == problem


@pytest.mark.parametrize("said", ["git version 2.32.0", "git version 2.39.5 (Apple Git-154)", "git version 3.0.rc1"])
def test_newer_git(processes: Processes, pretend: Any, said: str) -> None:
    """Versions are compared as numbers, whatever stands behind them."""
    pretend(f"echo '{said}'")
    require_git(processes)


def test_git_that_cannot_be_run(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the right to run it, too, is one line."""
    (tmp_path / "git").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitUnavailable, match=r"git cannot be run \(Permission denied\); install git"):
        require_git(processes)


def test_failure_is_one_line_in_gits_words(repository: Repository, read: Any) -> None:
    """The `fatal:` line is told, and which command it was."""
    with pytest.raises(GitError, match=r"^git cat-file failed: Not a valid object name nowhere$"):
        read(repository).run("cat-file", "-p", "nowhere")


def test_killed_git_is_told_as_such(processes: Processes, pretend: Any) -> None:
    """Somebody else may end it."""
    pretend("kill -9 $$")
    with pytest.raises(GitError, match="^git version failed: ended by signal 9$"):
        processes.run(["version"], reading_environment())


def test_what_git_starts_ends_with_it(processes: Processes, pretend: Any, tmp_path: Path) -> None:
    """Nothing that it has started goes on when the caller stops reading."""
    pretend(f"(trap '' PIPE; while :; do echo x >> {tmp_path}/alive; sleep 0.02; done) & echo started; wait")
    output = processes.stream(["log"], reading_environment())
    assert next(output) == b"started\n"
    deadline = time.monotonic() + 10
    while not (tmp_path / "alive").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    output.close()
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.2)
    assert (tmp_path / "alive").stat().st_size == size


def test_nothing_is_started_after_close(pretend: Any) -> None:
    """A source that was closed asks git nothing more."""
    processes = Processes()
    processes.close()
    with pytest.raises(SourceError, match="stopped"):
        processes.run(["version"], reading_environment())


def test_settings_travel_in_the_environment(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given is on top of what the caller's environment gives, and git itself understands both."""
    given = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": "X-Mine: 1",
             "GIT_CONFIG_KEY_1": "user.name", "GIT_CONFIG_VALUE_1": "Ann"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = network_environment([("user.name", "Bob"), ("http.extraHeader", "X-Ours: 2")])
    told = processes.run(["config", "--get-all", "http.extraHeader"], environment).decode().splitlines()
    assert told == ["X-Mine: 1", "X-Ours: 2"]
    assert processes.run(["config", "--get", "user.name"], environment) == b"Bob\n"


def test_ways_to_servers_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, certificates and ssh stay; other repositories and traces, which might show a secret, do not."""
    for name in (
        "ASKPASS",
        "SSH_COMMAND",
        "SSL_CAINFO",
        "CONFIG_GLOBAL",
        "DIR",
        "TRACE_CURL",
        "TRACE",
        "CURL_VERBOSE",
        "WORK_TREE",
    ):
        monkeypatch.setenv(f"GIT_{name}", "x")
    kept = {name for name, value in network_environment([]).items() if name.startswith("GIT_") and value == "x"}
    assert kept == {"GIT_ASKPASS", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL"}
    assert network_environment([])["GIT_TERMINAL_PROMPT"] == "0"


@pytest.mark.parametrize(("text", "shown"), [
    ("https://bot:s3cret@git.example.com/a.git", "https://git.example.com/a.git"),
    ("fatal: unable to access 'https://s3cret@h/x/': no", "fatal: unable to access 'https://h/x/': no"),
    ("ssh://git@h/x and git@h:x", "ssh://h/x and git@h:x"),
    ("file:///srv/a@b.git", "file:///srv/a@b.git"),
])  # fmt: skip
def test_addresses_are_shown_without_users(text: str, shown: str) -> None:
    """A user in an address may be a token."""
    assert without_userinfo(text) == shown


def test_git_that_reads_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens in variables stay out; helpers of the user may see what they need, unless they are not asked."""
    for name in ("BITBUCKET_API_TOKEN", "ssh_auth_sock", "https_proxy"):
        monkeypatch.setenv(name, "x")
    seen = [
        {name for name, value in environment.items() if value == "x"}
        for environment in (reading_environment(), network_environment([], asks=False), network_environment([]))
    ]
    assert seen == [set(), {"ssh_auth_sock", "https_proxy"}, {"BITBUCKET_API_TOKEN", "ssh_auth_sock", "https_proxy"}]
