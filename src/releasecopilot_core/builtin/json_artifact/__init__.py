"""The default sink: one JSON document a run in a folder. Hooks only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Sink


@hookimpl
def rc_open_sink(url: str) -> Sink | None:
    """Open a folder, `file:FOLDER` or `file:///FOLDER`."""
    from .artifact import JsonArtifacts, folder_of

    folder = folder_of(url)
    return None if folder is None else JsonArtifacts(folder)
