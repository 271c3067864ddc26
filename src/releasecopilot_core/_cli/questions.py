"""`rc stories` and `rc commits`: questions to the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from .options import ManyValues, ManyValuesCommand, config_option, database_option

_STORIES = {
    "story_key": "STORY",
    "commits": "COMMITS",
    "repositories": "REPOSITORIES",
    "first": "FIRST",
    "last": "LAST",
}
_COMMITS = {
    "short": "COMMIT",
    "modified_on": "DATE (PHOENIX)",
    "repository": "REPOSITORY",
    "branch": "BRANCH",
    "story_keys": "STORIES",
    "subject": "SUBJECT",
}


def _question(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--source", help="Whose database.  [default: the one that is configured]"),
        click.option("--hours", type=float, help="Only commits dated in the last so many hours."),
        click.option("--repos", cls=ManyValues, metavar="NAME…", help="Only these repositories."),
        config_option,
        database_option,
        click.option("--json", "as_json", is_flag=True, help="Print a JSON array."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _one_form(*, as_json: bool, as_csv: bool, **_: Any) -> None:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other", click.get_current_context())


@click.command(cls=ManyValuesCommand)
@_question
def stories(**options: Any) -> None:
    """Show which stories the stored commits belong to, the latest first; the last line counts those of none."""
    from .opening import asking, tell_if_keys_are_stale
    from .words import NO_STORY, print_rows

    _one_form(**options)
    with asking(options["source"], options["config"], options["database"]) as (ingestor, source, store):
        tell_if_keys_are_stale(ingestor, source)
        rows = store.stories(since=_since(options["hours"]), repositories=options["repos"])
        nothing = "No commits are stored for that."
        as_json, as_csv = options["as_json"], options["as_csv"]
        if not (as_json or as_csv):
            rows = ({**row, "story_key": row["story_key"] or NO_STORY} for row in rows)
        print_rows(rows, _STORIES, as_json=as_json, as_csv=as_csv, nothing=nothing)


@click.command(cls=ManyValuesCommand)
@click.option("--story", metavar="KEY", help="Only commits of this story.")
@click.option("--unassigned", is_flag=True, help="Only commits that belong to no story.")
@_question
def commits(story: str | None, unassigned: bool, **options: Any) -> None:
    """Show stored commits, newest first."""
    from .opening import asking, tell_if_keys_are_stale
    from .words import print_rows

    _one_form(**options)
    if story and unassigned:
        raise click.UsageError("--story and --unassigned exclude each other", click.get_current_context())
    with asking(options["source"], options["config"], options["database"]) as (ingestor, source, store):
        tell_if_keys_are_stale(ingestor, source)
        found = store.commits(
            since=_since(options["hours"]), repositories=options["repos"], story=story, unassigned=unassigned
        )
        if options["as_json"] or options["as_csv"]:
            print_rows(found, {}, as_json=options["as_json"], as_csv=options["as_csv"], nothing="")
            return
        rows = ({**row, "short": row["hash"][:12], "subject": _subject(row["message"])} for row in found)
        print_rows(rows, _COMMITS, as_json=False, as_csv=False, nothing="No commits are stored for that.")


def _subject(message: str | None) -> str:
    return (message or "").strip().partition("\n")[0]


def _since(hours: float | None) -> datetime | None:
    from releasecopilot_core import Window
    from releasecopilot_core._requests import MOST_HOURS
    from releasecopilot_core.errors import UsageError

    if hours is None:
        return None
    if not 0 < hours <= MOST_HOURS:
        raise UsageError(f"--hours: {hours!r} is not a number above 0 and up to {MOST_HOURS:g}; leave it out for all")
    return Window.last(hours).start
