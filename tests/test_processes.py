"""Leases and runs of processes that died, with real processes: also when their number is somebody else's by now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import CommitStorage, Run, Window
from releasecopilot_core._clock import utc_now
from releasecopilot_core.builtin.sqlite_store import processes

WORKER = """
import sys
from releasecopilot_core import CommitStorage, Run, Window
from releasecopilot_core._clock import utc_now

moment = utc_now()
store = CommitStorage(sys.argv[1])
given_up = store.begin_run(
    Run(run_id=sys.argv[2], kind="scan", source="test", window=Window(moment, moment), started_at=moment)
)
print(store.lease("work", sys.argv[2], 600), *given_up, flush=True)
sys.stdin.read()
"""
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process started")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "c.db") as store:
        yield store


@pytest.fixture
def worker(store: CommitStorage) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a process which holds the lease and has a run under way."""
    started: list[subprocess.Popen[str]] = []

    def start(run_id: str = "first", *before: str) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-c", WORKER, store.path, run_id]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def told(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def begin(store: CommitStorage) -> list[str]:
    """Begin a run here; returns the ids of those that were given up."""
    moment = utc_now()
    run = Run(run_id="mine", kind="scan", source="test", window=Window(moment, moment), started_at=moment)
    return list(store.begin_run(run))


def execute(store: CommitStorage, sql: str, *values: Any) -> None:
    with store._connection.writing() as db:
        db.execute(sql, values)


def test_living_process_keeps_what_it_has(store: CommitStorage, worker: Any) -> None:
    """Nobody else gets its lease, and its run goes on."""
    assert told(worker()) == ["True"]
    assert not store.lease("work", "me", 60)
    assert begin(store) == []


@pytest.mark.parametrize("reaped", [True, False])
def test_killed_process_is_given_up_at_once(store: CommitStorage, worker: Any, reaped: bool) -> None:
    """Also while its parent has not noticed, as in a container whose first process looks after no others."""
    process = worker()
    told(process)
    process.kill()
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert store.lease("work", "me", 60)
    assert begin(store) == ["first"]


@LINUX
def test_number_of_a_dead_process_may_be_used_again(store: CommitStorage, worker: Any) -> None:
    """A process lives that has the number of the one that died: when it started tells the two apart."""
    process = worker()
    told(process)
    (before, mark) = (processes.started(process.pid), processes.started(1) or processes.started(os.getppid()))
    assert before is not None
    assert before != mark
    for table in ("leases", "runs"):
        execute(store, f"UPDATE {table} SET process = ?", mark)
    assert store.lease("work", "me", 60)
    assert begin(store) == ["first"]


def test_own_number_with_another_mark_is_an_earlier_process(store: CommitStorage) -> None:
    """A container's scan is process 1 each time: what an earlier process 1 left is not taken for its own."""
    assert store.lease("work", "earlier", 600)
    begin(store)
    assert not store.lease("work", "me", 60)
    for table in ("leases", "runs"):
        execute(store, f"UPDATE {table} SET process = 'random 0123456789abcdef'")
    execute(store, "UPDATE runs SET run_id = 'earlier'")
    assert store.lease("work", "me", 60)
    assert begin(store) == ["earlier"]


def test_mark_of_an_older_release_is_judged_by_the_number_alone(store: CommitStorage, worker: Any) -> None:
    """It told none: as long as some process has that number, it counts as alive."""
    process = worker()
    told(process)
    for table in ("leases", "runs"):
        execute(store, f"UPDATE {table} SET process = NULL")
    assert not store.lease("work", "me", 60)
    assert begin(store) == []
    process.kill()
    process.wait()
    assert store.lease("work", "me", 60)
    assert begin(store) == ["first"]


def test_other_hosts_are_left_alone(store: CommitStorage) -> None:
    """Of their processes nobody here knows anything: the lease lasts until it expires."""
    assert store.lease("work", "there", 600)
    execute(store, "UPDATE leases SET host = 'elsewhere.example', pid = 999999999, process = NULL")
    assert not store.lease("work", "me", 60)
    execute(store, "UPDATE leases SET expires_at = '2026-01-01T00:00:00Z'")
    assert store.lease("work", "me", 60)


def _can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(
    not _can_unshare(), reason="process namespaces, which containers are made of, need more rights here"
)
def test_containers_first_processes_are_told_apart(store: CommitStorage, worker: Any) -> None:
    """Two containers of one host name, one after the other, whose scan is process 1: the second finds the first dead."""
    namespace = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    first = worker("first", *namespace)
    assert told(first) == ["True"]
    with store._connection.reading() as db:
        assert db.execute("SELECT pid FROM leases").fetchall() == [(1,)]
    first.kill()
    first.wait()
    assert told(worker("second", *namespace)) == ["True", "first"]
