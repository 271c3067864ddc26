"""Bare repositories with made histories, written by `git fast-import`: thousands of commits in a second."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
_FILES = 50


def make(path: Path) -> None:
    """Make an empty bare repository whose main branch is `main`."""
    command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)]
    subprocess.run(command, check=True, env=_ENVIRONMENT)


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
    command = ["git", f"--git-dir={path}", "fast-import", "--quiet"]
    subprocess.run(command, input=b"".join(parts), check=True, env=_ENVIRONMENT)


def spread(newest: datetime, count: int, apart: timedelta) -> list[datetime]:
    """Return so many dates, oldest first, that end at `newest`."""
    return [newest - apart * number for number in reversed(range(count))]


def _head(path: Path, branch: str) -> str | None:
    command = ["git", f"--git-dir={path}", "rev-parse", "--quiet", "--verify", f"refs/heads/{branch}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=_ENVIRONMENT)
    return found.stdout.strip() or None
