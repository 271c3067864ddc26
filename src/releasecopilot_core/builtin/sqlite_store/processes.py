"""Tell processes of this host apart, also those that get the number of one that died."""

from __future__ import annotations

import functools
import os
import secrets
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def own() -> str:
    """Return the mark of this process: when it started where the platform tells (Linux), else a random text."""
    return _own(os.getpid())


@functools.cache
def _own(pid: int) -> str:
    # By process id: what was forked since has another.
    return started(pid) or f"random {secrets.token_hex(8)}"


def started(pid: int) -> str | None:
    """Return when a process of this host started, as a text that no other process has; `None` where nothing tells.

    That is the boot's id and field 22 of `/proc/PID/stat` (man page proc_pid_stat(5)). A number that is used again, in a
    container that is started anew or after a reboot, comes with another one.
    """
    try:
        ticks = _fields(pid)[19]
        return f"boot {_BOOT_ID.read_text(encoding='ascii').strip()} tick {ticks}"
    except (OSError, IndexError):
        return None


def is_alive(pid: int, mark: str | None) -> bool:
    """Return whether the process of this host that had this number and this mark (`None`: it told none) lives.

    When nobody can tell, it counts as alive.
    """
    if os.name != "posix":
        return True  # elsewhere signal 0 is no question
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # somebody else's process: it may be the one
    if _is_zombie(pid):
        return False
    now = own() if pid == os.getpid() else started(pid)
    return mark is None or now is None or now == mark


def _is_zombie(pid: int) -> bool:
    """Return whether it is dead and its parent has not noticed, as happens in containers without an init."""
    try:
        return _fields(pid)[0] in ("Z", "X")
    except (OSError, IndexError):
        return False


def _fields(pid: int) -> list[str]:
    """Return the fields of a process's `stat` from the third on; the second is its name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
