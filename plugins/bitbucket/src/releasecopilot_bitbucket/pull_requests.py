"""Pull requests of one repository: those that were updated, with their titles and commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import attrs

from releasecopilot_core import Batch, Commit, Memory, Problem, PullRequest, Repository, Sighting, Stale, Window
from releasecopilot_core.errors import SourceError

from .api import Api
from .payloads import commit_of, full_sha, pull_request_of

FIELDS = "id,title,state,author.display_name,source.branch.name,destination.branch.name,merge_commit.hash,updated_on"
COMMIT_FIELDS = "values.hash,values.date,values.message,values.author.raw,values.parents.hash,next"

#: More than 50 a page is answered with 400 (BCLOUD-9659).
PAGE_LENGTH = "50"
STATES = ("OPEN", "MERGED", "DECLINED", "SUPERSEDED")


@attrs.define
class PullRequestVisit:
    """Fetches pull requests and their commits.

    `since`: those updated at that time or later; `None` for all. `first` says that none were ever asked for: then file
    lists of commits older than the window are not worth a request. `seen_to` is the latest update that was stored.
    """

    api: Api
    path: str
    repository: Repository
    memory: Memory
    window: Window
    since: datetime | None
    first: bool
    seen_to: datetime | None = None
    _now: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    def updated(self, stale: Mapping[int, Stale]) -> Iterator[Batch]:
        """Yield a batch for each pull request that was updated since, and settle those that were announced.

        Without `state` only open ones are listed; `sort` with several states makes the service fail on large
        repositories, so they come in any order (constructorfabric/insight, 2026).
        """
        known = self.memory.pull_request_updates(self.repository)
        listed: set[int] = set()
        for request in self._listed():
            listed.add(request.id)
            if request.updated_on is not None:
                self.seen_to = max(self.seen_to or request.updated_on, request.updated_on)
            if request.id in stale or self._is_news(request, known):
                yield from self._fetched(request, stale)
        # What was announced may be dated before the mark: deliveries come in any order.
        yield from self.announced({number: mark for number, mark in stale.items() if number not in listed})

    def announced(self, stale: Mapping[int, Stale]) -> Iterator[Batch]:
        """Yield a batch for each pull request that a webhook told of, one by one."""
        for number in sorted(stale):
            try:
                request = pull_request_of(self.api.get(f"{self.path}/pullrequests/{number}", [("fields", FIELDS)]))
            except SourceError as error:
                if error.kind != "not-found":
                    raise
                yield self._given_up(number, stale)
            else:
                yield from self._fetched(request, stale)

    def _listed(self) -> Iterator[PullRequest]:
        wanted = ",".join([f"values.{field}" for field in FIELDS.split(",")] + ["next"])
        parameters = [("pagelen", PAGE_LENGTH), ("fields", wanted), *(("state", state) for state in STATES)]
        if self.since is not None:
            parameters.append(("q", f'updated_on >= "{self.since.isoformat(timespec="seconds")}"'))
        for values, _ in self.api.pages(f"{self.path}/pullrequests", parameters):
            for value in values:
                request = pull_request_of(value)
                # Filters are ignored without a word at other places of this API.
                if self.since is None or request.updated_on is None or request.updated_on >= self.since:
                    yield request

    def _is_news(self, request: PullRequest, known: Mapping[int, datetime | None]) -> bool:
        if request.id not in known or request.updated_on is None:
            return True
        return known[request.id] != request.updated_on

    def _fetched(self, request: PullRequest, stale: Mapping[int, Stale]) -> Iterator[Batch]:
        """Yield one batch with the pull request and all its commits: it is stored with them or not at all."""
        commits: list[Commit] = []
        problems: list[Problem] = []
        address = f"{self.path}/pullrequests/{request.id}/commits"
        try:
            for values, _ in self.api.pages(address, [("pagelen", "100"), ("fields", COMMIT_FIELDS)]):
                commits += [self._seen(commit_of(value), request) for value in values]
        except SourceError as error:
            if error.kind != "not-found":
                raise
            # So it is when the fork that it came from was deleted (constructorfabric/insight, 2026).
            problems.append(self._note(f"pull request {request.id}: its commits are gone; its title is kept"))
        mark = stale.get(request.id)
        yield Batch(
            repository=self.repository,
            pull_requests=(attrs.evolve(request, merge_commit=self._whole(request.merge_commit)),),
            commits=tuple(commits),
            settled_pull_requests={} if mark is None else {request.id: mark.marks},
            problems=tuple(problems),
        )

    def _seen(self, commit: Commit, request: PullRequest) -> Commit:
        old = self.first and commit.date is not None and commit.date < self.window.start
        sighting = Sighting(self.repository.uuid, self._now, pull_request=request.id, title=request.title)
        return attrs.evolve(commit, sightings=frozenset({sighting}), files_status="skipped" if old else "owed")

    def _whole(self, sha: str | None) -> str | None:
        """Return the full hash of one that has twelve digits: from the store, else from the service."""
        if sha is None or len(sha) == 40:
            return sha
        found = self.memory.resolve(self.repository, sha)
        if len(found) == 1:
            return found[0]
        try:
            answer = self.api.get(f"{self.path}/commit/{sha}", [("fields", "hash")])
            return full_sha(answer.get("hash"), "commit.hash")
        except SourceError as error:
            if error.kind in ("not-found", "vanished", "bad-answer"):
                return sha
            raise

    def _given_up(self, number: int, stale: Mapping[int, Stale]) -> Batch:
        return Batch(
            repository=self.repository,
            settled_pull_requests={number: stale[number].marks},
            problems=(self._note(f"pull request {number} was announced and is not there (any more)"),),
        )

    def _note(self, message: str) -> Problem:
        return Problem(kind="note", message=message, repository=self.repository.full_name)
