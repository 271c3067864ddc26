"""Hold a repository while it is scanned, so that two scans at once do not do the same work twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

from releasecopilot_core import Batch, Memory, Problem, Repository, Scanned

#: Seconds after which a lease ends whose holder is gone without a trace; far more than a clone takes as a rule.
LEASE_SECONDS = 600.0

#: Seconds between prolongations.
PROLONG_SECONDS = 60.0


def held(work: Iterator[Batch], memory: Memory, repository: Repository, holder: str) -> Iterator[Batch]:
    """Yield what `work` yields while the lease is held, or one batch that says that somebody else has it.

    A lease that was lost meanwhile does no harm: batches merge.
    """
    name = f"scan of {repository.uuid}"
    if not memory.lease(name, holder, LEASE_SECONDS):
        yield _busy(repository)
        return
    prolonged = time.monotonic()
    try:
        for batch in work:
            yield batch
            if time.monotonic() - prolonged > PROLONG_SECONDS:
                memory.lease(name, holder, LEASE_SECONDS)
                prolonged = time.monotonic()
    finally:
        memory.release(name, holder)


def _busy(repository: Repository) -> Batch:
    name = repository.full_name
    message = f"{name}: another scan is at work on it; this one leaves it alone, and the next one looks again"
    scanned = Scanned(name=name, status="partial", whole=False)
    problem = Problem(kind="busy", message=message, repository=name)
    return Batch(repository=repository, scanned=scanned, problems=(problem,))
