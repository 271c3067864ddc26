"""Open a database file: ours or not, old or new; and run transactions that fail with one clear line."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils.db import Database

from releasecopilot_core.errors import DatabaseFormatError, StoreBusyError, StoreError

from .schema import APPLICATION_ID, VERSION, migrations

BUSY_SECONDS = 5.0

#: Pages of 4 KiB in the write-ahead log before it is written back to the file. Hashes come in no order: a thousand commits
#: touch ten thousand pages of a large database, and touch most of them again in the next transaction.
LOG_PAGES, LARGE_LOG_PAGES = 4_000, 32_000

_REMEDIES = {
    "full": "free some space; what was stored stays",
    "readonly": "make the file and its folder writable",
    "unable to open": "check that the path is a file in a folder that can be written",
    "disk I/O": "check the disk; what was stored stays",
}

# Sightings of a run live as long as the connection: after a crash nobody needs them. They are on disk, not in memory.
_TEMPORARY = (
    """CREATE TEMP TABLE IF NOT EXISTS sighted (
        run_id TEXT NOT NULL, sha TEXT NOT NULL, repository_id INTEGER NOT NULL, new INTEGER NOT NULL,
        PRIMARY KEY (run_id, sha, repository_id)) WITHOUT ROWID""",
    "CREATE TEMP TABLE IF NOT EXISTS candidates (sha TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS above (sha TEXT PRIMARY KEY) WITHOUT ROWID",
)

_IDENTITY = """SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_master)"""


class Connection:
    """One SQLite connection that threads share: `reading` and `writing` take turns.

    `db` is the sqlite-utils database for schema work and plain queries; the hot path uses `execute` directly.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._closed = False
        self._locks: dict[int, threading.RLock] = {}
        self._process = os.getpid()
        self._inherited: list[Database] = []
        self._open()

    def _open(self) -> None:
        self._durable: bool | None = None
        self._bulk: bool | None = None
        self._large: bool | None = None
        self._patience = BUSY_SECONDS
        with self._explained():
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            try:
                self.db = Database(connection)
                self._prepare()
            except BaseException:
                connection.close()
                raise

    @property
    def _lock(self) -> threading.RLock:
        """The lock of this process: in a forked one, that of the parent may be held by a thread that is not there."""
        process = os.getpid()
        return self._locks.get(process) or self._locks.setdefault(process, threading.RLock())

    def _leave_to_parent(self) -> None:
        """Open the file anew in a forked process: SQLite forbids to carry a connection over, to use it or to close it."""
        self._inherited.append(self.db)
        parent, self._process = self._process, os.getpid()
        try:
            self._open()
        except BaseException:
            self._process = parent
            raise

    def _prepare(self) -> None:
        self._refuse_strangers()
        self._use_write_ahead_log()
        if self._pragma("user_version") < VERSION:
            self._migrate()
        for statement in _TEMPORARY:
            self.db.conn.execute(statement)

    def _use_write_ahead_log(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.db.conn.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # SQLite answers at once here: two that switch one new file would wait for each other.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _refuse_strangers(self) -> None:
        try:
            # One statement, one moment: another process may be making the tables just now.
            application, version, tables = self.db.conn.execute(_IDENTITY).fetchone()
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            raise DatabaseFormatError(f"{self.path}: not an SQLite database ({error}); name another file") from error
        if application != APPLICATION_ID and (tables or application):
            raise DatabaseFormatError(
                f"{self.path}: an SQLite database of another program; name another file with --database"
            )
        if version > VERSION:
            raise DatabaseFormatError(
                f"{self.path}: schema version {version} is newer than this release knows ({VERSION}); "
                "upgrade releasecopilot-core"
            )

    def _migrate(self) -> None:
        with self.writing():
            # Again inside the transaction: another process may have been faster.
            if self._pragma("user_version") < VERSION:
                migrations.apply(self.db)
                self.db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.db.conn.execute(f"PRAGMA user_version = {VERSION}")

    def _pragma(self, name: str) -> int:
        return int(self.db.conn.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def writing(
        self, *, durable: bool = False, bulk: bool = False, large: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """Run one transaction: all of it, or nothing. It takes the write lock at once, waiting up to 5 s.

        After a power cut the last transactions may be missing (what was scanned is scanned again), a `durable` one never.
        `large` ones let the log grow longer before it is written back, and are not held to the foreign keys, which costs a
        look-up a row: whatever they refer to they write themselves.
        """
        with self.reading() as connection:
            if durable is not self._durable:
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            if bulk is not self._bulk:
                # In memory the temporary tables' rollback journal costs a third, but grows with what is deleted from them.
                connection.execute(f"PRAGMA temp.journal_mode = {'DELETE' if bulk else 'MEMORY'}")
                self._bulk = bulk
            if large is not self._large:
                connection.execute(f"PRAGMA wal_autocheckpoint = {LARGE_LOG_PAGES if large else LOG_PAGES}")
                connection.execute(f"PRAGMA foreign_keys = {'OFF' if large else 'ON'}")
                self._large = large
            # A deferred transaction that reads first and writes later fails at once when somebody else wrote between.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection for some statements, outside a transaction of our own; waits 5 s for it in all."""
        begun, lock = time.monotonic(), self._lock
        if not lock.acquire(timeout=BUSY_SECONDS):
            raise StoreBusyError(
                f"{self.path}: other threads have held the database for {BUSY_SECONDS:g} s; try again later"
            )
        try:
            with self._explained():
                if self._closed:
                    raise StoreError(f"{self.path}: the store is closed")
                if self._process != os.getpid():
                    self._leave_to_parent()
                # Threads that waited for one another get no further 5 s each: a delivery must be answered in time.
                self._wait_at_most(BUSY_SECONDS - (time.monotonic() - begun))
                yield self.db.conn
        finally:
            lock.release()

    def _wait_at_most(self, seconds: float) -> None:
        patience = BUSY_SECONDS if seconds > BUSY_SECONDS - 0.05 else max(seconds, 0.0)
        if patience != self._patience:
            self.db.conn.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            self._patience = patience

    def all(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return all rows at once; the lock is held until they are read."""
        with self.reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    def rows(self, sql: str, parameters: Any = (), *, size: int = 500) -> Iterator[tuple[Any, ...]]:
        """Yield rows in blocks, so that the lock is not held while the caller works on them."""
        with self.reading() as connection:
            cursor = connection.execute(sql, parameters)
            block = cursor.fetchmany(size)
        while block:
            yield from block
            if len(block) < size:
                return
            with self.reading():
                block = cursor.fetchmany(size)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                raise StoreBusyError(
                    f"{self.path}: another process has held the database for {BUSY_SECONDS:g} s; try again later"
                ) from error
            if "decode to UTF-8" in text:
                raise self._damaged(error) from error
            remedy = next((remedy for word, remedy in _REMEDIES.items() if word in text), None)
            if remedy is None:
                raise  # a mistake of ours in some statement keeps its traceback
            raise StoreError(f"{self.path}: {text}; {remedy}") from error
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error) and "not a database" not in str(error):
                raise
            raise self._damaged(error) from error
        except UnicodeDecodeError as error:  # of SQLite's own message about a damaged schema
            raise self._damaged(error) from error
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be opened ({error.strerror or error}); check the path") from error

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(f"{self.path}: damaged ({error}); restore it from a backup, or scan into a new file")

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._process == os.getpid():
                    self.db.conn.close()
