"""What sources do alike before they walk, for authors of sources: choose branches, and hold a repository."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from ._batch import Batch, Scanned
from ._interfaces import Memory
from ._model import Problem, Repository
from .errors import StoreError

#: Seconds after which a lease ends whose holder is gone without a trace (a machine that was switched off); a first
#: clone of a large repository may take minutes without a batch.
LEASE_SECONDS = 600.0

#: Seconds between prolongations.
PROLONG_SECONDS = 30.0


def is_glob(pattern: str) -> bool:
    """Whether a pattern stands for more than one name."""
    return any(sign in pattern for sign in "*?[")


def select_branches(names: Iterable[str], patterns: Sequence[str], main: str | None) -> tuple[str, ...]:
    """Return the names that patterns choose, in the patterns' order; no patterns mean the main branch.

    Patterns are names or globs, in which `*` crosses `/`.
    """
    known = sorted(names)
    if not patterns:
        return (main,) if main in known and main is not None else ()
    chosen: dict[str, None] = {}
    for pattern in patterns:
        chosen.update(dict.fromkeys(name for name in known if fnmatchcase(name, pattern)))
    return tuple(chosen)


def selection_text(patterns: Sequence[str]) -> str:
    """Return the text by which a later scan knows whether it selects the same branches."""
    return json.dumps(list(patterns))


def found_nowhere(patterns: Sequence[str], found: Container[str]) -> tuple[Problem, ...]:
    """Return a problem for each branch that was named and exists in none of the repositories, all of which were read."""
    return tuple(
        Problem(kind="branch", message=f"no repository has a branch {pattern!r}; check --branches or default_branches")
        for pattern in patterns
        if not is_glob(pattern) and pattern not in found
    )


def held(work: Iterator[Batch], memory: Memory, repository: Repository, holder: str) -> Generator[Batch]:
    """Yield what `work` yields while the repository's lease is held, or one batch that says that somebody else has it.

    Two scans at once do not do the same work twice. A lease that was lost meanwhile does no harm: batches merge.
    """
    name = _lease_of(repository)
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
        let_go(memory, repository, holder)


def let_go(memory: Memory, repository: Repository, holder: str) -> None:
    """Give a repository's lease back, if `holder` has it: also in place of a thread that cannot any more."""
    # The store may be out of reach by now; then the lease ends with this process, or when it expires.
    with contextlib.suppress(StoreError):
        memory.release(_lease_of(repository), holder)


def _lease_of(repository: Repository) -> str:
    return f"scan of {repository.uuid}"


def _busy(repository: Repository) -> Batch:
    name = repository.full_name
    message = f"{name}: another scan is at work on it; this one leaves it alone, and the next one looks again"
    scanned = Scanned(name=name, status="partial", whole=False)
    problem = Problem(kind="busy", message=message, repository=name)
    return Batch(repository=repository, scanned=scanned, problems=(problem,))
