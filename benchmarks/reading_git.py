"""Read a git repository in a fresh process: with Release Copilot, git alone, Perceval, or PyDriller.

`python reading_git.py KIND REPOSITORY FOLDER` is that process; `read` starts it. Whatever a kind needs is imported, and what
it looks for is looked for, before the clock starts. FOLDER is empty, and keeps what is written. Perceval and PyDriller may
be installed in folders of their own, which the environment variable `BENCH_PEERS` names (as a path).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import git_histories
from measuring import peak_mebibytes

#: So many commits are read where one takes milliseconds.
SAMPLE = 300

_PEERS = os.environ.get("BENCH_PEERS", "").split(os.pathsep)


@attrs.frozen(kw_only=True)
class Reading:
    """How many commits a process read, in how many seconds, and the most memory that it held (without git), in MiB."""

    commits: int
    seconds: float
    peak: float

    @property
    def rate(self) -> float:
        """Return commits a second."""
        return self.commits / self.seconds


def read(kind: str, repository: Path, folder: Path | None = None) -> Reading:
    """Return how a fresh process fared that reads the branch of HEAD; what it writes is left in `folder`, if that is given.

    Raises:
        RuntimeError: it failed.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            return read(kind, repository, Path(name))
    command = [sys.executable, __file__, kind, str(repository), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_PEERS)} if kind in _MODULES else None
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{kind}: reading {repository} failed:\n{done.stderr}")
    return Reading(**json.loads(done.stdout.splitlines()[-1]))


def is_installed(kind: str) -> bool:
    """Return whether this kind of reader can be imported."""
    return kind not in _MODULES or has_peer(_MODULES[kind])


def has_peer(module: str) -> bool:
    """Return whether a module can be imported, here or from the folders of the peers."""
    return find_spec(module) is not None or PathFinder.find_spec(module, _PEERS) is not None


# --- in the process ------------------------------------------------------------------------------------------


class Clock:
    """Measures what happens within `running`."""

    seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add what the block takes."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started


def _whole(repository: Path, folder: Path, clock: Clock) -> int:
    """Scan into a database and an artifact, after a scan of a repository of one commit: all is imported by then."""
    from releasecopilot_core import Ingestor

    first = folder / "first"
    first.mkdir()
    git_histories.make(first / "one.git")
    git_histories.extend(first / "one.git", "main", [git_histories.LONG_AGO])
    with Ingestor(database=first / "commits.db", artifacts=first / "artifacts") as ingestor:
        ingestor.scan("git", repositories=[str(first / "one.git")], full=True)
    with Ingestor(database=folder / "commits.db", artifacts=folder / "artifacts") as ingestor:
        ingestor.sources()
        with clock.running():
            run = ingestor.scan("git", repositories=[str(repository)], full=True)
    if run.status != "complete" or any(report.files_owed for report in run.repositories):
        raise RuntimeError(f"the scan left something out: {run}")
    return run.new


def _reading(repository: Path, _: Path, clock: Clock) -> int:
    from releasecopilot_git.history import GitHistory
    from releasecopilot_git.running import Git, Processes

    history = GitHistory(Git(_git_dir(repository), Processes()))
    head = git_histories.git(repository, "rev-parse", "HEAD")
    with clock.running():
        return sum(len(page.commits) for page in history.pages([head], []))


def _git_log(repository: Path, _: Path, clock: Clock) -> int:
    command = ["git", f"--git-dir={_git_dir(repository)}", "log", "--raw", "-z", "--no-renames"]
    with clock.running():
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return int(git_histories.git(repository, "rev-list", "--count", "HEAD"))


def _perceval(repository: Path, folder: Path, clock: Clock) -> int:
    items = _perceval_items(repository)
    count = 0
    with clock.running(), (folder / "commits.json").open("w", encoding="utf-8") as file:
        for item in items:
            # As `perceval git --json-line` writes it.
            file.write(json.dumps(item, separators=(",", ":"), sort_keys=True) + "\n")
            count += 1
    return count


def _perceval_reading(repository: Path, _: Path, clock: Clock) -> int:
    items = _perceval_items(repository)
    with clock.running():
        return sum(1 for _ in items)


def _perceval_items(repository: Path) -> Iterator[Any]:
    from perceval.backends.core.git import Git

    branch = git_histories.git(repository, "symbolic-ref", "--short", "HEAD")
    directory = str(_git_dir(repository))
    # Nothing is done before the first item is asked for.
    found: Iterator[Any] = Git(directory, directory).fetch(branches=[branch], no_update=True)
    return found


def _pydriller(repository: Path, _: Path, clock: Clock) -> int:
    from pydriller import Git

    shas = git_histories.git(repository, "rev-list", "HEAD").split()
    sample = shas[:: max(1, len(shas) // SAMPLE)][:SAMPLE]
    opened = Git(str(repository))
    with clock.running():
        for sha in sample:
            len(opened.get_commit(sha).modified_files)
    return len(sample)


def _git_dir(repository: Path) -> Path:
    """Return the git directory of a checkout, or of a bare repository."""
    command = ["git", "-C", str(repository), "rev-parse", "--absolute-git-dir"]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n"))


_KINDS: Mapping[str, Callable[[Path, Path, Clock], int]] = MappingProxyType(
    {
        "whole": _whole,
        "reading": _reading,
        "git log": _git_log,
        "perceval": _perceval,
        "perceval reading": _perceval_reading,
        "pydriller": _pydriller,
    }
)
_MODULES = {"perceval": "perceval", "perceval reading": "perceval", "pydriller": "pydriller"}


def _main(kind: str, repository: str, folder: str) -> None:
    clock = Clock()
    commits = _KINDS[kind](Path(repository), Path(folder), clock)
    print(json.dumps({"commits": commits, "seconds": clock.seconds, "peak": peak_mebibytes()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
