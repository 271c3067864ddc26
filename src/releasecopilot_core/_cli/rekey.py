"""`rc rekey`: derive all story keys anew, showing the difference first."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from .options import config_option, database_option, json_option

#: So many changed commits are shown on a terminal; `--json` shows all.
SHOWN = 20


@click.command()
@click.option("--source", help="Whose database.  [default: the one that is configured]")
@config_option
@database_option
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--dry-run", is_flag=True, help="Show the difference and write nothing.")
@json_option
def rekey(
    source: str | None, config: str | None, database: str | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Derive all story keys anew from what is stored, after the rules changed.

    The difference is shown first. Without a terminal to ask on, --yes is needed to write.
    """
    from .opening import opened

    with opened(config, database=database) as ingestor:
        source = source or ingestor.default_source()
        ingestor.store(source, create=False)
        changes = [_difference(*change) for change in ingestor.rekey(source, apply=False)]
        _print(changes, as_json=as_json)
        if dry_run:
            return
        if changes and not yes:
            _ask()
        ingestor.rekey(source)
        if changes and not as_json:
            click.echo("Written.")


def _difference(sha: str, before: Any, now: Any) -> dict[str, Any]:
    old, new = {key.key for key in before}, {key.key for key in now}
    return {"hash": sha, "added": sorted(new - old), "removed": sorted(old - new), "kept": sorted(new & old)}


def _print(changes: list[dict[str, Any]], *, as_json: bool) -> None:
    from .words import plural, table

    if as_json:
        click.echo(json.dumps(changes, indent=2))
        return
    if not changes:
        click.echo("Keys are up to date.")
        return
    rows = [(change["hash"][:12], change["added"], change["removed"]) for change in changes[:SHOWN]]
    click.echo(table(rows, ("COMMIT", "ADDED", "REMOVED")))
    if len(changes) > SHOWN:
        click.echo(f"and {len(changes) - SHOWN} more (--json shows all)")
    click.echo(f"{plural(len(changes), 'commit')} would change.")


def _ask() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            "nothing was written: add --yes to write without being asked", click.get_current_context()
        )
    click.confirm("Write these keys?", abort=True, err=True)
