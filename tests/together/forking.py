"""Real processes without the half second that Python needs to start: forked from one that has imported everything.

`Nursery.child` gives a process of its own, with its own pid, files and connections, that may be killed at any moment. As
a program this module is the process that is forked; it has one thread and has opened nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0


class Child:
    """One forked process."""

    def __init__(self, nursery: subprocess.Popen[str]) -> None:
        assert nursery.stdout is not None
        self._answers = nursery.stdout
        self.pid = int(self._answers.readline())
        self.status: int | None = None

    def kill(self) -> None:
        """Send SIGKILL; a process that has ended by itself stays what it is until `wait`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        if self.status is None:
            self.status = int(self._answers.readline())
        return self.status


class Nursery:
    """The process that forks, started when it is first needed; it ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def child(self, what: str, *arguments: object, told: Path) -> Iterator[Child]:
        """Run `rc`, `scan` or `serve` (see below), one at a time; what it says goes to the file `told`.

        At the end it is killed if it still runs, and a traceback in what it said is an error.
        """
        if self._process is None:
            command = [sys.executable, __file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        told.unlink(missing_ok=True)
        order = {"what": what, "arguments": list(map(str, arguments)), "told": str(told)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = Child(self._process)
        try:
            yield child
        finally:
            child.kill()
            child.wait()
        said = told.read_text(encoding="utf-8") if told.exists() else ""
        assert "Traceback" not in said, said


# --- the process that forks, and its children ------------------------------------------------------------------


def rc(*arguments: str) -> int:
    """Run the command."""
    from releasecopilot_core._cli import run

    return run(list(arguments))


def scan(settings: str, kind: str, hours: str, transactions: str, statements: str) -> int:
    """Scan or repair, and be killed at a statement of the n-th transaction."""
    from releasecopilot_core import Ingestor

    with Ingestor.from_settings(settings) as ingestor:
        _die_at(ingestor.store("bitbucket"), int(transactions), int(statements))
        if kind == "repair":
            ingestor.repair("bitbucket")
        else:
            ingestor.scan("bitbucket", hours=float(hours))
    return 0


def serve(settings: str, place: str, transactions: str, statements: str) -> int:
    """Serve webhooks, say where in the file `place`, and be killed at a statement of the n-th transaction."""
    from receiving import serving

    from releasecopilot_core import Settings

    with serving(Settings.load(settings), repair=True) as (url, webhook):
        Path(place).write_text(url, encoding="utf-8")
        _die_at(webhook._receiver.store, int(transactions), int(statements))
        time.sleep(PATIENCE)
    return 0


def _die_at(store: Any, transactions: int, statements: int) -> None:
    """Have SIGKILL come just before a statement."""

    def count(sql: str) -> None:
        nonlocal transactions, statements
        transactions -= sql.startswith("BEGIN")
        statements -= transactions <= 0
        if statements <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    store._connection.db.conn.set_trace_callback(count)


def _run(order: dict[str, Any]) -> None:
    """Be the child: what it says goes to a file, and nothing of the nursery's is touched any more."""
    code = 70
    try:
        said = os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, target in enumerate((nothing, nothing, said)):
            os.dup2(target, number)
        # One after the other: its hash seed and random numbers are those of the nursery, its sockets are its own.
        code = {"rc": rc, "scan": scan, "serve": serve}[order["what"]](*order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _serve_orders() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _import_everything() -> None:
    for name in (
        "receiving",
        "releasecopilot_bitbucket.source",
        "releasecopilot_bitbucket.webhooks",
        "releasecopilot_core._cli.root",
        "releasecopilot_core._cli.ingest",
        "releasecopilot_core.builtin.json_artifact.artifact",
        "releasecopilot_core.builtin.sqlite_store.storage",
    ):
        importlib.import_module(name)


if __name__ == "__main__":
    _import_everything()
    _serve_orders()
