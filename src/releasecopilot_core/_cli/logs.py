"""The log file of a run: `<kind>_<run_id>.log`, every line with the time in Phoenix."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from releasecopilot_core import phoenix
from releasecopilot_core.errors import UsageError


class _PhoenixFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return phoenix(datetime.fromtimestamp(record.created, UTC))


@contextlib.contextmanager
def logging_to(folder: str, run_id: str, *, kind: str = "scan") -> Iterator[None]:
    """Write what any plugin logs, from INFO on, into a file of its own in `folder`, which is made if needed.

    Raises:
        UsageError: the folder cannot be written to.
    """
    path = Path(folder) / f"{kind}_{run_id}.log"
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{folder}: cannot write logs here ({reason}); set `logs` to another folder") from None
    handler.setFormatter(_PhoenixFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
        if path.stat().st_size == 0:  # nothing was begun
            path.unlink()
            for parent in made:
                with contextlib.suppress(OSError):  # somebody else uses it by now
                    parent.rmdir()
