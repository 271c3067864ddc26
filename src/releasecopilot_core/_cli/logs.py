"""The log file of a run: `<kind>_<run_id>.log`, every line with the time in Phoenix."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from releasecopilot_core import phoenix
from releasecopilot_core.errors import UsageError

from .pipes import reader_may_leave


class _PhoenixFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return phoenix(datetime.fromtimestamp(record.created, UTC))


class _RunLog(logging.FileHandler):
    """Says once that the disk is full, and lets the run go on without its log."""

    _given_up = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._given_up:
            self._given_up = True
            with reader_may_leave():
                click.echo(f"rc: {self.baseFilename}: the log cannot be written ({error.strerror or error})", err=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written is tried once more
            super().close()


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
        handler = _RunLog(path, encoding="utf-8")
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
        with contextlib.suppress(OSError):  # it was removed meanwhile, or somebody else uses a folder by now
            if path.stat().st_size == 0:  # nothing was begun
                path.unlink()
                for parent in made:
                    parent.rmdir()
