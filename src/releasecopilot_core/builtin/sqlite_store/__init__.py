"""The default store: one SQLite file. Hooks only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Store


@hookimpl
def rc_open_store(url: str, create: bool) -> Store | None:
    """Open a path, `sqlite:PATH` or `sqlite:///PATH`."""
    from .location import path_of

    path = path_of(url)
    if path is None:
        return None
    from .storage import CommitStorage

    return CommitStorage(path, create=create)
