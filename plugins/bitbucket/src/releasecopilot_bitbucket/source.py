"""The Bitbucket Cloud source: which repositories to look at, several at a time, and what that will cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import attrs

from releasecopilot_core import Batch, Memory, Plan, PlanEntry, Problem, Repository, Scanned, ScanRequest, Settings
from releasecopilot_core.errors import SourceError
from releasecopilot_core.selecting import found_nowhere, held, let_go

from .api import Api, segment
from .gate import SWEEP, Look
from .git_transport import Clone, GitTransport
from .payloads import repository_of
from .selecting import REPOSITORY_FIELDS, SOURCE, Selection, select_repositories
from .settings import BitbucketSettings, bitbucket_settings, with_known_secrets
from .threads import in_threads
from .visit import Visit

#: What a request takes, in seconds, for the estimate of a plan; between 0.2 and 0.6 is usual for such services.
SECONDS_A_REQUEST = 0.4


class BitbucketSource:
    """Scans the repositories of one workspace over the REST API; implements `Source`."""

    def __init__(self, settings: BitbucketSettings) -> None:
        self._settings = settings
        self._api = Api(settings)
        self._git = GitTransport(settings)

    @classmethod
    def from_settings(cls, settings: Settings) -> BitbucketSource:
        """Open the source by the `bitbucket` section of the settings.

        Raises:
            SettingsError: something in that section is wrong, or a secret cannot be had.
        """
        return cls(with_known_secrets(bitbucket_settings(settings), settings.origin))

    def close(self) -> None:
        """End what is asked, close the connections, and end what git is doing; from another thread it ends a scan."""
        self._api.close()
        self._git.close()

    @property
    def requests(self) -> int:
        """How many requests were sent so far, repetitions included."""
        return self._api.requests

    # --- scanning --------------------------------------------------------------------------------------------

    def scan(self, request: ScanRequest, memory: Memory) -> Iterator[Batch]:
        """Yield the batches of all chosen repositories. See `Source.scan`."""
        patterns, files = self._patterns(request), self._files_mode(request)
        self._api.keep_to(functools.partial(memory.spend, self._account, self._settings.requests_per_hour))
        selection = self._announced(memory) if request.repair else self._select(request)
        yield Batch(expected=len(selection.failed) + len(selection.repositories))
        for name, error in selection.failed.items():
            problem = Problem(kind=error.kind, message=str(error), repository=name)
            yield Batch(problems=(problem,), scanned=Scanned(name=name, status="failed"))
        visits = [
            Visit(
                api=self._api,
                memory=memory,
                repository=repository,
                path=self._path(repository),
                clone=self._git.clone_of(repository, mode=files, full=request.full),
                look=Look.at(repository, request, memory, patterns, self._settings.sweep_hours),
                patterns=patterns,
                request=request,
                fetch_files=files != "none",
                fetch_pull_requests=self._settings.pull_requests,
                concurrency=self._settings.concurrency,
            )
            for repository in selection.repositories
        ]
        at_work: dict[str, Visit] = {}
        jobs = [functools.partial(_held, visit, at_work) for visit in visits]
        try:
            yield from in_threads(jobs, self._settings.concurrency, is_ended=self._api.is_closed, interrupt=self.close)
        finally:
            # Of threads that are stuck in a request: theirs would come when the store is closed.
            for visit in list(at_work.values()):
                let_go(memory, visit.repository, request.run_id)
        if request.repair:
            return
        if not all(visit.listed for visit in visits):
            return  # a branch that was named may be in one of those that could not be looked at
        if missing := found_nowhere(patterns, {branch for visit in visits for branch in visit.branches}):
            yield Batch(problems=missing)

    def plan(self, request: ScanRequest, memory: Memory) -> Plan:
        """Return what a scan would do for each repository; costs the requests that choosing them takes.

        A repository that is looked at counts one page of branches, one of pull requests, and, unless it is for the sweep
        alone, one of commits. How many branches moved, and how many commits they brought, nobody knows before.
        """
        patterns, files = self._patterns(request), self._files_mode(request)
        selection = self._select(request)
        entries = [PlanEntry(repository=name, requests=0, note=str(error)) for name, error in selection.failed.items()]
        for repository in selection.repositories:
            look = Look.at(repository, request, memory, patterns, self._settings.sweep_hours)
            clone = self._git.clone_of(repository, mode=files, full=request.full)
            entries.append(self._planned(repository, look, memory, clone))
        # Choosing the repositories comes again in the scan itself.
        choosing = PlanEntry(repository="(all)", requests=self._api.requests, note="choosing the repositories")
        return self._priced(Plan(entries=(choosing, *entries)), memory)

    def _planned(self, repository: Repository, look: Look, memory: Memory, clone: Clone) -> PlanEntry:
        owed = memory.owed_count(repository) if clone.mode != "none" else 0
        notes = [look.reason] + ([f"{owed} file lists owed"] if owed else [])
        history_cloned = look.needed and clone.wants_history
        files_cloned = clone.wants_files(owed) or history_cloned
        requests = 0 if files_cloned else owed
        if look.needed:
            requests += self._settings.pull_requests
        if look.needed and not history_cloned:
            is_empty = repository.main_branch is None
            requests += 1 + (look.reason != SWEEP and not is_empty)
        return PlanEntry(
            repository=repository.full_name,
            requests=requests,
            git_operations=int(files_cloned),
            note=", ".join(notes),
        )

    def _priced(self, plan: Plan, memory: Memory) -> Plan:
        limit = self._settings.requests_per_hour
        left = max(0, limit - memory.spent(self._account))
        told = self._api.last_headers.get("x-ratelimit-remaining", "")
        if told.isdecimal():
            left = min(left, int(told))
        working = plan.requests * SECONDS_A_REQUEST / self._settings.concurrency / 60
        # Scans spend at once what they have: what is beyond it waits until that is an hour ago, and so on.
        waiting = math.ceil(max(0, plan.requests - left) / limit) * 60
        return attrs.evolve(plan, quota_left=left, minutes=working + waiting)

    def _patterns(self, request: ScanRequest) -> tuple[str, ...]:
        return self._settings.default_branches if request.branches is None else request.branches

    def _files_mode(self, request: ScanRequest) -> str:
        return request.files or self._settings.files

    def _select(self, request: ScanRequest) -> Selection:
        asked = request.repositories is not None
        names = self._settings.repositories if request.repositories is None else request.repositories
        return select_repositories(self._api, self._settings.workspace, names, asked=asked)

    @property
    def _account(self) -> str:
        # Limits are per user and resource (Atlassian's page "API request limits"); no secret is in the name.
        credentials = self._settings.credentials
        return f"{self._settings.api_url} {credentials.username or credentials.kind}"

    def _announced(self, memory: Memory) -> Selection:
        return Selection(tuple(map(self._named, memory.to_repair(SOURCE))), {})

    def _named(self, repository: Repository) -> Repository:
        """Ask for the main branch of a repository that only webhooks told of: it is walked first, and has its commits."""
        if repository.main_branch is not None:
            return repository
        try:
            asked = repository_of(self._api.get(self._path(repository), [("fields", REPOSITORY_FIELDS)]), SOURCE)
        except SourceError:
            return repository  # its visit meets the same fault, and tells it
        return attrs.evolve(repository, full_name=asked.full_name, main_branch=asked.main_branch)

    def _path(self, repository: Repository) -> str:
        # By uuid: a slug may change, or come to mean another repository, while we look.
        # Deliveries may come from other workspaces than the one that is scanned.
        owner, _, _ = repository.full_name.partition("/")
        path = f"repositories/{segment(owner or self._settings.workspace)}/{segment(repository.uuid)}"
        self._api.call(path, repository.full_name)
        return path


def _held(visit: Visit, at_work: dict[str, Visit]) -> Iterator[Batch]:
    at_work[visit.repository.uuid] = visit
    try:
        yield from held(visit.batches(), visit.memory, visit.repository, visit.request.run_id)
    finally:
        del at_work[visit.repository.uuid]
