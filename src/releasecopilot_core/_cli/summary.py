"""The words about a run: how it ended, which stories it saw, what is missing."""

from __future__ import annotations

import click

from releasecopilot_core import Run, Store

from .words import NO_STORY, plural, table, when

#: So many stories are shown after a scan; `rc stories` shows all.
SHOWN = 20


def print_problems(run: Run) -> None:
    """Print each problem as one line on stderr."""
    for problem in run.problems:
        where = f"{problem.repository}: " if problem.repository and problem.repository not in problem.message else ""
        prefix = "note: " if problem.kind == "note" else ""
        click.echo(f"rc: {prefix}{where}{problem.message}", err=True)


def summary(run: Run, store: Store) -> str:
    """Return a run's outcome and a short table of the stories in its window."""
    earlier = f" ({run.earlier:,} dated before the window)" if run.earlier else ""
    seen = f"{plural(run.listed, 'commit')} listed, {run.new:,} new{earlier}, {run.refreshed:,} seen again"
    place = f"in {plural(len(run.repositories), 'repository')} with {plural(run.requests, 'request')}"
    lines = [f"Run {run.run_id}: {run.status}. {seen} {place}.", ""]
    if run.repositories:
        lines += [*_story_lines(run, store), ""]
    bounded = sum(report.history == "bounded" for report in run.repositories)
    if bounded:
        lines.append(f"Older history of {plural(bounded, 'repository')} is not loaded; use --full for all of it.")
    if run.artifact:
        lines.append(f"Artifact: {run.artifact}")
    return "\n".join(lines)


def _story_lines(run: Run, store: Store) -> list[str]:
    rows = _stories(run, store)
    lines = [f"Stories in the window since {when(run.window.start)} (Phoenix):"]
    lines.append(table(rows[:SHOWN], ("STORY", "COMMITS", "REPOSITORIES", "LAST COMMIT")) if rows else "  none")
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more: rc stories --hours {run.window.hours:g}")
    return lines


def _stories(run: Run, store: Store) -> list[tuple[object, ...]]:
    names = [report.name for report in run.repositories]
    found = store.stories(since=run.window.start, repositories=names) if names else iter(())
    return [(row["story_key"] or NO_STORY, row["commits"], row["repositories"], when(row["last"])) for row in found]
