"""Progress on stderr: a bar on a terminal, a line a repository otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from releasecopilot_core import Progress, RepositoryReport

from .pipes import reader_may_leave
from .words import plural


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows how far a run has come."""
    if quiet:
        yield lambda _: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _Bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Lines:
    """Writes one line when a repository is done."""

    def __init__(self) -> None:
        self._finished = 0

    def __call__(self, progress: Progress) -> None:
        if progress.finished > self._finished:
            self._finished = progress.finished
            with reader_may_leave():
                click.echo(f"[{progress.finished}/{progress.expected or '?'}] {line(progress.report)}", err=True)


class _Bar:
    """Draws a bar of repositories with the present one's commits beside it, once their number is known."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._finished = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def __call__(self, progress: Progress) -> None:
        if self._bar is None:
            if progress.expected is None:
                return
            self._bar = click.progressbar(length=progress.expected, file=sys.stderr, item_show_func=_item)
            self._bar.render_progress()
        self._bar.update(progress.finished - self._finished, current_item=progress.report)
        self._finished = progress.finished


def _item(report: RepositoryReport | None) -> str:
    return "" if report is None else f"{report.name}: {plural(report.listed, 'commit')}"


def line(report: RepositoryReport) -> str:
    """Return what happened to one repository."""
    parts = [f"{report.listed:,} listed", f"{report.new:,} new", f"{report.refreshed:,} seen again"]
    if report.files_owed:
        parts.append(f"{report.files_owed:,} still owe their files")
    return f"{report.name}: {report.status}, {', '.join(parts)}"
