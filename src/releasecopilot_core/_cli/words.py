"""What people read: tables, times, and the lines about a run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

#: Table cells longer than this are cut; `--json` and `--csv` never are.
WIDEST = 60

#: Stands in a table for commits that belong to none.
NO_STORY = "(no story)"


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Return an aligned table with a header line."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    # Control characters in a message or a branch name must not drive somebody's terminal.
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def when(moment: datetime | None) -> str:
    """Return a time as a person in Phoenix reads it, to the minute."""
    from releasecopilot_core import phoenix

    return "" if moment is None else phoenix(moment)[:16].replace("T", " ")


def plural(count: int, noun: str) -> str:
    """Return `1 commit`, `2 commits`, `2 repositories`."""
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def print_rows(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, as_csv: bool, nothing: str
) -> None:
    """Print rows as a table (`columns`: key -> heading), as a JSON array, or as CSV; streamed but for the table."""
    if as_json:
        _print_json(rows)
    elif as_csv:
        _print_csv(rows)
    else:
        body = [[_shown(row[key]) for key in columns] for row in rows]
        click.echo(table(body, list(columns.values())) if body else nothing)


def _shown(value: object) -> object:
    return when(value) if isinstance(value, datetime) else value


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; times carry the Phoenix offset."""
    from releasecopilot_core import phoenix

    return phoenix(value) if isinstance(value, datetime) else value


def _print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    separator = "["
    for row in rows:
        text = json.dumps({key: plain(value) for key, value in row.items()}, ensure_ascii=False)
        click.echo(f"{separator}{text}", nl=False)
        separator = ",\n "
    click.echo("[]" if separator == "[" else "]")


def _print_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    for number, row in enumerate(rows):
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        if number == 0:
            writer.writerow(row)
        writer.writerow(";".join(v) if isinstance(v, list) else plain(v) for v in row.values())
        click.echo(line.getvalue(), nl=False)
