"""Requests: a workspace of 50 repositories in which nothing moved, and one in which ten commits came to one of them.

Counted where they are answered, at the sandbox, between two sweeps, after a first scan of everything. File lists are
included. A program that asks every repository for its branches needs 50 requests before it knows that there is nothing.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import git_histories
from measuring import Result, at_most
from scanned_workspace import served

REPOSITORIES, COMMITS, NEW = 50, 20, 10
QUIET, MOVED = 3, 20


def measure() -> list[Result]:
    """Return a row for the quiet workspace and one for ten new commits."""
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as workspace:
        paths = [workspace.repositories / f"service-{number:02}.git" for number in range(REPOSITORIES)]
        for path in paths:
            git_histories.make(path)
            git_histories.extend(
                path, "main", git_histories.spread(now - timedelta(hours=1), COMMITS, timedelta(days=1))
            )
        workspace.scan()
        quiet = workspace.scan()
        dates = git_histories.spread(now - timedelta(minutes=1), NEW, timedelta(minutes=2))
        git_histories.extend(paths[REPOSITORIES // 2], "main", dates)
        moved = workspace.scan()
    if (quiet.run.new, moved.run.new) != (0, NEW):
        raise RuntimeError(f"expected 0 and {NEW} new commits, not {quiet.run.new} and {moved.run.new}")
    name = f"{REPOSITORIES} repositories"
    return [
        at_most(QUIET, what=f"{name}, nothing new", ours=quiet.requests, detail=quiet.detail),
        at_most(MOVED, what=f"{name}, {NEW} new commits in one", ours=moved.requests, detail=moved.detail),
    ]
