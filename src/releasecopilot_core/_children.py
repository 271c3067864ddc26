"""Run a small program, with an environment that holds no secret."""

from __future__ import annotations

import os
import subprocess

#: What programs need to run, git among them; tokens and passwords are in variables of other names.
_NEEDED = frozenset(
    {"PATH", "PATHEXT", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE"}
    | {"GIT_DIR", "GIT_WORK_TREE", "GIT_CEILING_DIRECTORIES"}
)


def output_of(*command: str, seconds: float = 10.0) -> str | None:
    """Return what a command prints, stripped; `None` if it fails, is not there, or takes too long."""
    environment = {name: value for name, value in os.environ.items() if name.upper() in _NEEDED}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
