"""Stand-ins that are real enough: a source with given batches, and a history with git's meaning of include and exclude."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from releasecopilot_core import Batch, Commit, Memory, Plan, PlanEntry, ScanRequest
from releasecopilot_core.errors import CommitsVanished
from releasecopilot_core.walking import Page


@attrs.define
class FakeSource:
    """Yields batches; `batches` may be a list, or a function of the request and the memory."""

    batches: Iterable[Batch] | Callable[[ScanRequest, Memory], Iterable[Batch]] = ()
    requests: int = 0
    closed: bool = False

    def scan(self, request: ScanRequest, memory: Memory) -> Iterator[Batch]:
        """Yield the batches, one request each."""
        for batch in self.batches(request, memory) if callable(self.batches) else self.batches:
            self.requests += 1
            yield batch

    def plan(self, request: ScanRequest, memory: Memory) -> Plan:
        """Return one entry for each repository that the batches name."""
        found = self.batches(request, memory) if callable(self.batches) else self.batches
        names = {batch.repository.full_name for batch in found if batch.repository}
        return Plan(entries=tuple(PlanEntry(repository=name, requests=1) for name in sorted(names)))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


@attrs.define
class FakeHistory:
    """A commit graph in memory; implements `walking.History` as `git rev-list --topo-order` would.

    Remove shas from `commits` to make them vanish. `listings` keeps what was asked: (include, exclude) pairs.
    """

    commits: dict[str, Commit]
    page_length: int = 3
    listings: list[tuple[tuple[str, ...], tuple[str, ...]]] = attrs.field(factory=list)

    @classmethod
    def of(
        cls,
        parents: Mapping[str, Sequence[str]],
        dates: Mapping[str, datetime] | None = None,
        *,
        page_length: int = 3,
    ) -> FakeHistory:
        """Build a history from sha -> parents; a commit's message is its sha."""
        moments = dates or {}
        commits = {
            sha: Commit(sha=sha, message=sha, parents=tuple(above), date=moments.get(sha))
            for sha, above in parents.items()
        }
        return cls(commits, page_length)

    def pages(self, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Page]:
        """Yield what is reachable from `include` and not from `exclude`, children first."""
        self.listings.append((tuple(include), tuple(exclude)))
        if gone := [sha for sha in (*include, *exclude) if sha not in self.commits]:
            # As the service does: some of them are named, not all.
            raise CommitsVanished(gone[: (len(gone) + 1) // 2])
        wanted = self.reachable(include) - self.reachable(exclude)
        order = [self.commits[sha] for sha in self._topological(wanted)]
        starts = range(0, len(order), self.page_length) or [0]
        for start in starts:
            end = start + self.page_length
            yield Page(tuple(order[start:end]), end >= len(order))

    def reachable(self, shas: Iterable[str]) -> set[str]:
        """Return these commits and all their ancestors."""
        found: set[str] = set()
        rest = list(shas)
        while rest:
            sha = rest.pop()
            if sha not in found and sha in self.commits:
                found.add(sha)
                rest += self.commits[sha].parents or ()
        return found

    def _topological(self, wanted: set[str]) -> list[str]:
        children = dict.fromkeys(wanted, 0)
        for sha in wanted:
            for parent in self.commits[sha].parents or ():
                if parent in children:
                    children[parent] += 1
        ready = sorted(sha for sha, count in children.items() if count == 0)
        order = []
        while ready:
            sha = ready.pop()
            order.append(sha)
            for parent in self.commits[sha].parents or ():
                if parent in children:
                    children[parent] -= 1
                    if children[parent] == 0:
                        ready.append(parent)
        return order
