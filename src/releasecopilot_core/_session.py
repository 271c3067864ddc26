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
from ._interfaces import Sink, Source, Store
from ._keys import KeyFinder
from ._model import Problem, RunStatus
from ._pipeline import HARMLESS, Tally, checked, ingest
from ._plugins import Blame, Host, StoreBroken, in_one_line
from ._run import RepositoryReport, Run, ScanRequest
from .errors import ReleaseCopilotError, StoreError, UsageError

_log = logging.getLogger("releasecopilot_core")

#: Seconds between looks whether a run that waits for its source is to stop.
_LOOK_SECONDS = 0.1


@attrs.define
class Session:
    """A run that is being carried out; `perform` does it all, once. `blame` says whose source and sink they are."""

    run: Run
    source: Source
    store: Store
    sink: Sink
    blame: Blame
    host: Host
    tally: Tally
    on_finish: Callable[[Run], None] | None
    stop: threading.Event | None = None

    def perform(self, request: ScanRequest, keys: KeyFinder) -> Run:
        """Store what the source yields and publish the run."""
        start = phoenix_or_none(self.run.window.start)
        _log.info("run %s: %s of %s, window since %s", self.run.run_id, self.run.kind, self.run.source, start)
        abandoned = self.store.begin_run(self.run)
        status: RunStatus | None = None
        try:
            self._discard(abandoned)
            with self._ended_by_stop(), contextlib.closing(self._batches(request)) as batches:
                ingest(batches, keys=keys, store=self.store, tally=self.tally, run_id=self.run.run_id)
        except KeyboardInterrupt:
            self._finish("interrupted")
            raise
        except UsageError as error:
            self._end_unbegun(error)
            raise
        except (ReleaseCopilotError, _PluginBroken) as error:
            status = "failed"
            if not self._is_stopping():  # else it only tells that it was stopped
                self._note_failure(error)
        except BaseException as error:  # a bug, or the caller's on_progress: theirs to see, once the run is closed
            message = f"the run broke off ({type(error).__name__}); what was stored stays"
            self.tally.problems.append(Problem(kind="plugin", message=message))
            self._finish("failed")
            raise
        return self._finish("interrupted" if self._is_stopping() else status)

    def _is_stopping(self) -> bool:
        return self.stop is not None and self.stop.is_set()

    @contextlib.contextmanager
    def _ended_by_stop(self) -> Iterator[None]:
        """Close the source as soon as the run is to stop: it may be waiting for an answer."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_LOOK_SECONDS):
                if self._is_stopping():
                    with contextlib.suppress(Exception):  # code we did not write; it is closed again at the end
                        self.source.close()
                    return

        if self.stop is not None:
            threading.Thread(target=watch, name="releasecopilot-stop", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _batches(self, request: ScanRequest) -> Generator[Batch]:
        """Yield what the source yields, until the run is to stop; what it does wrong bears its plugin's name."""
        with contextlib.ExitStack() as stack:
            with self._blamed(self.blame.source):
                batches = iter(self.source.scan(request, self.store))
            if isinstance(batches, Generator):
                stack.callback(self._close, batches)
            while not self._is_stopping():
                with self._blamed(self.blame.source):
                    try:
                        batch = checked(next(batches))
                    except StopIteration:
                        return
                yield batch

    def _close(self, batches: Generator[Batch]) -> None:
        with self._blamed(self.blame.source):
            batches.close()

    @contextlib.contextmanager
    def _blamed(self, whose: str) -> Iterator[None]:
        try:
            yield
        except (ReleaseCopilotError, KeyboardInterrupt):
            raise
        except BaseException as error:  # code we did not write, which may raise SystemExit, too
            if not self._is_stopping():
                _log.exception("%s failed", whose)
            raise _PluginBroken(f"{whose} failed ({in_one_line(error)}); the log has the traceback") from error

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, StoreBroken):
            _log.error("%s", error, exc_info=error)
        kind = "store" if isinstance(error, StoreError) else getattr(error, "kind", "plugin")
        self.tally.problems.append(Problem(kind=kind, message=str(error)))

    def _discard(self, abandoned: Iterable[str]) -> None:
        """Remove what runs left that were killed; a sink that cannot is told of, and used all the same."""
        for run_id in abandoned:
            try:
                with self._blamed(self.blame.sink):
                    self.sink.discard(run_id)
            except (ReleaseCopilotError, _PluginBroken) as error:
                self.tally.problems.append(Problem(kind="artifact", message=str(error)))

    def _end_unbegun(self, error: UsageError) -> None:
        """Record a request that could not be carried out as asked; it leaves no artifact."""
        problem = Problem(kind="usage", message=str(error))
        with contextlib.suppress(StoreError):
            self.store.finish_run(attrs.evolve(self.run, status="failed", finished_at=utc_now(), problems=(problem,)))

    def _requests(self) -> int:
        try:
            with self._blamed(self.blame.source):
                return int(self.source.requests)
        except (ReleaseCopilotError, _PluginBroken) as error:
            self.tally.problems.append(Problem(kind="plugin", message=str(error)))
            return 0

    def _finish(self, status: RunStatus | None) -> Run:
        requests = self._requests()
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
        try:
            run = self._publish(run, problems)
        except KeyboardInterrupt:
            self._record(attrs.evolve(run, status="interrupted", problems=tuple(problems)))
            raise
        run = self._record(run)
        for problem in run.problems:
            _log.warning("%s: %s: %s", problem.repository or run.source, problem.kind, problem.message)
        _log.info(
            "run %s: %s, %d listed, %d new, %d requests", run.run_id, run.status, run.listed, run.new, run.requests
        )
        if self.on_finish is not None:
            self.on_finish(run)
        return run

    def _record(self, run: Run) -> Run:
        """Write down how the run ended; when that fails, the caller is told."""
        try:
            self.store.finish_run(run)
        except StoreError as error:
            problem = Problem(kind="store", message=f"the run's end could not be recorded: {error}")
            status: RunStatus = "partial" if run.status == "complete" else run.status
            return attrs.evolve(run, status=status, problems=(*run.problems, problem))
        return run

    def _publish(self, run: Run, problems: list[Problem]) -> Run:
        stories: set[str] = set()
        earlier = Counter[str]()
        found = len(problems)
        artifact = None
        told = attrs.evolve(run, problems=tuple(problems))
        try:
            with self._blamed(self.blame.sink):
                published: object = self.sink.publish(told, self._entries(run, stories, earlier), problems)
                if not isinstance(published, str):
                    raise TypeError(f"publish returned {published!r}, not where the artifact is")
                artifact = published
        except ReleaseCopilotError as error:
            problems.append(Problem(kind="artifact", message=str(error)))
        except _PluginBroken as error:
            problems.append(Problem(kind="artifact", message=f"{error}; what was scanned is stored"))
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


class _PluginBroken(Exception):
    """A source or sink raised something that it does not raise on purpose."""


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
