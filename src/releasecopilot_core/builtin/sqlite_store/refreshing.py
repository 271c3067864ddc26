"""See again, without asking the service, what a window's commits on these branches still are."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from releasecopilot_core import Window

from .writing import now, stamp

# Stored commits of the window on these branches that the run has not sighted already. EXISTS, not a join: SQLite would go
# through all links of the repository, and not through the dates of the window.
_CANDIDATES = """
INSERT INTO temp.candidates SELECT c.sha FROM commits c WHERE c.date BETWEEN :start AND :end
    AND EXISTS (SELECT 1 FROM commit_branches b WHERE b.sha = c.sha AND b.repository_id = :repository
        AND b.branch IN (SELECT value FROM json_each(:branches)))
    AND NOT EXISTS (SELECT 1 FROM temp.sighted s WHERE s.run_id = :run AND s.sha = c.sha AND s.repository_id = :repository)
"""

# All that lies between them and any head: every path from a head to a candidate is inside. Recent commits have few
# descendants, so this is small however long the history is.
_ABOVE = """
INSERT INTO temp.above WITH RECURSIVE up (sha) AS (
    SELECT sha FROM temp.candidates UNION SELECT p.sha FROM up JOIN commit_parents p ON p.parent = up.sha
) SELECT sha FROM up
"""

# A link says "was seen on"; what a force-push took away must not be seen again.
_ALIVE = """
WITH RECURSIVE down (sha) AS (
    SELECT h.sha FROM heads h JOIN temp.above a ON a.sha = h.sha
    WHERE h.repository_id = :repository AND h.deleted_at IS NULL AND h.branch IN (SELECT value FROM json_each(:branches))
    UNION
    SELECT p.parent FROM down JOIN commit_parents p ON p.sha = down.sha JOIN temp.above a ON a.sha = p.parent
)
DELETE FROM temp.candidates WHERE sha NOT IN (SELECT sha FROM down)
"""


def refresh(db: sqlite3.Connection, row: int, branches: Sequence[str], window: Window, run_id: str) -> int:
    """Mark what is still there as seen now; returns how many commits that were. Inside the caller's transaction."""
    parameters = {
        "start": stamp(window.start),
        "end": stamp(window.end),
        "repository": row,
        "branches": json.dumps(list(branches)),
        "run": run_id,
        "now": now(),
    }
    for table in ("candidates", "above"):
        db.execute(f"DELETE FROM temp.{table}")
    db.execute(_CANDIDATES, parameters)
    db.execute(_ABOVE)
    db.execute(_ALIVE, parameters)
    db.execute(
        "UPDATE commits SET last_seen_at = max(coalesce(last_seen_at, :now), :now) WHERE sha IN temp.candidates",
        parameters,
    )
    db.execute(
        "UPDATE commit_branches SET last_seen_at = max(last_seen_at, :now) WHERE sha IN temp.candidates "
        "AND repository_id = :repository AND branch IN (SELECT value FROM json_each(:branches))",
        parameters,
    )
    added = db.execute(
        "INSERT OR IGNORE INTO temp.sighted (run_id, sha, repository_id, new) "
        "SELECT :run, sha, :repository, 0 FROM temp.candidates",
        parameters,
    )
    return added.rowcount
