"""Memory: the peak of a process that scans 10,000 and 200,000 commits through the whole path.

Each figure is that of a fresh process with an `Ingestor`, a source that makes its batches when they are asked for, the
installed extractors, the SQLite store, and the JSON artifact; nothing is left out but the network. It scans twice: first
all commits are new, with three files each, then a quiet scan with a window that holds them all sees every one of them
again. So both the pages' and the refreshing's memory are in the peak, and two artifacts with all commits. Beside it
stands a process that imports the package's public names and runs nothing: what the interpreter and the libraries take.

Memory is counted by the kernel as the most that was ever resident (`VmHWM`). Other processes do not change it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import made_commits
from measuring import Result, at_most, peak_mebibytes

from releasecopilot_core import Batch, Ingestor, Memory, PlanEntry, Scanned, ScanRequest, hookimpl

FEW, MANY = 10_000, 200_000
PEAK, GROWTH = 80.0, 10.0

#: Commits are a minute apart: a window that holds them all.
_HOURS = MANY / 60 + 24


def measure() -> list[Result]:
    """Return the peaks of both, how far they are apart, and what importing alone takes."""
    idle, few, many = (_peak_of_child(count) for count in (0, FEW, MANY))
    return [
        Result(what="import only", ours=f"{idle:.1f} MiB"),
        at_most(PEAK, "MiB", what=f"scan of {FEW:,} commits", ours=few, digits=1),
        at_most(PEAK, "MiB", what=f"scan of {MANY:,} commits", ours=many, digits=1),
        at_most(GROWTH, "MiB", what="the second over the first", ours=many - few, digits=1),
    ]


def _peak_of_child(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, str(count)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the scan of {count:,} commits failed:\n{done.stderr}")
    return float(done.stdout)


# --- in the child --------------------------------------------------------------------------------------------


class LazySource:
    """Makes batches as they are asked for; in a quiet scan only the last one, which says that nothing moved."""

    def __init__(self, count: int, newest: datetime) -> None:
        self._count, self._newest = count, newest
        self._quiet = False
        self.requests = 0

    def scan(self, request: ScanRequest, memory: Memory) -> Iterator[Batch]:
        """Yield all commits at the first call, and none at later ones."""
        if not self._quiet:
            self._quiet = True
            yield from made_commits.walked(self._count, self._newest, seen_at=self._newest)
        repository = made_commits.REPOSITORY
        last_word = Scanned(name=repository.full_name, status="complete", branches=(made_commits.BRANCH,))
        yield Batch(repository=repository, scanned=last_word)

    def plan(self, request: ScanRequest, memory: Memory) -> Iterator[PlanEntry]:
        """Yield nothing: a scan costs no request."""
        yield from ()

    def close(self) -> None:
        """Nothing is open."""


class FakePlugin:
    """Provides the source `fake`."""

    def __init__(self, source: LazySource) -> None:
        self._source = source

    @hookimpl
    def rc_sources(self) -> dict[str, Any]:
        """Return the one source."""
        return {"fake": lambda _: self._source}


def _scan(count: int) -> None:
    """Scan twice in the working directory, and make sure that all commits arrived."""
    plugin = FakePlugin(LazySource(count, datetime.now(UTC)))
    with Ingestor(plugins={"fake": plugin}, database=Path("commits.db"), artifacts=Path("artifacts")) as ingestor:
        first = ingestor.scan("fake", hours=4)
        second = ingestor.scan("fake", hours=_HOURS)
    if (first.status, first.new, second.status, second.refreshed) != ("complete", count, "complete", count):
        raise RuntimeError(f"expected {count:,} commits, first new, then seen again; not {first}, {second}")


if __name__ == "__main__":
    if number := int(sys.argv[1]):
        _scan(number)
    print(peak_mebibytes())
