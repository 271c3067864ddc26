"""One run from its begin to its published artifact, however it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import attrs

from ._batch import Batch
from ._children import output_of
from ._clock import phoenix_or_none, utc_now
from ._interfaces import Sink, Store
from ._keys import KeyFinder
from ._model import Problem, RunStatus
from ._pipeline import HARMLESS, Tally, ingest
from ._plugins import Host, in_one_line
from ._run import RepositoryReport, Run
from .errors import ArtifactError, ReleaseCopilotError, SourceError, StoreError, UsageError

_log = logging.getLogger("releasecopilot_core")


@attrs.define
class Session:
    """A run that is being carried out; `perform` does it all, once."""

    run: Run
    store: Store
    sink: Sink
    host: Host
    tally: Tally
    on_finish: Callable[[Run], None] | None
    stop: threading.Event | None = None

    def perform(self, scan: Callable[[], Iterable[Batch]], keys: KeyFinder, requests: Callable[[], int]) -> Run:
        """Store what `scan` yields and publish the run; `requests` is asked at the end."""
        start = phoenix_or_none(self.run.window.start)
        _log.info("run %s: %s of %s, window since %s", self.run.run_id, self.run.kind, self.run.source, start)
        for run_id in self.store.begin_run(self.run):
            self.sink.discard(run_id)
        status: RunStatus | None = None
        try:
            with contextlib.closing(self._batches(scan)) as batches:
                ingest(batches, keys=keys, store=self.store, tally=self.tally, run_id=self.run.run_id)
            if self.stop is not None and self.stop.is_set():
                status = "interrupted"
        except KeyboardInterrupt:
            self._finish("interrupted", requests())
            raise
        except UsageError as error:
            self._end_unbegun(error)
            raise
        except (SourceError, StoreError) as error:
            status = "failed"
            self.tally.problems.append(Problem(kind=getattr(error, "kind", "store"), message=str(error)))
        except ReleaseCopilotError as error:
            status = "failed"
            self.tally.problems.append(Problem(kind="plugin", message=str(error)))
        except _SourceBroken as error:
            status = "failed"
            self.tally.problems.append(Problem(kind="plugin", message=str(error)))
        except Exception as error:  # a bug, or the caller's on_progress: theirs to see, once the run is closed
            message = f"the run broke off ({type(error).__name__}); what was stored stays"
            self.tally.problems.append(Problem(kind="plugin", message=message))
            self._finish("failed", requests())
            raise
        return self._finish(status, requests())

    def _batches(self, scan: Callable[[], Iterable[Batch]]) -> Generator[Batch]:
        """Yield what the source yields, until the run is to stop; what it raises by mistake bears its name."""
        with contextlib.ExitStack() as stack:
            with self._source_blamed():
                batches = iter(scan())
            if isinstance(batches, Generator):
                stack.callback(batches.close)
            while self.stop is None or not self.stop.is_set():
                with self._source_blamed():
                    try:
                        batch = next(batches)
                    except StopIteration:
                        return
                    if not isinstance(batch, Batch):
                        raise TypeError(f"expected a Batch, not {batch!r}")
                yield batch

    @contextlib.contextmanager
    def _source_blamed(self) -> Iterator[None]:
        try:
            yield
        except (ReleaseCopilotError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the source is code we did not write, and may raise SystemExit, too
            _log.exception("source %r failed", self.run.source)
            message = f"source {self.run.source!r} failed ({in_one_line(error)}); the log has the traceback"
            raise _SourceBroken(message) from error

    def _end_unbegun(self, error: UsageError) -> None:
        """Record a request that could not be carried out as asked; it leaves no artifact."""
        problem = Problem(kind="usage", message=str(error))
        with contextlib.suppress(StoreError):
            self.store.finish_run(attrs.evolve(self.run, status="failed", finished_at=utc_now(), problems=(problem,)))

    def _finish(self, status: RunStatus | None, requests: int) -> Run:
        problems = [*self.tally.problems, *self.host.problems()]
        try:
            reports = self.tally.close()
        except StoreError as error:
            status, reports = "failed", tuple(self.tally.reports.values())
            problems.append(Problem(kind="store", message=str(error)))
        run = attrs.evolve(
            self.run,
            finished_at=utc_now(),
            status=status or _status(reports, problems),
            new=sum(report.new for report in reports),
            listed=sum(report.listed for report in reports),
            refreshed=sum(report.refreshed for report in reports),
            requests=requests,
            repositories=reports,
            git_sha=_git_sha(),
        )
        run = self._publish(run, problems)
        for problem in run.problems:
            _log.warning("%s: %s: %s", problem.repository or run.source, problem.kind, problem.message)
        _log.info(
            "run %s: %s, %d listed, %d new, %d requests", run.run_id, run.status, run.listed, run.new, run.requests
        )
        try:
            self.store.finish_run(run)
        except StoreError as error:
            _log.error("the run's end could not be recorded: %s", error)
        if self.on_finish is not None:
            self.on_finish(run)
        return run

    def _publish(self, run: Run, problems: list[Problem]) -> Run:
        stories: set[str] = set()
        earlier = Counter[str]()
        found = len(problems)
        artifact = None
        try:
            artifact = self.sink.publish(
                attrs.evolve(run, problems=tuple(problems)), self._entries(run, stories, earlier), problems
            )
        except (ArtifactError, StoreError) as error:
            problems.append(Problem(kind="artifact", message=str(error)))
        except (ReleaseCopilotError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the sink is code we did not write
            _log.exception("the sink failed")
            what = f"the artifact's sink failed ({in_one_line(error)})"
            remedy = "what was scanned is stored, the log has the traceback"
            problems.append(Problem(kind="artifact", message=f"{what}; {remedy}"))
        status = "partial" if len(problems) > found and run.status == "complete" else run.status
        return attrs.evolve(
            run,
            artifact=artifact,
            status=status,
            earlier=earlier.total(),
            story_keys=frozenset(stories),
            problems=tuple(problems),
        )

    def _entries(self, run: Run, stories: set[str], earlier: Counter[str]) -> Iterator[dict[str, Any]]:
        """Yield the payload, as people read it: Phoenix times, in the window or not, and the branch that comes first."""
        for entry in self.store.sighted(run.run_id):
            order = self.tally.orders.get(entry["repository"], {})
            ranked = [(order[branch], branch) for branch in entry["branches"] if branch in order]
            entry["branch"] = min(ranked)[1] if ranked else None
            entry["in_window"] = entry["modified_on"] in run.window
            if entry["new"] and entry["modified_on"] is not None and entry["modified_on"] < run.window.start:
                earlier["commits"] += 1
            entry["modified_on"] = phoenix_or_none(entry["modified_on"])
            stories.update(entry["story_keys"])
            yield entry


class _SourceBroken(Exception):
    """A source raised something that it does not raise on purpose."""


def new_run_id() -> str:
    """Return a fresh run id: it sorts by time (UTC), and is unique among machines."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _git_sha() -> str | None:
    """Return `RC_GIT_SHA`, else the commit that is checked out in the working directory."""
    given = os.environ.get("RC_GIT_SHA")
    if given:
        return given
    return output_of("git", "rev-parse", "HEAD")


def _status(reports: Sequence[RepositoryReport], problems: Sequence[Problem]) -> RunStatus:
    if reports and all(report.status == "failed" for report in reports):
        return "failed"
    if any(report.status != "complete" for report in reports):
        return "partial"
    return "partial" if any(problem.kind not in HARMLESS for problem in problems) else "complete"
