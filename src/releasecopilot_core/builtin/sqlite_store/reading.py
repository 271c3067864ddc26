"""Questions to the tables: what a source asks while it scans, and what people ask afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from releasecopilot_core import Commit, Repository, RepositoryState, Sighting, StoryKey, Walk

from .connection import Connection
from .writing import stamp

BLOCK = 500

#: That a row of `commits` is one of a repository, on a branch or in a pull request: seeks, however many it has.
LINKED = (
    "(EXISTS (SELECT 1 FROM commit_branches b WHERE b.sha = commits.sha AND b.repository_id = :repository) "
    "OR EXISTS (SELECT 1 FROM commit_pull_requests p WHERE p.sha = commits.sha AND p.repository_id = :repository))"
)


def moment(text: str | None) -> datetime | None:
    """Return the time that a stored text stands for."""
    return None if text is None else datetime.fromisoformat(text)


def exact(text: str | None, micros: int) -> datetime | None:
    """Return a time with the microseconds that are stored beside it."""
    found = moment(text)
    return None if found is None else found.replace(microsecond=micros)


# --- memory --------------------------------------------------------------------------------------------------


def repository_states(connection: Connection, source: str, uuid: str | None = None) -> list[RepositoryState]:
    """Return what is remembered of a source's repositories, sorted by full name."""
    rows = connection.rows(
        "SELECT uuid, full_name, main_branch, updated_on, swept_at, selection, status, pull_requests_to FROM repositories "
        "WHERE source = ? AND uuid = coalesce(?, uuid) ORDER BY full_name, uuid",
        (source, uuid),
    )
    return [
        RepositoryState(
            repository=Repository(source=source, uuid=u, full_name=name, main_branch=main, updated_on=updated),
            swept_at=moment(swept),
            selection=selection,
            status=status,
            pull_requests_to=moment(pull_requests),
        )
        for u, name, main, updated, swept, selection, status, pull_requests in rows
    ]


def repository_id(connection: Connection, repository: Repository) -> int | None:
    """Return the row of a repository, `None` when it was never stored."""
    rows = list(
        connection.rows(
            "SELECT id FROM repositories WHERE source = ? AND uuid = ?", (repository.source, repository.uuid)
        )
    )
    return rows[0][0] if rows else None


def walks_of(connection: Connection, row: int) -> list[Walk]:
    """Return the walks of a repository with their boundaries, oldest first."""
    boundaries: dict[tuple[str, str], set[str]] = {}
    for branch, target, sha in connection.rows(
        "SELECT branch, target, sha FROM boundaries WHERE repository_id = ?", (row,)
    ):
        boundaries.setdefault((branch, target), set()).add(sha)
    walks = connection.rows(
        "SELECT branch, target, line, since, bounded FROM walks WHERE repository_id = ? ORDER BY opened_at, branch, target",
        (row,),
    )
    return [
        Walk(
            branch=branch,
            target=target,
            boundary=frozenset(boundaries.get((branch, target), ())),
            line=line,
            since=moment(since),
            bounded=bool(bounded),
        )
        for branch, target, line, since, bounded in walks
    ]


REACHED = """
WITH RECURSIVE up (origin, sha) AS (
    SELECT value, value FROM json_each(:shas)
    UNION
    SELECT up.origin, p.sha FROM up JOIN commit_parents p ON p.parent = up.sha
    -- What is known as the branch's own was found unreached when it was listed: nothing new above it.
    WHERE NOT EXISTS (SELECT 1 FROM commit_branches b WHERE b.sha = p.sha AND b.repository_id = :repository
        AND b.branch = :branch AND b.via = 'scan' AND b.own = 1)
)
SELECT DISTINCT up.origin FROM up JOIN heads h ON h.sha = up.sha
WHERE h.repository_id = :repository AND h.branch <> :branch AND h.deleted_at IS NULL
"""

# Nothing stored is this commit, or has it as a parent: then no head can reach it, and nobody has seen it.
FAMILIAR = """
SELECT value FROM json_each(:shas) WHERE EXISTS (SELECT 1 FROM commits WHERE sha = value)
    OR EXISTS (SELECT 1 FROM commit_parents WHERE parent = value)
"""

FIRST_PARENTS = """
WITH RECURSIVE line (distance, sha) AS (
    SELECT 0, :sha
    UNION ALL
    SELECT line.distance + 1, p.parent FROM line JOIN commit_parents p ON p.sha = line.sha AND p.position = 0
    WHERE line.distance < :farthest
)
SELECT sha FROM line WHERE distance IN (SELECT value FROM json_each(:distances))
    AND EXISTS (SELECT 1 FROM commits c WHERE c.sha = line.sha) ORDER BY distance
"""

TO_REPAIR = """
SELECT uuid FROM repositories r WHERE source = :source AND (
    EXISTS (SELECT 1 FROM stale_branches s WHERE s.repository_id = r.id)
    OR EXISTS (SELECT 1 FROM stale_pull_requests s WHERE s.repository_id = r.id)
    OR r.id IN (SELECT b.repository_id FROM commits c JOIN commit_branches b ON b.sha = c.sha
        WHERE c.files_status <> 'known' AND c.files_status = 'owed' AND b.via = 'webhook')
)
"""


def reached_elsewhere(connection: Connection, row: int, branch: str, shas: Sequence[str]) -> frozenset[str]:
    """Return those commits that the head of another live branch reaches, through what is stored."""
    parameters = {"shas": json.dumps(list(shas)), "repository": row, "branch": branch}
    others = "SELECT 1 FROM heads WHERE repository_id = ? AND branch <> ? AND deleted_at IS NULL LIMIT 1"
    if not list(connection.rows(others, (row, branch))):
        return frozenset()
    return frozenset(sha for (sha,) in connection.rows(REACHED, parameters))


# --- the artifact's payload ----------------------------------------------------------------------------------


def sighted(connection: Connection, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield one entry for each (commit, repository) of a run, oldest commit first."""
    # The order is written down first: a sorter over a statement that stays open would pin the write-ahead log.
    rows = connection.rows(
        "SELECT s.sha, s.repository_id, r.full_name, s.new, c.author, c.date, c.files_status FROM temp.sighted s "
        "JOIN commits c ON c.sha = s.sha JOIN repositories r ON r.id = s.repository_id "
        "WHERE s.run_id = ? ORDER BY c.date, s.sha, r.full_name",
        (run_id,),
        size=BLOCK,
    )
    for block in _blocks(rows):
        yield from _payload(connection, block)


def _blocks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    block: list[tuple[Any, ...]] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _payload(connection: Connection, block: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    shas = json.dumps(sorted({row[0] for row in block}))

    def grouped(sql: str, key: Callable[[tuple[Any, ...]], Any]) -> dict[Any, list[tuple[Any, ...]]]:
        """Return the rows of each group; they come group by group."""
        rows = connection.all(sql.format("sha IN (SELECT value FROM json_each(?))"), (shas,))
        return {group: list(found) for group, found in groupby(rows, key)}

    files = grouped(
        "SELECT sha, path, status, old_path, lines_added, lines_removed FROM commit_files WHERE {} ORDER BY sha, path",
        itemgetter(0),
    )
    branches = grouped(
        "SELECT sha, repository_id, branch, via FROM commit_branches WHERE {} ORDER BY sha, repository_id",
        itemgetter(0, 1),
    )
    keys = grouped(
        "SELECT DISTINCT sha, story_key FROM commit_story_keys WHERE {} ORDER BY sha, story_key", itemgetter(0)
    )
    for sha, repository, full_name, new, author, date, files_status in block:
        links = branches.get((sha, repository), [])
        changes = files.get(sha, [])
        yield {
            "hash": sha,
            "repository": full_name,
            "authorship": author,
            "branch": None,
            "branches": sorted({link[2] for link in links}),
            "files_changed": [change[1] for change in changes],
            "files": [
                {"path": path, "status": status, "old_path": old, "lines_added": more, "lines_removed": less}
                for _, path, status, old, more, less in changes
            ],
            "files_status": files_status,
            "story_keys": [key for _, key in keys.get(sha, [])],
            "modified_on": moment(date),
            "source": "webhook" if links and all(link[3] == "webhook" for link in links) else "scan",
            "new": bool(new),
        }


# --- story keys ----------------------------------------------------------------------------------------------


def commits_for_keys(connection: Connection) -> Iterator[tuple[Commit, frozenset[StoryKey]]]:
    """Yield every commit with the texts that name stories, and its present keys; in blocks, so that memory stays flat."""
    after = ""
    while True:
        block = list(
            connection.rows("SELECT sha, message FROM commits WHERE sha > ? ORDER BY sha LIMIT ?", (after, BLOCK))
        )
        if not block:
            return
        after = block[-1][0]
        yield from _with_texts(connection, block)


def _with_texts(connection: Connection, block: list[tuple[Any, ...]]) -> Iterator[tuple[Commit, frozenset[StoryKey]]]:
    shas = json.dumps([sha for sha, _ in block])
    chosen = "sha IN (SELECT value FROM json_each(?))"
    sightings: dict[str, list[Sighting]] = {}
    keys: dict[str, set[StoryKey]] = {}
    seen_at = datetime.now(UTC)
    for sha, repository, branch in connection.rows(
        f"SELECT sha, repository_id, branch FROM commit_branches WHERE own = 1 AND {chosen}", (shas,)
    ):
        sightings.setdefault(sha, []).append(Sighting(str(repository), seen_at, branch=branch, own=True))
    for sha, repository, number, title in connection.rows(
        "SELECT l.sha, l.repository_id, p.id, p.title FROM commit_pull_requests l JOIN pull_requests p "
        f"ON p.repository_id = l.repository_id AND p.id = l.pull_request WHERE p.title IS NOT NULL AND l.{chosen}",
        (shas,),
    ):
        sightings.setdefault(sha, []).append(Sighting(str(repository), seen_at, pull_request=number, title=title))
    for sha, key, origin, plugin in connection.rows(
        f"SELECT sha, story_key, origin, plugin FROM commit_story_keys WHERE {chosen}", (shas,)
    ):
        keys.setdefault(sha, set()).add(StoryKey(key, origin, plugin))
    for sha, message in block:
        commit = Commit(sha=sha, message=message, sightings=frozenset(sightings.get(sha, ())))
        yield commit, frozenset(keys.get(sha, ()))


# --- questions -----------------------------------------------------------------------------------------------


def _conditions(since: datetime | None, repositories: Sequence[str], full_name: str) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    if since is not None:
        conditions.append("date >= ?")
        parameters.append(stamp(since))
    if repositories:
        # A name without its workspace will do: `api` finds `acme/api`.
        either = " OR ".join(
            [f"? IN ({full_name}, substr({full_name}, instr({full_name}, '/') + 1))"] * len(repositories)
        )
        conditions.append(f"({either})")
        parameters += repositories
    return conditions, parameters


def stories(connection: Connection, since: datetime | None, repositories: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each story, and one with the key `None` for commits that belong to none."""
    conditions, parameters = _conditions(since, repositories, "r.full_name")
    links = (
        "SELECT DISTINCT sha, repository_id FROM (SELECT sha, repository_id FROM commit_branches "
        "UNION ALL SELECT sha, repository_id FROM commit_pull_requests)"
    )
    sql = (
        "SELECT k.story_key, count(DISTINCT c.sha), json_group_array(DISTINCT r.full_name), min(c.date), max(c.date) "
        f"FROM ({links}) l JOIN commits c ON c.sha = l.sha JOIN repositories r ON r.id = l.repository_id "
        "LEFT JOIN (SELECT DISTINCT sha, story_key FROM commit_story_keys) k ON k.sha = c.sha "
        + (f"WHERE {' AND '.join(conditions)} " if conditions else "")
        + "GROUP BY k.story_key ORDER BY k.story_key IS NULL, max(c.date) DESC, k.story_key"
    )
    for key, count, names, first, last in connection.rows(sql, parameters):
        yield {
            "story_key": key,
            "commits": count,
            "repositories": sorted(json.loads(names)),
            "first": moment(first),
            "last": moment(last),
        }


def commits(
    connection: Connection, since: datetime | None, repositories: Sequence[str], story: str | None, unassigned: bool
) -> Iterator[dict[str, Any]]:
    """Yield `commit_summary` rows with the message, newest first."""
    conditions, parameters = _conditions(since, repositories, "repository")
    if story is not None:
        conditions.append("hash IN (SELECT sha FROM commit_story_keys WHERE story_key = ?)")
        parameters.append(story)
    if unassigned:
        conditions.append("NOT EXISTS (SELECT 1 FROM commit_story_keys k WHERE k.sha = hash)")
    sql = (
        "SELECT hash, repository, authorship, branch, branches, files_changed, story_keys, modified_on, "
        "commit_summary.last_seen_at, c.message FROM commit_summary JOIN commits c ON c.sha = hash "
        + (f"WHERE {' AND '.join(conditions)} " if conditions else "")
        + "ORDER BY modified_on DESC, hash, repository"
    )
    names = ("hash", "repository", "authorship", "branch", "branches", "files_changed", "story_keys", "modified_on")
    for row in connection.rows(sql, parameters):
        found = dict(zip((*names, "last_seen_at", "message"), row, strict=True))
        for name in ("branches", "files_changed", "story_keys"):
            found[name] = json.loads(found[name])
        for name in ("modified_on", "last_seen_at"):
            found[name] = moment(found[name])
        yield found
