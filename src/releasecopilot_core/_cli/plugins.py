"""`rc plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from . import COMPLETE, PARTIAL
from .options import config_option, json_option

if TYPE_CHECKING:
    from releasecopilot_core import Settings


@click.command()
@config_option
@json_option
def plugins(config: str | None, as_json: bool) -> None:
    """List plugins: version, hooks, and what is wrong with those that failed.

    Exits 3 when one of them failed to load.
    """
    import attrs

    from releasecopilot_core import Ingestor, Settings

    from .words import table

    # Plugins can be listed before there are settings; only a file that was named must exist.
    settings = Settings.load(config) if config else _default_settings()
    with Ingestor(settings) as ingestor:
        infos = ingestor.plugins()
    if as_json:
        click.echo(json.dumps([attrs.asdict(info) for info in infos], indent=2))
    else:
        rows = [(info.name, info.version, info.status, info.hooks, info.error) for info in infos]
        click.echo(table(rows, ("PLUGIN", "VERSION", "STATUS", "HOOKS", "ERROR")))
        for info in infos:
            if info.error:
                click.echo(f"rc: plugin {info.name!r}: {info.error}", err=True)
    click.get_current_context().exit(PARTIAL if any(info.error for info in infos) else COMPLETE)


def _default_settings() -> Settings:
    from releasecopilot_core import Settings
    from releasecopilot_core.errors import SettingsError

    try:
        return Settings.load()
    except SettingsError:
        return Settings()
