"""What `rc doctor` looks at in a database file; it is opened read-only but for one try at the write lock."""

from __future__ import annotations

import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from releasecopilot_core import Finding

from . import processes
from .connection import BUSY_SECONDS
from .schema import APPLICATION_ID, VERSION

#: Less than this beside the database, in MB, is worth a warning: a large first scan may write as much.
ROOM = 100.0


def checks(path: str) -> Mapping[str, Callable[[], Iterator[Finding]]]:
    """Return the checks of one file."""
    return {"database": lambda: _file(Path(path)), "record": lambda: _record(Path(path))}


def _opened(path: Path) -> closing[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None))


def _identity(path: Path) -> tuple[int, int]:
    """Return the mark of whose file it is, and its schema version."""
    with _opened(path) as db:
        return db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]


def _file(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding("ok", f"{path} is not there yet; the first scan makes it")
        yield _space(path)
        return
    try:
        application, version = _identity(path)
    except sqlite3.DatabaseError as error:
        remedy = "restore it from a backup, or name another file with --database"
        if "unable to open" in str(error):  # as where the log's files cannot be made beside it
            remedy = "make the file and its folder writable"
        yield Finding("failed", f"{path}: {error}; {remedy}")
        return
    if application != APPLICATION_ID:
        yield Finding("failed", f"{path}: a database of another program; name another file with --database")
        return
    with _opened(path) as db:
        if version > VERSION:
            yield Finding("failed", f"{path}: schema {version} is newer than {VERSION}; upgrade releasecopilot-core")
        elif version < VERSION:
            yield Finding(
                "warning", f"{path}: schema {version} of {VERSION}; the next command that opens it migrates it"
            )
        else:
            size = path.stat().st_size / 1e6
            yield Finding("ok", f"{path}: schema {version}, {size:,.1f} MB")
        yield _integrity(db, path)
        yield _journal(db, path)
        yield _lock(db, path)
        yield _space(path)


def _space(path: Path) -> Finding:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(folder).free / 1e6
    if free < ROOM:
        return Finding("warning", f"{folder}: {free:,.1f} MB are free; make room before the next scan")
    return Finding("ok", f"{free:,.0f} MB are free for it")


def _integrity(db: sqlite3.Connection, path: Path) -> Finding:
    try:
        told = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        told = [str(error)]
    broken = [text for text in told if text != "ok"]
    if not broken:
        rows = db.execute("PRAGMA foreign_key_check").fetchmany(1)
        broken = [f"a row of {rows[0][0]} belongs to none"] if rows else []
    if broken:
        return Finding("failed", f"{path}: {broken[0]}; restore it from a backup, or scan into a new file")
    return Finding("ok", "its pages and references are whole")


def _journal(db: sqlite3.Connection, path: Path) -> Finding:
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    wal = path.with_name(f"{path.name}-wal")
    size = wal.stat().st_size / 1e6 if wal.exists() else 0.0
    if mode != "wal":
        remedy = "readers and writers wait for each other; is it on a network file system?"
        return Finding("warning", f"journal mode is {mode}, not wal: {remedy}")
    if size > 200:
        remedy = "a reader keeps it from being written back; end long queries and old processes"
        return Finding("warning", f"the write-ahead log has {size:,.0f} MB: {remedy}")
    return Finding("ok", f"write-ahead log, {size:,.1f} MB")


def _lock(db: sqlite3.Connection, path: Path) -> Finding:
    try:
        db.execute("BEGIN IMMEDIATE")
        # Of a file that may only be read, SQLite begins to read without a word: only a write tells.
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {int(version)}")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return Finding(
                "failed", f"another process holds the write lock for over {BUSY_SECONDS:g} s; find and end it"
            )
        return Finding("failed", f"{path}: {error}; make the file and its folder writable")
    return Finding("ok", "it can be written to")


def _record(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding("ok", "nothing is recorded yet")
        return
    try:
        if _identity(path) == (APPLICATION_ID, VERSION):
            with _opened(path) as db:
                yield from _recorded(db)
            return
    except sqlite3.DatabaseError:
        pass
    yield Finding("ok", "not looked at; see what is said of the database")


def _recorded(db: sqlite3.Connection) -> Iterator[Finding]:
    yield Finding("ok", "{:,} commits of {:,} repositories, {:,} runs".format(*_counts(db)))
    for sql, text in _LEFT_OVER:
        count = db.execute(sql).fetchone()[0]
        if count:
            yield Finding("warning", text.format(count))
    rows = db.execute("SELECT pid, process FROM runs WHERE status = 'running' AND host = ?", (platform.node(),))
    if killed := [row for row in rows if not processes.is_alive(*row)]:
        yield Finding("warning", f"{len(killed)} runs were killed; the next scan marks them abandoned")


def _counts(db: sqlite3.Connection) -> tuple[int, ...]:
    return tuple(
        db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("commits", "repositories", "runs")
    )


_LEFT_OVER = (
    ("SELECT count(*) FROM walks WHERE bounded = 0", "{} walks were cut off; the next scan resumes them"),
    ("SELECT count(*) FROM stale_branches", "{} branches were announced and not fetched; run the repair, or scan"),
    (
        "SELECT count(*) FROM stale_pull_requests",
        "{} pull requests were announced and not fetched; run the repair, or scan",
    ),
    ("SELECT count(*) FROM commits WHERE files_status = 'owed'", "{} commits still owe their files; scan again"),
    (
        "SELECT count(*) FROM deliveries WHERE status = 'failed'",
        "{} deliveries were not understood; see `rc deliveries list`",
    ),
    (
        "SELECT count(*) FROM repositories WHERE status = 'failed'",
        "{} repositories could not be scanned last time; see `rc runs list`",
    ),
)
