"""Merge a batch into the tables: the one place where sightings become rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from releasecopilot_core import (
    FILES_STATUSES,
    Applied,
    Batch,
    Commit,
    FileChange,
    PullRequest,
    Repository,
    Scanned,
    Sighting,
    Walk,
    files_rank,
)

_TEXTS = ("author", "author_name", "author_email", "date", "author_date", "message")
# Known beats unknown, and of two known the bytewise greater wins: SQLite's max() of two is NULL when one is.
_KEEP = ", ".join(f"{c} = coalesce(max({c}, excluded.{c}), {c}, excluded.{c})" for c in (*_TEXTS, "last_seen_at"))
_RANK = "instr(',{},', ',' || {{}} || ',')".format(",".join(FILES_STATUSES))

UPSERT_COMMIT = f"""
INSERT INTO commits (sha, {", ".join(_TEXTS)}, files_status, first_seen_at, last_seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sha) DO UPDATE SET {_KEEP},
    files_status = CASE WHEN {_RANK.format("excluded.files_status")} > {_RANK.format("files_status")}
        THEN excluded.files_status ELSE files_status END,
    first_seen_at = coalesce(min(first_seen_at, excluded.first_seen_at), first_seen_at, excluded.first_seen_at)
"""

UPSERT_BRANCH = """
INSERT INTO commit_branches (sha, repository_id, branch, via, own, first_seen_at, last_seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sha, repository_id, branch, via) DO UPDATE SET own = max(own, excluded.own),
    first_seen_at = min(first_seen_at, excluded.first_seen_at), last_seen_at = max(last_seen_at, excluded.last_seen_at)
"""

_PR_TEXTS = ("title", "state", "author", "source_branch", "destination_branch", "merge_commit")
_PR_COLUMNS = (*_PR_TEXTS, "updated_on", "updated_micros")
# Unknown is less than empty: of two that were updated at the same moment the bytewise greater wins, whole.
_PR_RANK = ", ".join(
    f"{{0}}.{c} IS NOT NULL, coalesce({{0}}.{c}, '')" for c in ("updated_on", "updated_micros", *_PR_TEXTS)
)
UPSERT_PULL_REQUEST = f"""
INSERT INTO pull_requests (repository_id, id, {", ".join(_PR_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (repository_id, id) DO UPDATE SET {", ".join(f"{c} = excluded.{c}" for c in _PR_COLUMNS)}
WHERE ({_PR_RANK.format("excluded")}) > ({_PR_RANK.format("pull_requests")})
"""


def stamp(moment: datetime | None) -> str | None:
    """Return the text form that is stored: `2026-11-23T17:00:00Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat()[:19] + "Z"


def now() -> str:
    """Return this moment in the form that is stored."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def apply_batch(db: sqlite3.Connection, batch: Batch, run_id: str | None, *, told: bool = False) -> Applied:
    """Write one batch inside the caller's transaction; `told` by a delivery, which may be older than what is stored."""
    if batch.repository is None:
        return Applied()
    repository_id = _upsert_repository(db, batch.repository, told=told)
    # A pull request comes before the commits that point to it.
    _write_pull_requests(db, repository_id, batch.pull_requests)
    new = _write_commits(db, batch, repository_id, run_id)
    if batch.walk is not None:
        _write_walk(db, repository_id, batch.walk, batch.walk_ended)
    for branch in batch.deleted_branches:
        db.execute(
            "UPDATE heads SET deleted_at = ? WHERE repository_id = ? AND branch = ? AND deleted_at IS NULL",
            (now(), repository_id, branch),
        )
    _write_stale(db, repository_id, batch)
    if batch.want_files is not None:
        _owe_files(db, repository_id, batch.want_files)
    if batch.scanned is not None and batch.scanned.whole:
        _write_scanned(db, repository_id, batch.repository, batch.scanned)
    return Applied(new=new)


def _upsert_repository(db: sqlite3.Connection, repository: Repository, *, told: bool) -> int:
    # updated_on is the service's change mark: it is saved only when a scan completes (see _write_scanned).
    found = db.execute(
        "SELECT id, full_name, main_branch FROM repositories WHERE source = ? AND uuid = ?",
        (repository.source, repository.uuid),
    ).fetchone()
    if found is None:
        row = db.execute(
            "INSERT INTO repositories (source, uuid, full_name, main_branch) VALUES (?, ?, ?, ?) RETURNING id",
            (repository.source, repository.uuid, repository.full_name, repository.main_branch),
        ).fetchone()
        return int(row[0])
    # A delivery from before a rename may come after it, and does not say when it was sent. So it names no repository
    # that a scan or a repair has named: those know its main branch, which deliveries never tell.
    name = found[1] if told and found[2] is not None else repository.full_name
    main = repository.main_branch or found[2]
    if (name, main) != found[1:]:
        db.execute("UPDATE repositories SET full_name = ?, main_branch = ? WHERE id = ?", (name, main, found[0]))
    return int(found[0])


# --- commits -------------------------------------------------------------------------------------------------


def _write_commits(db: sqlite3.Connection, batch: Batch, repository_id: int, run_id: str | None) -> frozenset[str]:
    if not batch.commits:
        return frozenset()
    commits = _merged(batch.commits)
    shas = json.dumps([commit.sha for commit in commits])
    known = {
        row[0] for row in db.execute("SELECT sha FROM commits WHERE sha IN (SELECT value FROM json_each(?))", (shas,))
    }
    here = _linked(db, repository_id, json.dumps(sorted(known))) if known else frozenset()
    _write_rows(db, UPSERT_COMMIT, [_commit_row(commit) for commit in commits])
    _write_parents(db, commits, known)
    _write_files(db, commits, known)
    _write_links(db, commits, repository_id, batch)
    _write_rows(
        db,
        "INSERT OR IGNORE INTO commit_story_keys (sha, story_key, origin, plugin) VALUES (?, ?, ?, ?)",
        [(c.sha, k.key, k.origin, k.plugin) for c in commits for k in c.story_keys],
    )
    seen = [commit.sha for commit in commits if commit.sightings]
    new = frozenset(sha for sha in seen if sha not in here)
    if run_id is not None:
        _write_rows(
            db,
            "INSERT OR IGNORE INTO temp.sighted (run_id, sha, repository_id, new) VALUES (?, ?, ?, ?)",
            [(run_id, sha, repository_id, sha in new) for sha in seen],
        )
    return new


def _merged(commits: Sequence[Commit]) -> list[Commit]:
    by_sha: dict[str, Commit] = {}
    for commit in commits:
        other = by_sha.get(commit.sha)
        by_sha[commit.sha] = commit if other is None else other.merge(commit)
    # In the order of the tables: neighbours share pages.
    return [by_sha[sha] for sha in sorted(by_sha)]


def _linked(db: sqlite3.Connection, repository_id: int, shas: str) -> frozenset[str]:
    """Return those of the commits that this repository was known to have."""
    sql = " UNION ".join(
        f"SELECT sha FROM {table} WHERE repository_id = :id AND sha IN (SELECT value FROM json_each(:shas))"
        for table in ("commit_branches", "commit_pull_requests")
    )
    return frozenset(row[0] for row in db.execute(sql, {"id": repository_id, "shas": shas}))


def _commit_row(commit: Commit) -> tuple[str | None, ...]:
    date = stamp(commit.date)
    return (
        commit.sha,
        commit.author,
        commit.author_name,
        commit.author_email,
        date,
        date if commit.author_date == commit.date else stamp(commit.author_date),
        commit.message,
        commit.files_status,
        *_seen(commit.sightings),
    )


# Commits of one page share their sightings.
@lru_cache(maxsize=64)
def _seen(sightings: frozenset[Sighting]) -> tuple[str | None, str | None]:
    """Return when a commit was first and last seen, as it is stored."""
    first = min((s.seen_at for s in sightings), default=None)
    return stamp(first), stamp(max((s.last_seen_at for s in sightings), default=None))


def _write_parents(db: sqlite3.Connection, commits: Iterable[Commit], known: set[str]) -> None:
    told = [commit for commit in commits if commit.parents]
    stored = _stored(db, "sha, parent", "commit_parents", "position", told, known)
    less, rows = [], []
    for commit in told:
        parents = commit.parents or ()
        before = stored.get(commit.sha)
        if before is not None:
            # The same sha has the same parents; the law holds for liars, too.
            if tuple(row[1] for row in before) >= parents:
                continue
            less.append((commit.sha,))
        rows += [(commit.sha, position, parent) for position, parent in enumerate(parents)]
    _write_rows(db, "DELETE FROM commit_parents WHERE sha = ?", less)
    _write_rows(db, "INSERT INTO commit_parents (sha, position, parent) VALUES (?, ?, ?)", rows)


def _write_files(db: sqlite3.Connection, commits: Iterable[Commit], known: set[str]) -> None:
    """Replace a file list by a more detailed one; never unite two."""
    told = [commit for commit in commits if commit.files is not None]
    columns = "sha, path, status, old_path, lines_added, lines_removed"
    stored = _stored(db, columns, "commit_files", "path", told, known)
    less, rows = [], []
    for commit in told:
        files = commit.files or ()
        fresh = [(commit.sha, f.path, f.status, f.old_path, f.lines_added, f.lines_removed) for f in files]
        before = stored.get(commit.sha)
        if before is not None:
            # Mostly it is the list that is there already, and ranking the two is not needed.
            if before == fresh or files_rank(tuple(FileChange(*row[1:]) for row in before)) >= files_rank(files):
                continue
            less.append((commit.sha,))
        rows += fresh
    _write_rows(db, "DELETE FROM commit_files WHERE sha = ?", less)
    _write_rows(db, f"INSERT INTO commit_files ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)


def _stored(
    db: sqlite3.Connection, columns: str, table: str, order: str, commits: Iterable[Commit], known: set[str]
) -> dict[str, list[tuple[Any, ...]]]:
    """Return the stored rows of those commits that are known, by sha, with one statement for all of them."""
    shas = [commit.sha for commit in commits if commit.sha in known]
    found: dict[str, list[tuple[Any, ...]]] = {}
    if shas:
        sql = f"SELECT {columns} FROM {table} WHERE sha IN (SELECT value FROM json_each(?)) ORDER BY sha, {order}"
        for row in db.execute(sql, (json.dumps(shas),)):
            found.setdefault(row[0], []).append(row)
    return found


def _write_links(db: sqlite3.Connection, commits: Iterable[Commit], repository_id: int, batch: Batch) -> None:
    branches, pull_requests = [], []
    uuid = batch.repository.uuid if batch.repository else None
    for commit in commits:
        for seen in commit.sightings:
            if seen.repository != uuid:
                raise ValueError(f"commit {commit.sha}: sighted in {seen.repository!r}, but the batch is of {uuid!r}")
            if seen.branch is not None:
                times = _seen(commit.sightings if len(commit.sightings) == 1 else frozenset({seen}))
                branches.append((commit.sha, repository_id, seen.branch, seen.via, int(seen.own), *times))
            if seen.pull_request is not None:
                pull_requests.append((commit.sha, repository_id, seen.pull_request))
    _write_rows(db, UPSERT_BRANCH, branches)
    _write_rows(
        db,
        "INSERT OR IGNORE INTO commit_pull_requests (sha, repository_id, pull_request) VALUES (?, ?, ?)",
        pull_requests,
    )


def _write_pull_requests(db: sqlite3.Connection, repository_id: int, requests: Iterable[PullRequest]) -> None:
    _write_rows(db,
        UPSERT_PULL_REQUEST,
        [
            (repository_id, p.id, p.title, p.state, p.author, p.source_branch, p.destination_branch, p.merge_commit,
             stamp(p.updated_on), p.updated_on.microsecond if p.updated_on else 0)
            for p in requests
        ],
    )  # fmt: skip


def _write_rows(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    # Also with no rows a statement is looked up and made ready; most batches leave half of the tables alone.
    if rows:
        db.executemany(sql, rows)


# --- walks, heads, repositories ------------------------------------------------------------------------------


def _write_walk(db: sqlite3.Connection, repository_id: int, walk: Walk, ended: str | None) -> None:
    key = (repository_id, walk.branch, walk.target)
    db.execute("DELETE FROM boundaries WHERE repository_id = ? AND branch = ? AND target = ?", key)
    if ended in ("done", "dropped"):
        db.execute("DELETE FROM walks WHERE repository_id = ? AND branch = ? AND target = ?", key)
    else:
        db.execute(
            "INSERT INTO walks (repository_id, branch, target, line, since, bounded, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (repository_id, branch, target) DO UPDATE SET line = excluded.line, since = excluded.since, "
            "bounded = excluded.bounded",
            (*key, walk.line, stamp(walk.since), int(walk.bounded), now()),
        )
        _write_rows(db, "INSERT INTO boundaries VALUES (?, ?, ?, ?)", [(*key, sha) for sha in sorted(walk.boundary)])
    # A bounded walk that is deepened has its head already: the branch may have moved on since.
    if ended == "bounded" or (ended == "done" and not walk.bounded):
        db.execute(
            "INSERT INTO heads (repository_id, branch, sha, seen_at) VALUES (?, ?, ?, ?) ON CONFLICT (repository_id, branch) "
            "DO UPDATE SET sha = excluded.sha, seen_at = excluded.seen_at, deleted_at = NULL",
            (*key, now()),
        )


def _write_stale(db: sqlite3.Connection, repository_id: int, batch: Batch) -> None:
    """Mark what was announced; unmark what was fetched, unless more of it was announced meanwhile."""
    things = (
        ("stale_branches", "branch", batch.stale_branches, batch.settled_branches),
        ("stale_pull_requests", "pull_request", batch.stale_pull_requests, batch.settled_pull_requests),
    )
    for table, column, stale, settled in things:
        if not (stale or settled):
            continue
        _write_rows(
            db,
            f"INSERT INTO {table} (repository_id, {column}, target, reason, marks, since) VALUES (?, ?, ?, ?, 1, ?) "
            f"ON CONFLICT (repository_id, {column}) DO UPDATE SET target = coalesce(excluded.target, target), "
            "reason = excluded.reason, marks = marks + 1",
            [(repository_id, key, mark.target, mark.reason, now()) for key, mark in stale.items()],
        )
        _write_rows(
            db,
            f"DELETE FROM {table} WHERE repository_id = ? AND {column} = ? AND marks <= ?",
            [(repository_id, key, marks) for key, marks in settled.items()],
        )


def _owe_files(db: sqlite3.Connection, repository_id: int, wanted: object) -> None:
    """Turn skipped file lists into owed ones; `all` asks again for what was refused, too."""
    # Seeks, and no list of all commits that the repository has: mostly there is none to mark.
    linked = (
        "(EXISTS (SELECT 1 FROM commit_branches b WHERE b.sha = commits.sha AND b.repository_id = :repository) "
        "OR EXISTS (SELECT 1 FROM commit_pull_requests p WHERE p.sha = commits.sha AND p.repository_id = :repository))"
    )
    if wanted == "all":
        db.execute(
            f"UPDATE commits SET files_status = 'owed' WHERE files_status <> 'known' AND files_status <> 'owed' AND {linked}",
            {"repository": repository_id},
        )
    elif isinstance(wanted, datetime):
        db.execute(
            "UPDATE commits SET files_status = 'owed' "
            f"WHERE files_status <> 'known' AND files_status = 'skipped' AND date >= :since AND {linked}",
            {"repository": repository_id, "since": stamp(wanted)},
        )


def _write_scanned(db: sqlite3.Connection, repository_id: int, repository: Repository, scanned: Scanned) -> None:
    db.execute("UPDATE repositories SET status = ? WHERE id = ?", (scanned.status, repository_id))
    if scanned.status == "complete":
        db.execute(
            "UPDATE repositories SET updated_on = ?, selection = ?, swept_at = coalesce(?, swept_at) WHERE id = ?",
            (repository.updated_on, scanned.selection, now() if scanned.swept else None, repository_id),
        )
    if scanned.pull_requests_to is not None:
        db.execute(
            "UPDATE repositories SET pull_requests_to = max(coalesce(pull_requests_to, ''), ?) WHERE id = ?",
            (stamp(scanned.pull_requests_to), repository_id),
        )
