"""Run git: processes that end when nobody reads them any more, and one repository to be read."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO

import attrs

from releasecopilot_core.errors import SourceError

from .environment import reading_environment, without_userinfo

#: `--diff-merges=first-parent` and configuration by environment came with 2.31, GIT_CONFIG_GLOBAL with 2.32.
MINIMUM = (2, 32)

#: Bytes that are read from git at a time: their fields take four times as much memory.
BLOCK = 1 << 18

#: Bytes that git may be ahead of us.
AHEAD = 1 << 20

#: Longest text of git's own that goes into a message, in characters.
_SAID = 300

#: Stands in front of every command that reads. A repository that is not bare would have git believe the attributes of
#: whatever is checked out; one of the two ways to say "bare" is not enough where its own settings deny it.
_OPTIONS = ("--bare", "-c", "core.bare=true", "-c", f"core.attributesFile={os.devnull}", "--literal-pathspecs")


class GitError(SourceError):
    """git failed at something; the message has its own words."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="git")


class GitUnavailable(SourceError):
    """There is no git to run, or it is too old."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="git")


class Processes:
    """Starts git; thread-safe. `close` ends what is still running, whichever thread waits for it.

    `requests` counts how often a server was asked.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def running(self) -> int:
        """How many processes are at work."""
        with self._lock:
            return len(self._running)

    def close(self) -> None:
        """Kill what runs and start nothing more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def count_request(self) -> None:
        """Count that a server is asked."""
        with self._lock:
            self.requests += 1

    def stream(
        self, arguments: Sequence[str], environment: dict[str, str], *, folder: Path | None = None, given: bytes = b""
    ) -> Generator[bytes]:
        """Yield what git prints, in blocks as they come; when the caller stops, git is ended.

        `given` is its standard input.

        Raises:
            GitUnavailable: it cannot be started.
            GitError: it failed; what was yielded before may be cut off anywhere.
            SourceError: it was ended by `close`.
        """
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as errors:
            asked.write(given)
            asked.seek(0)
            process = self._start(arguments, environment, folder, asked, errors)
            try:
                assert process.stdout is not None  # noqa: S101  (it is a pipe, as `_start` asks for)
                while block := process.stdout.read(BLOCK):
                    yield block
                code = process.wait()
            finally:
                self._end(process)
            if code:
                self._refuse(arguments, code, errors)

    def run(
        self, arguments: Sequence[str], environment: dict[str, str], *, folder: Path | None = None, given: bytes = b""
    ) -> bytes:
        """Return all that git prints; see `stream`."""
        return b"".join(self.stream(arguments, environment, folder=folder, given=given))

    def _start(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        folder: Path | None,
        asked: IO[bytes],
        errors: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise SourceError("the scan was stopped", kind="stopped")
            try:
                process = subprocess.Popen(
                    ["git", *arguments],
                    cwd=folder,
                    env=environment,
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    bufsize=0,
                    pipesize=AHEAD,
                    # Ctrl-C reaches us only, and we end it; without a terminal nothing below it can ask questions.
                    start_new_session=True,
                )
            except OSError as error:
                raise GitUnavailable(_unavailable(error, folder)) from error
            self._running.add(process)
            return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            _kill(process)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        with self._lock:
            self._running.discard(process)

    def _refuse(self, arguments: Sequence[str], code: int, errors: IO[bytes]) -> None:
        if self._closed:
            raise SourceError("the scan was stopped", kind="stopped")
        said = _said(errors) or (f"ended by signal {-code}" if code < 0 else f"exit code {code}")
        raise GitError(f"git {_command(arguments)} failed: {said}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Those that it started, too (git-remote-https): all are in one session of their own.
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _unavailable(error: OSError, folder: Path | None) -> str:
    if folder is not None and not folder.is_dir():
        return f"{folder}: no such folder any more; run the scan again"
    if isinstance(error, FileNotFoundError):
        return f"git is not installed, or not on the PATH; install git {_dotted(MINIMUM)} or later"
    return f"git cannot be run ({error.strerror or error}); install git {_dotted(MINIMUM)} or later"


def _command(arguments: Sequence[str]) -> str:
    """Return git's subcommand, which is the first argument that is no option of git itself."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-c":
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return ""


def _said(errors: IO[bytes]) -> str:
    """Return git's complaint as one line: its `fatal:` line, else the last one; without credentials of an address."""
    errors.seek(0)
    text = errors.read(1 << 16).decode("utf-8", "replace")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    remote = [line for line in lines if line.startswith("remote:") and line != "remote:"]
    said = "; ".join([*remote[-1:], *(fatal[:1] or lines[-1:])]) if remote or lines else ""
    return without_userinfo(said.replace("fatal: ", ""))[:_SAID]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def require_git(processes: Processes) -> str:
    """Return git's version, which is new enough.

    Raises:
        GitUnavailable: there is none, or it is too old; the message says what to install.
    """
    said = processes.run(["version"], reading_environment()).decode("utf-8", "replace").strip()
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None:
        raise GitUnavailable(f"the git on the PATH does not tell its version ({said[:80]!r}); reinstall git")
    if (int(match[1]), int(match[2])) < MINIMUM:
        raise GitUnavailable(f"git {match[0]} is too old; install git {_dotted(MINIMUM)} or later")
    return match[0]


@attrs.frozen
class Git:
    """One repository, to be read; `directory` is its git directory.

    Paths of repositories are trusted to be read: whoever owns them, git's ownership check is not asked, since no command
    that is run here executes anything a repository brings along.
    """

    directory: Path
    processes: Processes = attrs.field(repr=False, eq=False)

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """Return what a git command prints."""
        return b"".join(self.stream(*arguments, given=given))

    def stream(self, *arguments: str, given: bytes = b"") -> Generator[bytes]:
        """Yield what a git command prints; see `Processes.stream`."""
        command = [*_OPTIONS, f"--git-dir={self.directory}", *arguments]
        return self.processes.stream(command, reading_environment(), folder=self.directory.parent, given=given)

    def kinds(self, shas: Sequence[str]) -> list[str]:
        """Return for each sha what it is here (`commit`, `tag`, `tree`, `blob`), or `missing`."""
        if not shas:
            return []
        given = "".join(f"{sha}\n" for sha in shas).encode("utf-8", "replace")
        answers = self.run("cat-file", "--batch-check=%(objecttype)", given=given).decode("utf-8", "replace")
        return [answer.rsplit(" ", 1)[-1] for answer in answers.split("\n")[:-1]]
