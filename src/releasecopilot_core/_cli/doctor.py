"""`rc doctor`: what is well, and what to do about the rest."""

from __future__ import annotations

import json

import click

from . import COMPLETE, FAILED, PARTIAL
from .options import config_option, database_option, json_option

_EXIT = {"ok": COMPLETE, "warning": PARTIAL, "failed": FAILED}
_SIGNS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED ", "red")}


@click.command()
@click.option("--source", help="What to look at.  [default: the source that is configured]")
@config_option
@database_option
@json_option
def doctor(source: str | None, config: str | None, database: str | None, as_json: bool) -> None:
    """Check settings, credentials, service and database; each line passes or says what to do.

    It writes nothing but a temporary file, and asks the service about ten questions. Exits 0 when all is well, 3 with
    warnings, 1 when something fails.
    """
    from releasecopilot_core._checks import findings, verdict

    from .opening import opened

    found = []
    with opened(config, database=database) as ingestor:
        for name, finding in findings(ingestor, source or ingestor.default_source()):
            found.append((name, finding))
            if not as_json:
                sign, colour = _SIGNS[finding.status]
                click.echo(f"{click.style(sign, fg=colour)}  {name}: {finding.text}")
    if as_json:
        rows = [{"check": name, "status": finding.status, "text": finding.text} for name, finding in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    click.get_current_context().exit(_EXIT[verdict(finding for _, finding in found)])
