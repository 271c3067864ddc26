"""`rc runs list` and `rc runs show`: past runs and how they ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from .options import config_option, database_option, json_option, limit_option

_source = click.option("--source", help="Whose database.  [default: the one that is configured]")


@click.group()
def runs() -> None:
    """Show past runs and how they ended."""


@runs.command("list")
@limit_option
@_source
@config_option
@database_option
@json_option
def list_runs(limit: int, source: str | None, config: str | None, database: str | None, as_json: bool) -> None:
    """List the latest runs, newest first."""
    from .words import table

    found = _runs(source, config, database, limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    columns = ("run_id", "kind", "status", "listed", "new", "refreshed", "requests")
    rows = [[run[column] for column in columns] for run in found]
    click.echo(table(rows, [column.upper() for column in columns]) if rows else "No runs yet.")


@runs.command("show")
@click.argument("run_id")
@_source
@config_option
@database_option
def show_run(run_id: str, source: str | None, config: str | None, database: str | None) -> None:
    """Show everything that is kept of one run, as JSON."""
    from releasecopilot_core.errors import UnknownNameError

    for run in _runs(source, config, database, run_id=run_id):
        click.echo(json.dumps(run, indent=2, ensure_ascii=False))
        return
    raise UnknownNameError(f"no run {run_id!r} in this database; see `rc runs list`")


def _runs(source: str | None, config: str | None, database: str | None, **which: Any) -> list[Mapping[str, Any]]:
    from .opening import asking

    with asking(source, config, database) as (_, _, store):
        return list(store.runs(**which))
