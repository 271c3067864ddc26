"""What `rc doctor --source git` looks at: git itself, the configured repositories, and the clones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from releasecopilot_core import Finding, Settings
from releasecopilot_core.errors import ReleaseCopilotError, SourceError

from .clones import Clones
from .locating import located
from .places import place_of
from .running import Processes, require_git
from .settings import GitSettings, git_settings


def checks(settings: Settings) -> Mapping[str, Callable[[], Iterator[Finding]]]:
    """Return the checks of the `git` section; nothing is asked before they are called."""
    return {
        "version": _version,
        "repositories": lambda: _repositories(git_settings(settings)),
        "clones": lambda: _clones(git_settings(settings)),
    }


def _version() -> Iterator[Finding]:
    with closing(Processes()) as processes:
        try:
            yield Finding("ok", f"git {require_git(processes)} will do")
        except SourceError as error:
            yield Finding("failed", str(error))


def _repositories(section: GitSettings) -> Iterator[Finding]:
    if not section.repositories:
        yield Finding("ok", "none are configured; name them behind `rc ingest git-scan`")
    with closing(Processes()) as processes:
        for text in section.repositories:
            try:
                location = located(text)
                refs = place_of(location, processes, _cache(section)).refs()
            except ReleaseCopilotError as error:
                yield Finding("failed", str(error))
            else:
                told = f"{location.full_name}: {len(refs.tips)} branches, main branch {refs.main!r}"
                if refs.main is None and not section.default_branches:
                    yield Finding("warning", f"{told}; name branches in default_branches")
                else:
                    yield Finding("ok", told)


def _clones(section: GitSettings) -> Iterator[Finding]:
    sizes = _cache(section).sizes()
    megabytes = sum(sizes.values()) / 1e6
    yield Finding("ok", f"{section.cache}: {len(sizes)} clones, {megabytes:,.0f} of {section.cache_limit_mb:,.0f} MB")


def _cache(section: GitSettings) -> Clones:
    return Clones(Path(section.cache), section.cache_limit_mb, section.cache_days)
