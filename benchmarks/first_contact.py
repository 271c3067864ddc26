"""Requests: the first scan of a repository with 3,000 commits, of which ten lie in the four hours asked for.

Counted where they are answered, at the sandbox, and compared with what the client says it sent. File lists are included:
one request a commit of the window. Once only the main branch is wanted, as by default; once all branches are, of which
there are six, and the ten commits are spread over them. There is no peer to stand beside: a program that lists the
branch to its end needs 30 pages of 100 commits, and knows no files by then.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import git_histories
from measuring import Result, at_most
from scanned_workspace import Counted, served

COMMITS, RECENT = 3_000, 10
SIDE_BRANCHES = 5
AIM = 40


def measure() -> list[Result]:
    """Return a row for the main branch alone and one for all branches."""
    name = f"{COMMITS:,} commits, {RECENT} in the window"
    rows = []
    for what, branches, side in (("main branch", (), 0), (f"{1 + SIDE_BRANCHES} branches", ("*",), SIDE_BRANCHES)):
        counted = _first_contact(side, *branches)
        rows.append(at_most(AIM, what=f"{name}, {what}", ours=counted.requests, detail=counted.detail))
    return rows


def _first_contact(side_branches: int, *branches: str) -> Counted:
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as workspace:
        path = workspace.repositories / "api.git"
        git_histories.make(path)
        old = git_histories.spread(newest - timedelta(hours=5), COMMITS - RECENT, timedelta(hours=1))
        git_histories.extend(path, "main", old)
        for number in range(side_branches):
            git_histories.extend(path, f"feature/RC-{number}", [newest], start="main")
        git_histories.extend(path, "main", git_histories.spread(newest, RECENT - side_branches, timedelta(minutes=20)))
        counted = workspace.scan(*branches)
        known = sum(entry.files_owed for entry in counted.run.repositories)
        if known or counted.run.new < RECENT:
            raise RuntimeError(f"the scan left something out: {counted.run}")
        return counted
