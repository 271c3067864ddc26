"""A run as the JSON document that sinks publish: what comes before the payload, and what comes after it.

For authors of sinks: write `opening`, then the payload as it streams by, then `closing`. `document` is both without the
payload, which is what `rc … --json` prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ._clock import ZONE_NAME, phoenix
from ._model import Problem
from ._run import RepositoryReport, Run


def opening(run: Run) -> dict[str, Any]:
    """Return what comes before the payload."""
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "source": run.source,
        "generated_at": phoenix(run.finished_at or run.started_at),
        "timezone": ZONE_NAME,
        "window": {
            "start": phoenix(run.window.start),
            "end": phoenix(run.window.end),
            "hours": run.window.hours,
            "repositories": [report.name for report in run.repositories],
        },
    }


def closing(run: Run, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return what comes after it; entries that were left out on the way make a complete run partial."""
    left_out = len(problems) > len(run.problems)
    return {
        "repositories": [_repository(report) for report in run.repositories],
        "problems": [attrs.asdict(problem) for problem in problems],
        "plugins": dict(run.plugins),
        "requests": run.requests,
        "git_sha": run.git_sha,
        "status": "partial" if left_out and run.status == "complete" else run.status,
    }


def document(run: Run) -> dict[str, Any]:
    """Return the artifact without its payload, and where it is: what `--json` prints."""
    return {**opening(run), **closing(run, run.problems), "artifact": run.artifact}


def _repository(report: RepositoryReport) -> dict[str, Any]:
    return {
        **attrs.asdict(report, recurse=False),
        "problems": [attrs.asdict(problem) for problem in report.problems],
    }
