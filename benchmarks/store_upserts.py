"""Store: commits a second, new and seen again, against `sqlite3` by hand.

The peer is what one would write by hand with Python's own module to fill the same tables: rows that were made
beforehand, one `executemany` a table, one transaction a batch, the shortest `ON CONFLICT` there is. It does not merge:
the last one to write wins, and nobody is told what was new. It works on a copy of the store's own empty database, so
tables and indexes are the same, and with the pragmas that the store's connection has.

Ours gets the same commits as `Batch` objects and turns them into rows within the time that is measured, and notes which
commits the run sighted, as in a scan. Each batch holds 100 commits with a parent, three files, a branch and a story.
Seen again they come an hour later, so that every row of commits and branches changes. Input is made before the clock
starts, and kept from the garbage collector, which would otherwise walk through it in the middle of a batch.

Both write in turns, batch by batch, into files in one temporary folder. All is repeated, and a batch counts with the
best of its times: checkpoints of the write-ahead log come at the same batches each time, disturbances do not. The small
database fits into SQLite's cache, so it shows what our Python costs; in the large one the disk has its say.
"""

from __future__ import annotations

import gc
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import made_commits
from measuring import Result, bests, in_turns

from releasecopilot_core import Batch, Commit, CommitStorage

#: (commits, rounds)
SIZES = ((2_000, 15), (20_000, 5))
AIM = 0.7

_NEWEST = datetime(2026, 11, 23, 17, tzinfo=UTC)
_PASSES = ("new", "seen again")
_PRAGMAS = (
    "journal_mode",
    "synchronous",
    "foreign_keys",
    "cache_size",
    "mmap_size",
    "temp_store",
    "wal_autocheckpoint",
)
_KEYS = {
    "commits": ("sha",),
    "commit_parents": ("sha", "position"),
    "commit_files": ("sha", "path"),
    "commit_branches": ("sha", "repository_id", "branch", "via"),
    "commit_story_keys": ("sha", "story_key", "origin", "plugin"),
}
#: Table -> rows.
Rows = dict[str, list[tuple[Any, ...]]]
Input = list[tuple[Batch, Rows]]


def measure() -> list[Result]:
    """Return a row for each size, for new commits and for the same ones seen again."""
    return [result for commits, rounds in SIZES for result in _measure(commits, rounds)]


def _measure(commits: int, rounds: int) -> Iterator[Result]:
    passes = [_input(commits, _NEWEST + timedelta(hours=number)) for number in range(len(_PASSES))]
    gc.collect()
    gc.freeze()
    try:
        found = [_round(passes, number) for number in range(rounds)]
    finally:
        gc.unfreeze()
    for number, name in enumerate(_PASSES):
        batches = zip(*(turns[number] for turns in found), strict=True)
        ours, peer = (sum(seconds) for seconds in zip(*map(bests, batches), strict=True))
        yield Result(
            what=f"{commits:,} commits, {name}",
            ours=f"{commits / ours:,.0f}/s",
            peer=f"{commits / peer:,.0f}/s",
            ratio=peer / ours,
            aim=f"≥ {AIM:g}",
            met=peer / ours >= AIM,
        )


def _input(commits: int, seen_at: datetime) -> Input:
    pages = made_commits.pages(commits, _NEWEST, seen_at=seen_at, key=True)
    return [(Batch(repository=made_commits.REPOSITORY, commits=page), _rows(page)) for page in pages]


def _round(passes: list[Input], number: int) -> list[list[list[float]]]:
    """Return for each pass and batch what ours and the peer took, in seconds; both begin with an empty file."""
    with tempfile.TemporaryDirectory() as folder:
        empty, pragmas = _empty(Path(folder))
        with CommitStorage(Path(folder, "ours.db")) as store, _bare(Path(folder, "bare.db"), empty, pragmas) as write:
            return [
                [
                    in_turns(number + place, partial(store.apply, batch, run_id=name), partial(write, rows))
                    for place, (batch, rows) in enumerate(batches)
                ]
                for name, batches in zip(_PASSES, passes, strict=True)
            ]


# --- the peer ------------------------------------------------------------------------------------------------


def _empty(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return an empty database as the store's migrations make it, and the pragmas of the store's connection."""
    path = folder / "empty.db"
    with CommitStorage(path) as store:
        # The store chooses some pragmas when it writes, so it writes first.
        store.apply(Batch(repository=made_commits.REPOSITORY))
        connection = store._connection.db.conn
        pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS}
    return path, pragmas


@contextmanager
def _bare(path: Path, empty: Path, pragmas: dict[str, Any]) -> Iterator[Callable[[Rows], None]]:
    shutil.copyfile(empty, path)
    connection = sqlite3.connect(path, isolation_level=None)
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")
    statements = {table: _upsert(connection, table) for table in _KEYS}

    def write(rows: Rows) -> None:
        connection.execute("BEGIN")
        for table, statement in statements.items():
            connection.executemany(statement, rows[table])
        connection.execute("COMMIT")

    try:
        yield write
    finally:
        connection.close()


def _upsert(connection: sqlite3.Connection, table: str) -> str:
    """Return the shortest statement that leaves the last sighting; when it was first seen is left alone."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = {*_KEYS[table], "first_seen_at"}
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in kept)
    action = f"UPDATE SET {changes}" if changes else "NOTHING"
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT ({', '.join(_KEYS[table])}) DO {action}"


def _rows(page: Iterable[Commit]) -> Rows:
    rows: Rows = {table: [] for table in _KEYS}
    for c in page:
        (seen,) = c.sightings
        stamp = f"{seen.seen_at:%Y-%m-%dT%H:%M:%SZ}"
        date = f"{c.date:%Y-%m-%dT%H:%M:%SZ}"
        known = (c.author, c.author_name, c.author_email, date, None, c.message, c.files_status)
        rows["commits"].append((c.sha, *known, stamp, stamp))
        rows["commit_parents"] += [(c.sha, position, parent) for position, parent in enumerate(c.parents or ())]
        rows["commit_files"] += [
            (c.sha, f.path, f.status, f.old_path, f.lines_added, f.lines_removed) for f in c.files or ()
        ]
        rows["commit_branches"].append((c.sha, 1, seen.branch, seen.via, int(seen.own), stamp, stamp))
        rows["commit_story_keys"] += [(c.sha, k.key, k.origin, k.plugin) for k in c.story_keys]
    return rows
