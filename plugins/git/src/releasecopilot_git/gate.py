"""Decide whether a repository needs a look: one whose branches stand where they stood has nothing new."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from releasecopilot_core import Memory, Repository, RepositoryState, ScanRequest, Walk, Window
from releasecopilot_core.selecting import selection_text

from .selecting import SOURCE


@attrs.frozen
class Look:
    """Whether there is history to list, and why; `known_before`: the last complete scan selected the same branches."""

    needed: bool
    selection: str
    known_before: bool
    reason: str

    @classmethod
    def at(cls, repository: Repository, request: ScanRequest, memory: Memory, patterns: Sequence[str]) -> Look:
        """Decide by what the store remembers; `repository.updated_on` is the mark of all branches as they are now."""
        state = memory.repository(SOURCE, repository.uuid)
        selection = selection_text(patterns)
        complete = state is not None and state.status == "complete"
        reasons = {
            "first contact": state is None,
            "all history wanted": request.full,
            "last scan was not complete": state is not None and not complete,
            "other branches wanted": state is not None and state.selection != selection,
            "changed": state is not None and _moved(state, repository),
            "unfinished walk": any(_goes_on(walk, request.window) for walk in memory.walks(repository)),
        }
        reason = next((text for text, holds in reasons.items() if holds), None)
        known = state is not None and complete and state.selection == selection
        return cls(reason is not None, selection, known, reason or "unchanged")


def _moved(state: RepositoryState, now: Repository) -> bool:
    before = state.repository
    return before.updated_on != now.updated_on or before.main_branch != now.main_branch


def _goes_on(walk: Walk, window: Window) -> bool:
    """Whether a walk was cut off, or one that stopped at a window's start must go on for a wider window."""
    return not walk.bounded or walk.since is None or window.start < walk.since
