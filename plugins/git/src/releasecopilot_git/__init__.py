"""Any git repository for Release Copilot. Hooks only; the work sits in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Finding, Settings, Source


def open_git(settings: Settings) -> Source:
    """Scan git repositories, by path or URL, for commits, story keys and changed files.

    A path is read where it is; a URL is cloned into a cache without file contents. No settings file is needed.
    """
    from .source import GitSource

    return GitSource.from_settings(settings)


# What `rc ingest git-scan` takes besides its options, and that it may run in an empty folder; mypy knows no attributes of
# functions, which are Python's way to say something of one.
open_git.argument = "PATH-OR-URL"  # type: ignore[attr-defined]
open_git.needs_settings = False  # type: ignore[attr-defined]


@hookimpl
def rc_sources() -> Mapping[str, Callable[[Settings], Source]]:
    """Provide `rc ingest git-scan`."""
    return {"git": open_git}


@hookimpl
def rc_checks(settings: Settings, source: str) -> Mapping[str, Callable[[], Iterable[Finding]]]:
    """Look at git, the configured repositories and the clones."""
    if source != "git":
        return {}
    from .checks import checks

    return checks(settings)
