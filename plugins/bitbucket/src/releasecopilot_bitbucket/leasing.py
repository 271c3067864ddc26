"""Hold a repository while it is scanned, so that two scans at once do not do the same work twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import attrs

from releasecopilot_core import Batch, Memory, Problem, Repository, Scanned
from releasecopilot_core.errors import StoreError

#: Seconds after which a lease ends whose holder is gone without a trace (a machine that was switched off).
LEASE_SECONDS = 120.0

#: Seconds between prolongations; far less than the lease, since one request may be repeated for half a minute.
PROLONG_SECONDS = 30.0


@attrs.define
class Held:
    """Yields a repository's batches while it holds the lease, or one batch that says who else does."""

    memory: Memory
    repository: Repository
    holder: str

    def batches(self, work: Iterator[Batch]) -> Iterator[Batch]:
        """Yield what `work` yields. A lease that was lost meanwhile does no harm: batches merge."""
        name = f"scan of {self.repository.uuid}"
        if not self.memory.lease(name, self.holder, LEASE_SECONDS):
            yield self._busy()
            return
        prolonged = time.monotonic()
        try:
            for batch in work:
                yield batch
                if time.monotonic() - prolonged > PROLONG_SECONDS:
                    self.memory.lease(name, self.holder, LEASE_SECONDS)
                    prolonged = time.monotonic()
        finally:
            # When the scan was stopped the store may be closed by now; the lease of a dead process is taken over.
            with contextlib.suppress(StoreError):
                self.memory.release(name, self.holder)

    def _busy(self) -> Batch:
        name = self.repository.full_name
        message = f"{name}: another scan is at work on it; this one leaves it alone, and the next one looks again"
        scanned = Scanned(name=name, status="partial", whole=False)
        problem = Problem(kind="busy", message=message, repository=name)
        return Batch(repository=self.repository, scanned=scanned, problems=(problem,))
