"""Fetch in the background of a serving process what deliveries announced and did not carry."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets as random
import threading
import time

from ._ingestor import Ingestor
from ._interfaces import Store
from .errors import ReleaseCopilotError

_log = logging.getLogger("releasecopilot_core")

#: Of so many commits that owe their files it is looked whether a repair has left them.
_SAMPLE = 100

#: Seconds from a delivery to the repair of what it lacks: what comes within is repaired together.
GATHER_SECONDS = 2.0
#: Seconds between looks for what other workers, or an earlier process, left to repair.
LOOK_SECONDS = 60.0
#: After a repair that left something undone the next one waits, longer each time: seconds, first and longest.
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0
#: A repair that takes longer than this, in seconds, may be repeated by another worker; that does no harm.
LEASE_SECONDS = 900.0
#: A repair that is told to stop gets so long, in seconds; mostly it takes less than one.
STOP_SECONDS = 5.0
_DAY = 86_400.0


class Repairer:
    """Repairs one source in a thread of its own, soon after a delivery and once a minute; one process at a time does.

    Its failures are logged and told in the repair's artifact; it goes on, after a wait that grows. When only some of
    what is stale could not be had, a delivery is repaired soon all the same.
    """

    def __init__(self, ingestor: Ingestor, source: str) -> None:
        self._ingestor = ingestor
        self._source = source
        self._holder = ""
        self._delivered = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._look = LOOK_SECONDS
        self._hold = self._wait = 0.0
        self._pruned: float | None = None

    def start(self) -> None:
        """Start the thread; while it runs a second time does nothing."""
        if self._thread is None:
            # Named here: processes that were forked since must not share a lease.
            self._holder = f"repairer-{os.getpid()}-{random.token_hex(4)}"
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._work, args=(self._stopping,), name="releasecopilot-repairs", daemon=True
            )
            self._thread.start()

    def wake(self) -> None:
        """Tell that something was delivered."""
        self._delivered.set()

    def stop(self) -> None:
        """End after the batch that is being stored; what is left is repaired by the next process."""
        self._stopping.set()
        self._delivered.set()
        if self._thread is None:
            return
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():  # a source that does not mind being closed
            _log.warning("the repair of %s does not end; it is left behind", self._source)
            self._release(self._ingestor.store(self._source))
        self._thread = None

    def _work(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._delivered.clear()
            try:
                self._prune()
                self._repair(stopping)
            except ReleaseCopilotError as error:
                if not stopping.is_set():
                    self._defer(str(error), all_of_it=True)
            except Exception:  # a plugin's code, or a bug: deliveries must go on being taken
                _log.exception("repairs of %s failed", self._source)
                self._defer("an unexpected error", all_of_it=True)
            if not stopping.is_set():
                hold = time.monotonic() + self._hold
                self._delivered.wait(max(self._look, self._wait))
                stopping.wait(max(GATHER_SECONDS, hold - time.monotonic()))

    def _repair(self, stopping: threading.Event) -> None:
        store = self._ingestor.store(self._source)
        self._look, self._hold = LOOK_SECONDS, 0.0
        if not store.to_repair(self._source):
            self._wait = 0.0
            return
        if not store.lease(self._lease, self._holder, LEASE_SECONDS):
            # Another worker repairs, and may have begun before what was delivered here.
            self._look, self._wait = GATHER_SECONDS, 0.0
            return
        try:
            before = self._announced(store)
            run = self._ingestor.repair(self._source, stop=stopping)
            after = self._announced(store)
        finally:
            self._release(store)
        if run.status == "complete" and not before & after:
            self._wait = 0.0
            # Another worker may have taken what came meanwhile, and does not wake this one.
            self._look = GATHER_SECONDS if after else LOOK_SECONDS
        elif not stopping.is_set():
            what = run.status if run.status != "complete" else "complete, and left something to repair"
            self._defer(f"repair {run.run_id} is {what}", all_of_it=run.status == "failed")

    def _announced(self, store: Store) -> set[tuple[object, ...]]:
        """Return what is to be repaired, such that what is announced once more is something else."""
        found: set[tuple[object, ...]] = set()
        for repository in store.to_repair(self._source):
            found.update(
                (repository.uuid, branch, mark.marks) for branch, mark in store.stale_branches(repository).items()
            )
            requests = store.stale_pull_requests(repository)
            found.update((repository.uuid, number, mark.marks) for number, mark in requests.items())
            found.update((repository.uuid, sha) for sha in store.owed_files(repository, _SAMPLE))
        return found

    @property
    def _lease(self) -> str:
        return f"repairs of {self._source}"

    def _release(self, store: Store) -> None:
        with contextlib.suppress(ReleaseCopilotError):
            store.release(self._lease, self._holder)

    def _defer(self, reason: str, *, all_of_it: bool) -> None:
        self._wait = min(LONGEST_WAIT, max(FIRST_WAIT, self._wait * 2))
        # When nothing can be had, a delivery changes nothing; else what it announces is fetched, but not all the time.
        self._hold = self._wait if all_of_it else FIRST_WAIT
        _log.warning("%s; what is left is tried again in %d s", reason, self._wait)

    def _prune(self) -> None:
        if self._pruned is None or time.monotonic() - self._pruned > _DAY:
            if count := self._ingestor.prune_deliveries(self._source):
                _log.info("the raw bodies of %d deliveries were old and have been dropped", count)
            self._pruned = time.monotonic()
