"""Open an `Ingestor` for a command, and show warnings as one line each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from releasecopilot_core import Ingestor, Settings, Store


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
        enough = missing and (database is not None or not needs_settings)
        settings = _of_environment() if enough else Settings.load(config)
        with Ingestor(settings, database=database, artifacts=artifacts) as ingestor:
            yield ingestor


@contextmanager
def asking(source: str | None, config: str | None, database: str | None) -> Iterator[tuple[Ingestor, str, Store]]:
    """Open an ingestor, and the store of the source that a question is about, which must be there.

    Without settings the one database that scans without settings have written below the working directory is taken, and
    named on stderr.

    Raises:
        SettingsError: the settings are wrong, or there are none and it is not clear which database is meant.
        MissingDatabaseError: the database is not there.
    """
    if config is None and database is None and not _has_default():
        database = _without_settings(source)
    with opened(config, database=database) as ingestor:
        source = source or ingestor.default_source()
        yield ingestor, source, ingestor.store(source, create=False)


def _without_settings(source: str | None) -> str | None:
    """Return the database of a folder without a settings file; `None` when environment variables are settings enough."""
    from releasecopilot_core import Settings
    from releasecopilot_core._settings import DEFAULT_PATH
    from releasecopilot_core.errors import SettingsError

    settings = _of_environment()
    if settings.origin != os.devnull:
        return None
    if source is not None or settings.raw("database"):
        return settings.database(source or "")
    pattern = Settings().database("*")
    found = sorted(str(file) for file in Path().glob(pattern) if file.is_file())
    missing = f"{DEFAULT_PATH}: no settings file"
    if not found:
        raise SettingsError(
            f"{missing}, and no database {pattern}; scan first, or name one with --config or --database"
        )
    if len(found) > 1:
        raise SettingsError(f"{missing}, and several databases; choose one with --database: {', '.join(found)}")
    _tell(f"no settings file; this is {found[0]}")
    return found[0]


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
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in told:
            told.add(text)
            _tell(f"warning: {text}")

    with warnings.catch_warnings():
        # Plugins warn operators with UserWarning; other categories are for programmers.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def tell_if_keys_are_stale(ingestor: Ingestor, source: str) -> None:
    """Say so on stderr when stored keys were derived by other rules than today's."""
    if ingestor.keys_are_stale(source):
        _tell("the story-key rules have changed since keys were stored; run `rc rekey`")


def _tell(line: str) -> None:
    from .pipes import reader_may_leave

    with reader_may_leave():
        click.echo(f"rc: {line}", err=True)
