"""UTC inside, America/Phoenix at the edge."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

ZONE_NAME = "America/Phoenix"


@cache
def _zone() -> ZoneInfo:
    return ZoneInfo(ZONE_NAME)


def phoenix(moment: datetime) -> str:
    """Return a time as a person in Phoenix reads it: `2026-11-23T10:00:00-07:00` (no daylight saving, ever)."""
    return moment.astimezone(_zone()).isoformat(timespec="seconds")


def phoenix_or_none(moment: datetime | None) -> str | None:
    """Return `phoenix(moment)`, or `None` for a time that is not known."""
    return None if moment is None else phoenix(moment)


def utc_now() -> datetime:
    """Return this moment in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
