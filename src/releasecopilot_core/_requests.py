"""What callers ask of a scan, checked before anything is begun."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ._model import FilesMode, Window
from ._run import ScanRequest
from .errors import UsageError

#: A hundred years; beyond it dates overflow, and --full says what is meant.
MOST_HOURS = 876_000.0


def scan_request(
    hours: float,
    repositories: Sequence[str] | None,
    branches: Sequence[str] | None,
    *,
    full: bool,
    files: FilesMode | None,
) -> ScanRequest:
    """Return what is asked for, with the window that ends now.

    Raises:
        UsageError: `hours` is not a length of time.
    """
    return ScanRequest(
        window=Window.last(_checked_hours(hours)),
        repositories=tuple(repositories) if repositories else None,
        branches=tuple(branches) if branches else None,
        full=full,
        files=files,
    )


def _checked_hours(hours: float) -> float:
    if (
        isinstance(hours, bool)
        or not isinstance(hours, int | float)
        or math.isnan(hours)
        or not 0 < hours <= MOST_HOURS
    ):
        raise UsageError(
            f"hours: {hours!r} is not a number above 0 and up to {MOST_HOURS:g}; for all history use --full"
        )
    return float(hours)
