"""Leases: who works on something now, so that two processes do not do the same twice."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime, timedelta

from .runs import is_alive
from .writing import now, stamp


def take(db: sqlite3.Connection, name: str, holder: str, seconds: float) -> bool:
    """Take or prolong a lease inside the caller's transaction; false when another live holder has it."""
    row = db.execute("SELECT holder, host, pid, expires_at FROM leases WHERE name = ?", (name,)).fetchone()
    if row is not None and row[0] != holder:
        _, host, pid, expires_at = row
        dead = host == platform.node() and not is_alive(pid)
        if not dead and expires_at > now():
            return False
    expires = stamp(datetime.now(UTC) + timedelta(seconds=seconds))
    db.execute(
        "INSERT INTO leases (name, holder, host, pid, expires_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
        "SET holder = excluded.holder, host = excluded.host, pid = excluded.pid, expires_at = excluded.expires_at",
        (name, holder, platform.node(), os.getpid(), expires),
    )
    return True


def release(db: sqlite3.Connection, name: str, holder: str) -> None:
    """Give a lease back, if the holder still has it."""
    db.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))
