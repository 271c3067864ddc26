"""The only path: every batch, from wherever, gets its story keys and is stored; what came of it is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from ._batch import Batch, Scanned, Walk
from ._interfaces import Store
from ._keys import KeyFinder
from ._model import Commit, Problem, PullRequest, Repository, Window
from ._preparing import prepared
from ._run import Progress, RepositoryReport

#: Kinds of problems that are told, but leave a run complete: nothing that could be had is missing.
HARMLESS = frozenset({"unobtainable", "note"})

_PARTS: tuple[tuple[str, type], ...] = (
    ("repository", Repository),
    ("commits", Commit),
    ("pull_requests", PullRequest),
    ("walk", Walk),
    ("problems", Problem),
    ("scanned", Scanned),
)


def checked(batch: object) -> Batch:
    """Return what a source yielded, if it is a batch of one repository.

    Raises:
        TypeError: it is something else, or something else is in it.
        ValueError: one of its commits belongs to another repository, or to none.
    """
    if not isinstance(batch, Batch):
        raise TypeError(f"expected a Batch, not {batch!r:.80}")
    for name, kind in _PARTS:
        value = getattr(batch, name)
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None and not isinstance(part, kind):
                raise TypeError(f"Batch.{name}: expected a {kind.__name__}, not {part!r:.80}")
    repository = batch.repository
    if repository is None and (batch.commits or batch.pull_requests or batch.walk):
        raise ValueError("a Batch with commits, pull requests or a walk must name its repository")
    for commit in batch.commits:
        for seen in commit.sightings:
            if repository is not None and seen.repository != repository.uuid:
                place = f"{seen.repository!r}, and the Batch is of {repository.full_name} ({repository.uuid!r})"
                raise ValueError(f"commit {commit.sha[:12]} was sighted in {place}")
    return batch


def ingest(
    batches: Iterable[Batch],
    *,
    keys: KeyFinder,
    store: Store,
    tally: Tally,
    run_id: str | None = None,
) -> None:
    """Store batches as they come: keys are found outside the transaction, and each batch is one transaction."""
    for batch in batches:
        tally.begin(batch)
        applied = store.apply(prepared(batch, store, keys), run_id=run_id)
        tally.end(batch, new=len(applied.new))


@attrs.define
class Tally:
    """Counts what happens to each repository, and refreshes it when its scan ends."""

    store: Store
    window: Window
    run_id: str
    on_progress: Callable[[Progress], None] | None = None
    reports: dict[str, RepositoryReport] = attrs.field(factory=dict)
    orders: dict[str, dict[str, int]] = attrs.field(factory=dict)
    problems: list[Problem] = attrs.field(factory=list)
    _repositories: dict[str, Repository] = attrs.field(factory=dict)
    _finished: int = 0
    _expected: int | None = None

    def begin(self, batch: Batch) -> None:
        """Remember where a repository stood before its first batch."""
        repository = batch.repository
        if repository is not None and repository.uuid not in self.reports:
            self._repositories[repository.uuid] = repository
            self.reports[repository.uuid] = RepositoryReport(
                name=repository.full_name,
                uuid=repository.uuid,
                heads_before=dict(self.store.heads(repository)),
                status="partial",
            )

    def end(self, batch: Batch, *, new: int) -> None:
        """Count a batch that has been stored."""
        self.problems += batch.problems
        self._expected = batch.expected if batch.expected is not None else self._expected
        key = self._key(batch)
        if key is None:
            return
        report = self.reports.get(key) or RepositoryReport(name=key)
        self.reports[key] = attrs.evolve(
            report,
            listed=report.listed + batch.listed,
            new=report.new + new,
            problems=(*report.problems, *batch.problems),
        )
        if batch.scanned is not None:
            self._scanned(key, batch.scanned)
            self._finished += 1
        if self.on_progress is not None:
            self.on_progress(Progress(report=self.reports[key], finished=self._finished, expected=self._expected))

    def _key(self, batch: Batch) -> str | None:
        if batch.repository is not None:
            return batch.repository.uuid
        return batch.scanned.name if batch.scanned is not None else None

    def _scanned(self, key: str, scanned: Scanned) -> None:
        report = attrs.evolve(self.reports[key], name=scanned.name, status=scanned.status)
        repository = self._repositories.get(key)
        if repository is not None and scanned.status != "failed":
            refreshed = self.store.refresh(repository, scanned.branches, self.window, run_id=self.run_id)
            report = attrs.evolve(report, refreshed=report.refreshed + refreshed)
        self.orders[scanned.name] = {branch: place for place, branch in enumerate(scanned.branches)}
        self.reports[key] = self._closed(key, report)

    def _closed(self, key: str, report: RepositoryReport) -> RepositoryReport:
        repository = self._repositories.get(key)
        if repository is None:
            return report
        bounded = any(walk.bounded for walk in self.store.walks(repository))
        return attrs.evolve(
            report,
            heads_after=dict(self.store.heads(repository)),
            files_owed=self.store.owed_count(repository),
            history="bounded" if bounded else "complete",
        )

    def close(self) -> tuple[RepositoryReport, ...]:
        """Return the reports, by name; repositories that the run did not get to the end of stay `partial`."""
        for key, report in self.reports.items():
            if not report.heads_after:
                self.reports[key] = self._closed(key, report)
        return tuple(sorted(self.reports.values(), key=lambda report: report.name))
