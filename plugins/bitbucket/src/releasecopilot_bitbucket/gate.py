"""Decide which repositories need a look: an unchanged one costs nothing but its line in the workspace's list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs

from releasecopilot_core import Memory, Repository, RepositoryState, ScanRequest, Window
from releasecopilot_core.selecting import selection_text

from .selecting import SOURCE

#: The reason to look at a repository of which nobody says that it changed.
SWEEP = "sweep"


@attrs.frozen
class Look:
    """Whether a repository's branches must be listed, and why.

    `known_before` says that the last complete scan selected the same branches (by the same `patterns`); `selection` is what
    a later one compares.
    """

    needed: bool
    sweep: bool
    patterns: Sequence[str]
    selection: str
    known_before: bool
    reason: str

    @classmethod
    def at(
        cls, repository: Repository, request: ScanRequest, memory: Memory, patterns: Sequence[str], sweep_hours: float
    ) -> Look:
        """Decide by what the store remembers: an unchanged `updated_on` means that no ref has moved."""
        state = memory.repository(SOURCE, repository.uuid)
        selection = selection_text(patterns)
        due = _sweep_is_due(state, sweep_hours) if request.sweep is None else request.sweep
        sweep = due or request.full
        reasons = {
            "first contact": state is None,
            "all history wanted": request.full,
            "last scan was not complete": state is not None and state.status != "complete",
            "other branches wanted": state is not None and state.selection != selection,
            "changed": state is not None and _moved(state.repository, repository),
            "unfinished walk": _is_unfinished(memory, repository, request.window),
            "announced by a webhook": bool(memory.stale_branches(repository) or memory.stale_pull_requests(repository)),
            SWEEP: sweep,
        }
        if request.repair:
            # Whatever an announced branch brings is new, once there are heads to tell it from older history.
            return cls(
                needed=True,
                sweep=False,
                patterns=patterns,
                selection=selection,
                known_before=bool(memory.heads(repository)),
                reason="announced by a webhook",
            )
        reason = next((text for text, holds in reasons.items() if holds), None)
        known = state is not None and state.status == "complete" and state.selection == selection
        return cls(reason is not None, sweep, patterns, selection, known, reason or "unchanged")


def _sweep_is_due(state: RepositoryState | None, hours: float) -> bool:
    if state is None or state.swept_at is None:
        return True
    age = datetime.now(UTC) - state.swept_at
    # A sweep that is yet to come was noted by a clock that has been set back since.
    return age > timedelta(hours=hours) or age < -timedelta(minutes=5)


def _moved(before: Repository, now: Repository) -> bool:
    return now.updated_on is None or before.updated_on != now.updated_on or before.main_branch != now.main_branch


def _is_unfinished(memory: Memory, repository: Repository, window: Window) -> bool:
    """Whether a walk was cut off, or one that stopped at a window's start must go on for a wider window."""
    walks = memory.walks(repository)
    return any(not walk.bounded or walk.since is None or window.start < walk.since for walk in walks)
