"""Growth: a back-fill of 1,000 to 100,000 commits, and what ten new commits cost after it.

One history is made (a tree of 300 files throughout, merges) and read up to its 1,000th, 3,000th … 100,000th commit: only the
number of commits differs. Each back-fill goes into an empty database, in a process of its own that has imported everything
before the clock starts; the best of two counts. Linear means that a commit of the largest costs hardly more than one of 10,000,
where what is done once no longer shows; flat means that the process held hardly more memory.

Then both repositories, that of 1,000 and that of 100,000 commits, get ten commits more, and each is scanned into the database
of its back-fill with the usual window of four hours. That is repeated in turns, and the best times count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import git_histories
import grown_histories
from measuring import Result, at_most, bests, in_turns
from reading_git import Reading, read

from releasecopilot_core import Ingestor

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
ROUNDS, NEW, SCANS = 2, 10, 8
#: Time of a commit, the largest against that of `LINEAR_FROM` commits; MiB of the largest over the smallest; time of a scan.
TIME_AIM, MEMORY_AIM, SCAN_AIM = 1.5, 10.0, 1.5
LINEAR_FROM = 10_000

_SHAPE = grown_histories.Shape(commits=SIZES[-1], files=300, most_files=300, lines=1, layout="flat", stops=SIZES[:-1])


def measure() -> list[Result]:
    """Return a row for each size, one for how far memory grows, and one for ten new commits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = folder / "whole.git"
        grown_histories.make(whole, _SHAPE)
        for size in SIZES:
            git_histories.cut(folder / f"{size}.git", whole, f"refs/at/{size}")
        found = {size: _back_filled(folder, size) for size in SIZES}
        return [*_sizes(found), _scans(folder)]


def _back_filled(folder: Path, size: int) -> Reading:
    """Return the faster of some back-fills; the database of the last one stays."""
    readings = []
    for number in range(ROUNDS):
        place = folder / f"{size}-{number}"
        place.mkdir()
        readings.append(read("whole", folder / f"{size}.git", place))
        if readings[-1].commits != size:
            raise RuntimeError(f"expected {size} commits, not {readings[-1]}")
    return min(readings, key=lambda reading: reading.seconds)


def _sizes(found: dict[int, Reading]) -> Iterator[Result]:
    usual = found[LINEAR_FROM].seconds / LINEAR_FROM
    for size, reading in found.items():
        ratio = reading.seconds / size / usual
        last = size == SIZES[-1]
        yield Result(
            what=f"back-fill of {size:,} commits",
            ours=f"{reading.seconds:.2f} s, {reading.seconds / size * 1e6:.0f} µs a commit, {reading.peak:.0f} MiB",
            peer=f"{usual * 1e6:.0f} µs a commit (of {LINEAR_FROM:,})" if last else "",
            ratio=ratio if last else None,
            aim=f"≤ {TIME_AIM:g}" if last else "",
            met=ratio <= TIME_AIM if last else None,
            data={"commits": size, "seconds": reading.seconds, "mebibytes": reading.peak},
        )
    most, least = found[SIZES[-1]].peak, found[SIZES[0]].peak
    what = f"memory, {SIZES[-1]:,} over {SIZES[0]:,} commits"
    yield at_most(MEMORY_AIM, "MiB", what=what, ours=most - least, digits=1)


# --- ten new commits -----------------------------------------------------------------------------------------


def _scans(folder: Path) -> Result:
    few, many = SIZES[0], SIZES[-1]
    turns = []
    for number in range(1 + SCANS):
        for size in (few, many):
            newest = datetime.now(UTC) - timedelta(seconds=1)
            git_histories.extend(
                folder / f"{size}.git", "main", git_histories.spread(newest, NEW, timedelta(seconds=1))
            )
        turns.append(in_turns(number, partial(_scan, folder, few), partial(_scan, folder, many)))
    # The first time all is imported.
    short, long = bests(turns[1:])
    return Result(
        what=f"scan of {NEW} new commits on {many:,}; peer: on {few:,}",
        ours=f"{long * 1000:.0f} ms",
        peer=f"{short * 1000:.0f} ms",
        ratio=long / short,
        aim=f"≤ {SCAN_AIM:g}",
        met=long / short <= SCAN_AIM,
    )


def _scan(folder: Path, size: int) -> None:
    place = folder / f"{size}-{ROUNDS - 1}"
    with Ingestor(database=place / "commits.db", artifacts=place / "artifacts") as ingestor:
        run = ingestor.scan("git", repositories=[str(folder / f"{size}.git")])
    if (run.status, run.new) != ("complete", NEW):
        raise RuntimeError(f"expected {NEW} new commits, not {run}")
