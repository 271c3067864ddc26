"""`CommitStorage` under the name that the old runbook gives it."""

from __future__ import annotations

from releasecopilot_core import CommitStorage

__all__ = ["CommitStorage"]
