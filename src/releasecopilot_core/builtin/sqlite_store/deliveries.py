"""Webhook deliveries: kept once each, replayed, and pruned of their raw bodies."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from releasecopilot_core import Batch, DeliveryRecord

from .connection import Connection
from .reading import moment
from .writing import apply_batch, stamp

_COLUMNS = (
    "id", "service", "event", "request_id", "received_at", "last_received_at", "times", "status", "reason", "headers",
    "body_sha256",
)  # fmt: skip

_INSERT = "INSERT INTO deliveries ({}, body) VALUES ({}, :body)".format(
    ", ".join(_COLUMNS), ", ".join(f":{name}" for name in _COLUMNS)
)

_EARLIER = """
SELECT id, status FROM deliveries WHERE service = :service
    AND (request_id = :request_id OR (body_sha256 = :sha256 AND event IS :event))
ORDER BY received_at, rowid LIMIT 1
"""

_SEEN_AGAIN = (
    "UPDATE commits SET last_seen_at = max(coalesce(last_seen_at, :at), :at) WHERE sha = :sha",
    "UPDATE commit_branches SET last_seen_at = max(last_seen_at, :at) WHERE sha = :sha AND branch = :branch AND via = :via "
    "AND repository_id = (SELECT id FROM repositories WHERE source = :source AND uuid = :uuid)",
)


def deliver(db: sqlite3.Connection, record: DeliveryRecord, batches: Sequence[Batch]) -> tuple[str, bool]:
    """Keep a delivery and store what it tells, inside the caller's transaction; see `Store.deliver_all`."""
    key = {
        "service": record.service,
        "request_id": record.request_id,
        "sha256": record.body_sha256,
        "event": record.event,
    }
    earlier = db.execute(_EARLIER, key).fetchone()
    if earlier is None:
        _insert(db, record)
        _apply(db, batches)
        return record.id, False
    id_, status = earlier
    db.execute(
        "UPDATE deliveries SET times = times + 1, last_received_at = max(last_received_at, ?) WHERE id = ?",
        (stamp(record.last_received_at or record.received_at), id_),
    )
    if status != "stored" and record.status == "stored":
        # What could not be decoded then, or was not used, is understood by now: it counts as new.
        redeliver(db, id_, batches, record.status, record.reason)
        return id_, False
    _see_again(db, batches)
    return id_, True


def _see_again(db: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    """Note when a duplicate's commits were seen, and nothing else.

    By now the same body may mean more than it told: the repository has another name, an earlier title would reach
    later commits of a pull request. And what was announced has been fetched, or is marked already.
    """
    for batch in batches:
        of = {"source": batch.repository.source, "uuid": batch.repository.uuid} if batch.repository else {}
        rows = [
            {"sha": commit.sha, "branch": s.branch, "via": s.via, "at": stamp(s.last_seen_at), **of}
            for commit in batch.commits
            for s in commit.sightings
        ]
        for sql in _SEEN_AGAIN:
            db.executemany(sql, rows)


def redeliver(db: sqlite3.Connection, id_: str, batches: Sequence[Batch], status: str, reason: str | None) -> None:
    """Store what a kept delivery tells, and how its replay went."""
    _apply(db, batches)
    db.execute("UPDATE deliveries SET status = ?, reason = ? WHERE id = ?", (status, reason, id_))


def prune(db: sqlite3.Connection, before: datetime) -> int:
    """Drop the raw bodies of deliveries that last came before a time; returns of how many."""
    return db.execute(
        "UPDATE deliveries SET body = NULL WHERE body IS NOT NULL AND last_received_at < ?", (stamp(before),)
    ).rowcount


def records(connection: Connection, status: str | None, limit: int | None) -> Iterator[DeliveryRecord]:
    """Yield deliveries without their bodies, newest first (of one second: the one stored last)."""
    condition = "" if status is None else "WHERE status = :status "
    sql = f"SELECT {', '.join(_COLUMNS)}, NULL FROM deliveries {condition}ORDER BY last_received_at DESC, rowid DESC LIMIT :limit"
    for row in connection.rows(sql, {"status": status, "limit": -1 if limit is None else limit}):
        yield _record(row)


def record(connection: Connection, id_: str) -> DeliveryRecord | None:
    """Return one delivery with its body."""
    rows = list(connection.rows(f"SELECT {', '.join(_COLUMNS)}, body FROM deliveries WHERE id = ?", (id_,)))
    return _record(rows[0]) if rows else None


def _apply(db: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    for batch in batches:
        apply_batch(db, batch, None, told=True)


def _insert(db: sqlite3.Connection, record: DeliveryRecord) -> None:
    received = stamp(record.received_at)
    values = {
        **{name: getattr(record, name) for name in _COLUMNS},
        "received_at": received,
        "last_received_at": stamp(record.last_received_at) or received,
        "headers": json.dumps(dict(record.headers), ensure_ascii=False),
        "body": record.body,
    }
    db.execute(_INSERT, values)


def _record(row: tuple[Any, ...]) -> DeliveryRecord:
    values = dict(zip((*_COLUMNS, "body"), row, strict=True))
    return DeliveryRecord(
        **{
            **values,
            "received_at": moment(values["received_at"]),
            "last_received_at": moment(values["last_received_at"]),
            "headers": json.loads(values["headers"]),
        }
    )
