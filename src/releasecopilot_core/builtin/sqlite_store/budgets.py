"""Requests counted by the minute, so that all processes together keep to an hourly budget."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from .writing import stamp

_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


def spend(db: sqlite3.Connection, account: str, limit: int, now: datetime) -> datetime | None:
    """Count one request inside the caller's transaction; returns when there is room again if there is none."""
    minute = now.replace(second=0, microsecond=0)
    # A minute is forgotten as a whole, once its last second is an hour ago: never too early. One that is yet to come was
    # counted by a clock that has been set back since; it would keep everybody waiting until then.
    db.execute(
        "DELETE FROM budgets WHERE account = ? AND (minute <= ? OR minute > ?)",
        (account, stamp(now - _HOUR - _MINUTE), stamp(now + _MINUTE)),
    )
    total, oldest = db.execute(
        "SELECT coalesce(sum(requests), 0), min(minute) FROM budgets WHERE account = ?", (account,)
    ).fetchone()
    if total >= limit:
        first = minute if oldest is None else datetime.strptime(oldest, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return first + _HOUR + _MINUTE
    db.execute(
        "INSERT INTO budgets (account, minute, requests) VALUES (?, ?, 1) "
        "ON CONFLICT (account, minute) DO UPDATE SET requests = requests + 1",
        (account, stamp(minute)),
    )
    return None
