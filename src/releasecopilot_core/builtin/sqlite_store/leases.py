"""Leases: who works on something now, so that two processes do not do the same twice."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime, timedelta

from . import processes
from .writing import now, stamp


def take(db: sqlite3.Connection, name: str, holder: str, seconds: float) -> bool:
    """Take or prolong a lease inside the caller's transaction; false when another live holder has it."""
    sql = "SELECT holder, host, pid, process, expires_at FROM leases WHERE name = ?"
    row = db.execute(sql, (name,)).fetchone()
    if row is not None and row[0] != holder:
        _, host, pid, process, expires_at = row
        dead = host == platform.node() and not processes.is_alive(pid, process)
        if not dead and expires_at > now():
            return False
    expires = stamp(datetime.now(UTC) + timedelta(seconds=seconds))
    db.execute(
        "INSERT INTO leases (name, holder, host, pid, process, expires_at) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, host = excluded.host, pid = excluded.pid, "
        "process = excluded.process, expires_at = excluded.expires_at",
        (name, holder, platform.node(), os.getpid(), processes.own(), expires),
    )
    return True


def release(db: sqlite3.Connection, name: str, holder: str) -> None:
    """Give a lease back, if the holder still has it."""
    db.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))
