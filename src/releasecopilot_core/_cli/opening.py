"""Open an `Ingestor` for a command, and show warnings as one line each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from releasecopilot_core import Ingestor, Settings


@contextmanager
def opened(
    config: str | None, *, database: str | None = None, artifacts: str | None = None, needs_settings: bool = True
) -> Iterator[Ingestor]:
    """Open an ingestor by its settings; without a settings file, `--database` alone is enough for a question.

    With `needs_settings` false the file may be absent, as for a source that works without.

    Raises:
        SettingsError: the settings are wrong, or there are none and no database was named.
    """
    from releasecopilot_core import Ingestor, Settings

    with _warnings_told():
        missing = config is None and not _has_default()
        if missing and not needs_settings:
            settings = _of_environment()
        else:
            settings = Settings() if missing and database is not None else Settings.load(config)
        with Ingestor(settings, database=database, artifacts=artifacts) as ingestor:
            yield ingestor


def _has_default() -> bool:
    from releasecopilot_core._settings import DEFAULT_PATH

    return DEFAULT_PATH.exists()


def _of_environment() -> Settings:
    """Return what environment variables set; without a file that may be nothing at all, which `load` refuses."""
    from releasecopilot_core import Settings
    from releasecopilot_core.errors import SettingsError

    try:
        return Settings.load()
    except SettingsError:
        return Settings.load(os.devnull)


@contextmanager
def _warnings_told() -> Iterator[None]:
    from .pipes import reader_may_leave

    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in told:
            told.add(text)
            with reader_may_leave():
                click.echo(f"rc: warning: {text}", err=True)

    with warnings.catch_warnings():
        # Plugins warn operators with UserWarning; other categories are for programmers.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def tell_if_keys_are_stale(ingestor: Ingestor, source: str) -> None:
    """Say so on stderr when stored keys were derived by other rules than today's."""
    from .pipes import reader_may_leave

    if ingestor.keys_are_stale(source):
        with reader_may_leave():
            click.echo("rc: the story-key rules have changed since keys were stored; run `rc rekey`", err=True)
