"""The default store: one SQLite file. Hooks only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Finding, Store


@hookimpl
def rc_open_store(url: str, create: bool) -> Store | None:
    """Open a path, `sqlite:PATH` or `sqlite:///PATH`."""
    from releasecopilot_core.errors import UsageError

    from .location import path_of

    path = path_of(url)
    if path is None:
        return None
    if not path:
        # SQLite would make a database that is gone at the end.
        raise UsageError(f"{url} names no file; write it behind the colon, such as sqlite:data/commits.db")
    from .storage import CommitStorage

    return CommitStorage(path, create=create)


@hookimpl
def rc_checks(database: str) -> Mapping[str, Callable[[], Iterable[Finding]]]:
    """Look at the file, and at what is left over in it."""
    from .checks import checks
    from .location import path_of

    path = path_of(database)
    return {} if path is None else checks(path)
