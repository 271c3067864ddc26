"""`CommitStorage`: the SQLite store that embedders and the command line use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from releasecopilot_core import (
    Applied,
    Batch,
    Commit,
    DeliveryRecord,
    Repository,
    RepositoryState,
    Run,
    Stale,
    StoryKey,
    Walk,
    Window,
)
from releasecopilot_core.errors import MissingDatabaseError

from . import budgets, deliveries, leases, reading, refreshing, runs, writing
from .connection import Connection

#: A batch of so many commits is one of many.
LARGE = 1_000


class CommitStorage:
    """Keeps commits, branches, files, story keys, heads and runs in one SQLite file; implements `Store`.

    Opening creates the file and its folders (unless `create` is false), or brings an older schema up to date.
    Thread-safe; any number of processes may share a file (write-ahead log, 5 s of patience). Not for network file
    systems, which SQLite cannot lock. Use it as a context manager, or call `close`.

    Raises:
        MissingDatabaseError: there is no file, and it was not to be created.
        DatabaseFormatError: the file is another program's, or of a newer release.
        StoreError: it cannot be opened or written; `StoreBusyError` when another process holds it.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.path = os.fspath(path)
        if not create and not Path(self.path).exists():
            raise MissingDatabaseError(f"{self.path}: no such database; scan first, or name another with --database")
        self._connection = Connection(self.path)

    def __enter__(self) -> CommitStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CommitStorage({self.path!r})"

    def close(self) -> None:
        """Close the file; further calls raise `StoreError`."""
        self._connection.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def apply(self, batch: Batch, *, run_id: str | None = None) -> Applied:
        """Merge a batch into what is stored, in one transaction. See `Store.apply`."""
        with self._connection.writing(large=len(batch.commits) >= LARGE) as db:
            return writing.apply_batch(db, batch, run_id)

    def refresh(self, repository: Repository, branches: Sequence[str], window: Window, *, run_id: str) -> int:
        """Mark the window's stored commits that are still on these branches as seen now. See `Store.refresh`."""
        row = reading.repository_id(self._connection, repository)
        if row is None or not branches:
            return 0
        with self._connection.writing(bulk=True) as db:
            return refreshing.refresh(db, row, branches, window, run_id)

    def begin_run(self, run: Run) -> Sequence[str]:
        """Record a run that starts; returns the ids of runs whose process died. See `Store.begin_run`."""
        with self._connection.writing() as db:
            return runs.begin(db, run)

    def finish_run(self, run: Run) -> None:
        """Record how a run ended and forget which commits it sighted."""
        with self._connection.writing(bulk=True) as db:
            runs.save(db, run)
            db.execute("DELETE FROM temp.sighted WHERE run_id = ?", (run.run_id,))

    def replace_keys(self, changes: Iterable[tuple[str, frozenset[StoryKey]]], run: Run) -> None:
        """Replace the keys of the named commits and record the run, in one transaction. See `Store.replace_keys`."""
        with self._connection.writing() as db:
            for sha, keys in changes:
                db.execute("DELETE FROM commit_story_keys WHERE sha = ?", (sha,))
                db.executemany(
                    "INSERT INTO commit_story_keys (sha, story_key, origin, plugin) VALUES (?, ?, ?, ?)",
                    [(sha, k.key, k.origin, k.plugin) for k in keys],
                )
            runs.save(db, run)

    # --- memory ----------------------------------------------------------------------------------------------

    def repository(self, source: str, uuid: str) -> RepositoryState | None:
        """Return what is remembered of a repository, `None` at first contact."""
        found = reading.repository_states(self._connection, source, uuid)
        return found[0] if found else None

    def repositories(self, source: str) -> Sequence[RepositoryState]:
        """Return all repositories of a source, sorted by full name."""
        return reading.repository_states(self._connection, source)

    def heads(self, repository: Repository) -> Mapping[str, str]:
        """Return branch name -> sha of the live heads."""
        sql = "SELECT branch, sha FROM heads WHERE repository_id = ? AND deleted_at IS NULL ORDER BY branch"
        return dict(self._of(repository, sql))

    def walks(self, repository: Repository) -> Sequence[Walk]:
        """Return unfinished and bounded walks, oldest first."""
        row = reading.repository_id(self._connection, repository)
        return [] if row is None else reading.walks_of(self._connection, row)

    def stale_branches(self, repository: Repository) -> Mapping[str, Stale]:
        """Return branch name -> mark for branches of which something was announced but not fetched."""
        sql = "SELECT branch, reason, marks, target FROM stale_branches WHERE repository_id = ? ORDER BY branch"
        return {branch: Stale(*mark) for branch, *mark in self._of(repository, sql)}

    def stale_pull_requests(self, repository: Repository) -> Mapping[int, Stale]:
        """Return number -> mark for pull requests whose commits were announced but not fetched."""
        sql = "SELECT pull_request, reason, marks, target FROM stale_pull_requests WHERE repository_id = ? ORDER BY pull_request"
        return {number: Stale(*mark) for number, *mark in self._of(repository, sql)}

    def to_repair(self, source: str) -> Sequence[Repository]:
        """Return the repositories of which something is stale, or commits of webhooks owe their files."""
        wanted = {uuid for (uuid,) in self._connection.rows(reading.TO_REPAIR, {"source": source})}
        return [state.repository for state in self.repositories(source) if state.repository.uuid in wanted]

    def pull_request_updates(self, repository: Repository) -> Mapping[int, datetime | None]:
        """Return number -> when it was last updated, for all pull requests that are stored."""
        sql = "SELECT id, updated_on, updated_micros FROM pull_requests WHERE repository_id = ? ORDER BY id"
        return {number: reading.exact(updated, micros) for number, updated, micros in self._of(repository, sql)}

    def pull_request_commits(self, repository: Repository, number: int) -> Sequence[str]:
        """Return the shas of the commits that were seen in a pull request, in order."""
        sql = "SELECT sha FROM commit_pull_requests WHERE repository_id = ? AND pull_request = ? ORDER BY sha"
        return [sha for (sha,) in self._of(repository, sql, number)]

    def owed_files(self, repository: Repository, limit: int, after: str = "") -> Sequence[str]:
        """Return up to `limit` shas greater than `after` whose file lists are to be fetched, in order."""
        # In the words of the index, which has none of the known ones: SQLite uses it only then.
        sql = (
            "SELECT sha FROM commits WHERE files_status <> 'known' AND files_status = 'owed' AND sha > :after "
            f"AND {reading.LINKED} ORDER BY sha LIMIT :limit"
        )
        return [sha for (sha,) in self._named(repository, sql, after=after, limit=limit)]

    def owed_count(self, repository: Repository) -> int:
        """Return how many commits of a repository still wait for their file lists."""
        sql = (
            f"SELECT count(*) FROM commits WHERE files_status <> 'known' AND files_status = 'owed' AND {reading.LINKED}"
        )
        return sum(count for (count,) in self._named(repository, sql))

    def reached_elsewhere(self, repository: Repository, branch: str, shas: Sequence[str]) -> frozenset[str]:
        """Return those of `shas` that the stored head of another live branch reaches."""
        row = reading.repository_id(self._connection, repository)
        return frozenset() if row is None else reading.reached_elsewhere(self._connection, row, branch, shas)

    def known_elsewhere(self, repository: Repository, branch: str, shas: Sequence[str]) -> frozenset[str]:
        """Return those of `shas` that were seen on another branch, or that another live head reaches."""
        # Mostly they are what a push brings, and new.
        shas = [sha for (sha,) in self._connection.all(reading.FAMILIAR, {"shas": json.dumps(list(shas))})]
        if not shas:
            return frozenset()
        sql = (
            "SELECT DISTINCT sha FROM commit_branches WHERE repository_id = :repository AND branch <> :branch "
            "AND sha IN (SELECT value FROM json_each(:shas))"
        )
        seen = self._named(repository, sql, branch=branch, shas=json.dumps(shas))
        return self.reached_elsewhere(repository, branch, shas).union(sha for (sha,) in seen)

    def first_parents(self, repository: Repository, sha: str, distances: Sequence[int]) -> Sequence[str]:
        """Return the stored first-parent ancestors of `sha` at these distances, nearest first."""
        parameters = {"sha": sha, "farthest": max(distances, default=0), "distances": json.dumps(list(distances))}
        return [found for (found,) in self._connection.rows(reading.FIRST_PARENTS, parameters)]

    def resolve(self, repository: Repository, prefix: str) -> Sequence[str]:
        """Return the stored shas of a repository that begin with `prefix` (hexadecimal digits)."""
        sql = f"SELECT sha FROM commits WHERE sha >= :prefix AND sha < :end AND {reading.LINKED} ORDER BY sha"
        return [sha for (sha,) in self._named(repository, sql, prefix=prefix, end=prefix + "g")]

    def _of(self, repository: Repository, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        row = reading.repository_id(self._connection, repository)
        return iter(()) if row is None else self._connection.rows(sql, (row, *parameters))

    def _named(self, repository: Repository, sql: str, **parameters: object) -> Iterator[tuple[Any, ...]]:
        row = reading.repository_id(self._connection, repository)
        return iter(()) if row is None else self._connection.rows(sql, {"repository": row, **parameters})

    # --- deliveries and leases -------------------------------------------------------------------------------

    def deliver_all(self, told: Sequence[tuple[DeliveryRecord, Sequence[Batch]]]) -> Sequence[tuple[str, bool]]:
        """Keep deliveries and store what they tell, in one transaction that survives a power cut. See `Store.deliver_all`."""
        with self._connection.writing(durable=True) as db:
            return [deliveries.deliver(db, record, batches) for record, batches in told]

    def redeliver(self, delivery_id: str, batches: Sequence[Batch], status: str, reason: str | None) -> None:
        """Store what a kept delivery tells when it is decoded anew, and how that went."""
        with self._connection.writing() as db:
            deliveries.redeliver(db, delivery_id, batches, status, reason)

    def deliveries(self, *, status: str | None = None, limit: int | None = None) -> Iterator[DeliveryRecord]:
        """Yield deliveries without their bodies, newest first."""
        return deliveries.records(self._connection, status, limit)

    def delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return one delivery with its body, `None` if there is none of that id."""
        return deliveries.record(self._connection, delivery_id)

    def prune_deliveries(self, before: datetime) -> int:
        """Drop the raw bodies of deliveries that last came before a time; returns of how many."""
        with self._connection.writing() as db:
            return deliveries.prune(db, before)

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease; false when another holder has it. See `Store.lease`."""
        with self._connection.writing() as db:
            return leases.take(db, name, holder, seconds)

    def release(self, name: str, holder: str) -> None:
        """Give a lease back, if the holder still has it."""
        with self._connection.writing() as db:
            leases.release(db, name, holder)

    def spend(self, account: str, limit: int) -> datetime | None:
        """Count one request against an hourly budget. See `Memory.spend`."""
        with self._connection.writing() as db:
            return budgets.spend(db, account, limit, datetime.now(UTC))

    def spent(self, account: str) -> int:
        """Return how many requests were counted in the last hour."""
        since = writing.stamp(datetime.now(UTC) - timedelta(minutes=61))
        sql = "SELECT coalesce(sum(requests), 0) FROM budgets WHERE account = ? AND minute > ?"
        return sum(count for (count,) in self._connection.rows(sql, (account, since)))

    # --- questions -------------------------------------------------------------------------------------------

    def sighted(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yield one payload entry for each (commit, repository) of a run, oldest commit first."""
        return reading.sighted(self._connection, run_id)

    def runs(self, *, limit: int = 20, run_id: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the latest runs, newest first, or the one of an id."""
        with self._connection.reading() as db:
            return runs.latest(db, limit, run_id)

    def key_rules(self) -> frozenset[str]:
        """Return the fingerprints of the rules by which the stored keys were derived."""
        with self._connection.reading() as db:
            return runs.key_rules(db)

    def commits_for_keys(self) -> Iterator[tuple[Commit, frozenset[StoryKey]]]:
        """Yield every commit with its texts, and its present keys."""
        return reading.commits_for_keys(self._connection)

    def stories(self, *, since: datetime | None = None, repositories: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yield a row for each story, and one with the key `None` for commits that belong to none."""
        return reading.stories(self._connection, since, repositories)

    def commits(
        self,
        *,
        since: datetime | None = None,
        repositories: Sequence[str] = (),
        story: str | None = None,
        unassigned: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of `commit_summary` with the message, newest first."""
        return reading.commits(self._connection, since, repositories, story, unassigned)
