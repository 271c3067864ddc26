"""The git source: repositories by path or URL, one after the other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from releasecopilot_core import Batch, Memory, Plan, PlanEntry, Problem, Scanned, ScanRequest, Settings
from releasecopilot_core.errors import SourceError, UsageError
from releasecopilot_core.selecting import found_nowhere, select_branches

from .clones import Clones
from .gate import Look
from .locating import Location
from .places import OnDisk, place_of
from .running import Processes, require_git
from .selecting import select_repositories
from .settings import GitSettings, git_settings
from .visit import Visit, commits_ahead, repository_of


class GitSource:
    """Scans git repositories on this disk and on servers; implements `Source`."""

    def __init__(self, settings: GitSettings) -> None:
        self._settings = settings
        self._processes = Processes()
        self._clones = Clones(Path(settings.cache), settings.cache_limit_mb, settings.cache_days)

    @classmethod
    def from_settings(cls, settings: Settings) -> GitSource:
        """Open the source by the `git` section of the settings, which may be absent.

        Raises:
            SettingsError: something in that section is wrong.
        """
        return cls(git_settings(settings))

    def close(self) -> None:
        """End what git is still doing."""
        self._processes.close()

    @property
    def requests(self) -> int:
        """How often a server was asked so far."""
        return self._processes.requests

    # --- scanning --------------------------------------------------------------------------------------------

    def scan(self, request: ScanRequest, memory: Memory) -> Generator[Batch]:
        """Yield the batches of all chosen repositories. See `Source.scan`."""
        if request.repair:
            return  # nothing announces anything here
        patterns, files = self._patterns(request), self._files_mode(request)
        selection = select_repositories(request.repositories, self._settings.repositories)
        require_git(self._processes)
        yield Batch(expected=len(selection.failed) + len(selection.locations))
        for name, error in selection.failed.items():
            problem = Problem(kind=error.kind, message=str(error), repository=name)
            yield Batch(problems=(problem,), scanned=Scanned(name=name, status="failed"))
        detail = self._settings.detail(files)
        visits = [
            Visit(location, place_of(location, self._processes, self._clones), memory, patterns, request, detail)
            for location in selection.locations
        ]
        for visit in visits:
            with closing(visit.batches()) as batches:
                yield from batches
        if all(visit.listed for visit in visits):
            found = {branch for visit in visits for branch in visit.branches}
            yield Batch(problems=found_nowhere(patterns, found))

    def plan(self, request: ScanRequest, memory: Memory) -> Plan:
        """Return what a scan would do for each repository; servers are asked for their branches, nothing is fetched."""
        patterns, _ = self._patterns(request), self._files_mode(request)
        selection = select_repositories(request.repositories, self._settings.repositories)
        require_git(self._processes)
        entries = [PlanEntry(repository=name, requests=0, note=str(error)) for name, error in selection.failed.items()]
        for location in selection.locations:
            try:
                entries.append(self._planned(location, patterns, request, memory))
            except SourceError as error:
                entries.append(PlanEntry(repository=location.full_name, requests=0, note=str(error)))
        return Plan(entries=tuple(entries))

    def _planned(
        self, location: Location, patterns: tuple[str, ...], request: ScanRequest, memory: Memory
    ) -> PlanEntry:
        place = place_of(location, self._processes, self._clones)
        refs = place.refs()
        repository = repository_of(location, refs)
        look = Look.at(repository, request, memory, patterns)
        notes = [look.reason]
        if isinstance(place, OnDisk):
            tips = [refs.tips[branch] for branch in select_branches(refs.tips, patterns, refs.main)]
            count = commits_ahead(place.git, tips, memory.heads(repository))
            notes += [f"{count:,} commits are new"] if count is not None else []
            return PlanEntry(repository=location.full_name, requests=0, note=", ".join(notes))
        operations = 1 + look.needed
        return PlanEntry(repository=location.full_name, requests=0, git_operations=operations, note=", ".join(notes))

    def _patterns(self, request: ScanRequest) -> tuple[str, ...]:
        return self._settings.default_branches if request.branches is None else request.branches

    def _files_mode(self, request: ScanRequest) -> str:
        mode = request.files or self._settings.files
        if mode == "api":
            raise UsageError("--files api: git repositories have no API; use auto, git or none")
        return mode
