"""Back-fill: a whole history with its file lists into an empty database, against `git log` and two other readers of git.

Ours is what `rc ingest git-scan --full` does: git, parsing, story keys, SQLite store, JSON artifact. The history is made
(10,000 commits, 400 to 6,000 files, deep folders, merges, packed as a server packs it) or given by `--repository PATH`, of
which the branch of HEAD is read. Beside it stand

* `git log --raw -z --no-renames` alone, whose output is thrown away: the least that tells which files changed.
* Perceval's git backend, twice. Once as its command is used: each commit becomes a line of JSON in a file. Once it only
  reads, and so do we: commits are made and dropped. It is spared the clone that it makes by default. It asks git for
  renames, copies and line counts, which cannot be turned off.
* PyDriller, with `modified_files` of each commit: 300 that are spread evenly over the history, since all would take
  minutes. Finding them is not counted.

Each is a process of its own that has imported everything before the clock starts. They run in turns, and count with the
best of their times.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import git_histories
import grown_histories
from measuring import Result, alternating
from reading_git import Reading, is_installed, read

SHAPE = grown_histories.Shape(commits=10_000, files=400, most_files=20_000, lines=250, layout="deep")
ROUNDS = 6
GIT_AIM, PERCEVAL_AIM, PYDRILLER_AIM = 3.0, 3.0, 30.0

_KINDS = ("git log", "whole", "reading", "perceval", "perceval reading", "pydriller")


def measure(repository: Path | None = None) -> list[Result]:
    """Return a row for each peer; one that is not installed is left out, which is said on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        if repository is None:
            repository = Path(folder, "made.git")
            grown_histories.make(repository, SHAPE)
            git_histories.pack(repository)
        found = _best(repository)
    counts = {reading.commits for kind, reading in found.items() if kind != "pydriller"}
    if len(counts) > 1:
        raise RuntimeError(f"not all have read the same commits: {found}")
    return list(_rows(found))


def _best(repository: Path) -> dict[str, Reading]:
    kinds = [kind for kind in _KINDS if is_installed(kind)]
    for kind in (kind for kind in _KINDS if kind not in kinds):
        print(f"{kind} is not installed, and left out", end=" … ", file=sys.stderr, flush=True)
    turns = [alternating(number, *(partial(read, kind, repository) for kind in kinds)) for number in range(ROUNDS)]
    best = (min(readings, key=lambda reading: reading.seconds) for readings in zip(*turns, strict=True))
    return dict(zip(kinds, best, strict=True))


def _rows(found: dict[str, Reading]) -> Iterator[Result]:
    whole, reading, log = found["whole"], found["reading"], found["git log"]
    commits = f"{whole.commits:,} commits"
    yield Result(
        what=f"{commits}; peer: `git log --raw -z --no-renames`",
        ours=f"{whole.seconds:.2f} s",
        peer=f"{log.seconds:.2f} s",
        ratio=whole.seconds / log.seconds,
        aim=f"≤ {GIT_AIM:g}",
        met=whole.seconds / log.seconds <= GIT_AIM,
        data={kind: reading.rate for kind, reading in found.items()},
    )
    yield from _faster(f"{commits}; peer: Perceval into a file", whole, found.get("perceval"), PERCEVAL_AIM)
    peer = found.get("perceval reading")
    yield from _faster(f"{commits}, nothing kept; peer: Perceval", reading, peer, PERCEVAL_AIM)
    yield from _faster(f"{commits}; peer: PyDriller, modified files", whole, found.get("pydriller"), PYDRILLER_AIM)


def _faster(what: str, ours: Reading, peer: Reading | None, aim: float) -> Iterator[Result]:
    if peer is not None:
        ratio = ours.rate / peer.rate
        yield Result(
            what=what,
            ours=f"{ours.rate:,.0f}/s",
            peer=f"{peer.rate:,.0f}/s",
            ratio=ratio,
            aim=f"≥ {aim:g}",
            met=ratio >= aim,
        )
