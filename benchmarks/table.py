"""The table of results: as text for a terminal, and as Markdown in the README."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from measuring import Result

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
HEADINGS = ("benchmark", "what", "ours", "peer", "ratio", "aim", "met")

Found = Mapping[str, Sequence[Result]]


def plain(found: Found) -> str:
    """Return aligned columns."""
    rows = [HEADINGS, *_cells(found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(found: Found) -> str:
    """Return the same as a Markdown table."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *_cells(found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine() -> str:
    """Return when and on what this was measured, in one line."""
    today = datetime.now(UTC).date()
    cores = os.cpu_count()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{today}, {cores} cores ({platform.machine()}), {platform.system()}, {python}, SQLite {sqlite3.sqlite_version}"
    )


def keep(page: Path, found: Found, measured_on: str) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: no {BEGIN} … {END}; put both where the table belongs")
    page.write_text(f"{before}{BEGIN}\n{measured_on}.\n\n{markdown(found)}\n{END}{after}", encoding="utf-8")


def _cells(found: Found) -> list[tuple[str, ...]]:
    return [
        (
            name,
            result.what,
            result.ours,
            result.peer or "-",
            "-" if result.ratio is None else f"{result.ratio:.2f}",
            result.aim or "-",
            "-" if result.met is None else "yes" if result.met else "no",
        )
        for name, results in found.items()
        for result in results
    ]
