"""Bare repositories with made histories, written by `git fast-import`: thousands of commits in a second."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
_FILES = 50

#: A date outside any window.
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def git(path: Path, *arguments: str) -> str:
    """Return what a git command prints about a repository, without its last line feed; no settings of the user apply.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = ["git", f"--git-dir={path}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT).stdout.strip()


def make(path: Path) -> None:
    """Make an empty bare repository whose main branch is `main`."""
    git(path, "init", "--quiet", "--bare", "--initial-branch=main", "--template=")


def extend(path: Path, branch: str, dates: Iterable[datetime], *, start: str | None = None) -> None:
    """Add one commit for each date, oldest first, to a branch; a new one begins at the branch `start`, or at nothing."""
    head = _head(path, branch) or (start and _head(path, start))
    parts = []
    for number, date in enumerate(dates):
        text = f"RC-{number // 10 + 1} Change {number} on {branch}\n".encode()
        stamp = f"{int(date.timestamp())} +0000"
        parts.append(
            f"commit refs/heads/{branch}\ncommitter Ann <ann@acme.example> {stamp}\ndata {len(text)}\n".encode()
        )
        parts += [text, f"from {head}\n".encode() if head and number == 0 else b""]
        for place in (number % _FILES, (number * 7 + 1) % _FILES):
            content = f"{branch} {number} {stamp}\n".encode()
            parts.append(f"M 100644 inline src/file_{place}.py\ndata {len(content)}\n".encode() + content + b"\n")
    feed(path, parts)


def feed(path: Path, commands: Iterable[bytes]) -> None:
    """Give commands to `git fast-import` as they come; it does not compress what it writes, which is a third faster."""
    command = ["git", f"--git-dir={path}", "-c", "core.compression=0", "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=_ENVIRONMENT) as process:
        if process.stdin is not None:
            process.stdin.writelines(commands)
            process.stdin.close()
    if process.returncode:
        raise RuntimeError(f"{path}: git fast-import failed, exit code {process.returncode}")


def pack(path: Path) -> None:
    """Pack a repository anew and with care, as a server does before it hands one out."""
    git(path, "repack", "-a", "-d", "-F", "-q")


def cut(path: Path, whole: Path, ref: str) -> None:
    """Make a bare repository whose main branch ends at a ref of another one; its objects are read there."""
    make(path)
    alternates = path / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{whole / 'objects'}\n", encoding="utf-8")
    git(path, "update-ref", "refs/heads/main", git(whole, "rev-parse", ref))


def spread(newest: datetime, count: int, apart: timedelta) -> list[datetime]:
    """Return so many dates, oldest first, that end at `newest`."""
    return [newest - apart * number for number in reversed(range(count))]


def _head(path: Path, branch: str) -> str | None:
    try:
        return git(path, "rev-parse", "--quiet", "--verify", f"refs/heads/{branch}")
    except subprocess.CalledProcessError:
        return None  # there is no such branch yet
