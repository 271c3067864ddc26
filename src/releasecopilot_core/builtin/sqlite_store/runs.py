"""The record of runs: begun, finished, or abandoned by a process that died."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from typing import Any

import attrs

from releasecopilot_core import Run

from . import processes
from .writing import stamp

_COLUMNS = (
    "run_id", "kind", "source", "status", "started_at", "finished_at", "window_start", "window_end", "new", "listed",
    "refreshed", "requests", "artifact", "git_sha", "key_rules", "host", "pid", "process", "report",
)  # fmt: skip


def begin(db: sqlite3.Connection, run: Run) -> Sequence[str]:
    """Record a run that starts and give up those whose process is dead; returns the ids of the latter."""
    abandoned = []
    sql = "SELECT run_id, pid, process FROM runs WHERE status = 'running' AND host = ?"
    for run_id, pid, process in db.execute(sql, (platform.node(),)):
        if not processes.is_alive(pid, process):
            abandoned.append(run_id)
    db.executemany("UPDATE runs SET status = 'abandoned' WHERE run_id = ?", [(run_id,) for run_id in abandoned])
    save(db, run)
    return abandoned


def save(db: sqlite3.Connection, run: Run) -> None:
    """Write the row of a run, whether it is there or not."""
    report = {
        "repositories": [attrs.asdict(report) for report in run.repositories],
        "problems": [attrs.asdict(problem) for problem in run.problems],
        "plugins": dict(run.plugins),
    }
    values = {
        **{name: getattr(run, name) for name in _COLUMNS if hasattr(run, name)},
        "started_at": stamp(run.started_at),
        "finished_at": stamp(run.finished_at),
        "window_start": stamp(run.window.start),
        "window_end": stamp(run.window.end),
        "host": platform.node(),
        "pid": os.getpid(),
        "process": processes.own(),
        "report": json.dumps(report),
    }
    names = ", ".join(_COLUMNS)
    marks = ", ".join(f":{name}" for name in _COLUMNS)
    db.execute(f"INSERT OR REPLACE INTO runs ({names}) VALUES ({marks})", values)


def latest(db: sqlite3.Connection, limit: int, run_id: str | None) -> list[dict[str, Any]]:
    """Return the latest runs, newest first (of one second: the one saved last), or the one of an id."""
    which = "" if run_id is None else "WHERE run_id = :run_id "
    sql = f"SELECT {', '.join(_COLUMNS)} FROM runs {which}ORDER BY started_at DESC, rowid DESC LIMIT :limit"
    rows = db.execute(sql, {"limit": limit, "run_id": run_id})
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    for run in found:
        run["report"] = json.loads(run["report"]) if run["report"] else None
    return found


def key_rules(db: sqlite3.Connection) -> frozenset[str]:
    """Return the rules by which keys were derived since all were last derived anew."""
    rows = db.execute(
        "SELECT DISTINCT key_rules FROM runs WHERE key_rules IS NOT NULL AND (kind = 'rekey' OR listed > 0) "
        "AND rowid >= coalesce((SELECT max(rowid) FROM runs WHERE kind = 'rekey'), 0)"
    )
    return frozenset(row[0] for row in rows)
