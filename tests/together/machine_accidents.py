"""What breaks, for the state machine: the service, deliveries, and processes that are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from forking import Nursery
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine_stage import BRANCHES, WINDOWS, Stage, ages
from receiving import subscribe, unsubscribe

RC = Path(sys.executable).parent / "rc"
FAULTS = (
    ("status", "503:2"), ("reset", "2"), ("truncate", "2"), ("bad-json", "1"), ("rate-limit", "6"), ("ctx-expiry", "1"),
    ("status@diffstat", "403:3"), ("status@branches", "500:40"), ("order", "date-order"), ("null-author", "1"),
    ("status@pullrequest-commits", "500:40"), ("forbidden@pullrequests", "1"), ("truncate@pullrequest-commits", "3"),
)  # fmt: skip

NURSERY = Nursery()


class Service(Stage):
    """A service that does not always answer."""

    @rule(fault=st.sampled_from(FAULTS))
    def break_something(self, fault: tuple[str, str]) -> None:
        """Switch a fault on."""
        event(f"fault: {fault[0]}={fault[1]}")
        if fault[0] == "rate-limit":
            self.workspace.sandbox.set_fault("rate-window", "0.5")
        self.workspace.sandbox.set_fault(*fault)

    @precondition(lambda self: self.hooked)
    @rule(fault=st.sampled_from(["drop", "duplicate", "reorder"]), count=st.integers(1, 3))
    def lose_deliveries(self, fault: str, count: int) -> None:
        """The next deliveries are lost, doubled, or come in another order."""
        event(f"deliveries: {fault}")
        self.workspace.sandbox.set_fault(fault, str(count))

    @rule()
    def mend(self) -> None:
        """Switch all faults off."""
        self.mend_all()


class Killers(Stage):
    """SIGKILL for real processes: scans, repairs, and those that serve webhooks."""

    served = False

    @rule(data=st.data(), kind=st.sampled_from(["commits", "commits", "diffstat", "any"]), answers=st.integers(1, 6))
    def kill_scan_at_answer(self, data: st.DataObject, kind: str, answers: int) -> None:
        """Kill `rc ingest bitbucket-scan` after the n-th HTTP answer of a kind: mostly in the middle of a walk."""
        self._push_a_lot(data)
        hours = data.draw(st.sampled_from(WINDOWS))
        self._kill_at_answer(kind, answers, "bitbucket-scan", "--hours", str(hours))

    @precondition(lambda self: self.hooked)
    @rule(data=st.data(), kind=st.sampled_from(["commits", "pullrequest", "any"]), answers=st.integers(1, 4))
    def kill_repair_at_answer(self, data: st.DataObject, kind: str, answers: int) -> None:
        """Kill `rc ingest bitbucket-repair`, which has just been told what to fetch, after the n-th HTTP answer."""
        self._push_a_lot(data)
        self.flush()
        self._kill_at_answer(kind, answers, "bitbucket-repair")

    def _kill_at_answer(self, kind: str, answers: int, *command: str) -> None:
        left = [answers]
        arguments = ("ingest", *command, "--config", self.settings_file())
        with NURSERY.child("rc", *arguments, told=self.workspace.folder / "said.txt") as process:

            def count(served: Any) -> None:
                left[0] -= kind in ("any", served.kind)
                if left[0] == 0:
                    process.kill()

            self.workspace.sandbox.on_request(count)
            ended = process.wait()
        self.workspace.sandbox.on_request(None)
        event(f"{command[0]} killed at an answer: {ended == -signal.SIGKILL}")

    @rule(data=st.data(), transactions=st.integers(2, 14), statements=st.integers(1, 12))
    def kill_scan_at_statement(self, data: st.DataObject, transactions: int, statements: int) -> None:
        """Kill a scan at a statement of its n-th transaction."""
        self._push_a_lot(data)
        self._kill_at_statement("scan", data.draw(st.sampled_from(WINDOWS)), transactions, statements)

    @precondition(lambda self: self.hooked)
    @rule(data=st.data(), transactions=st.integers(2, 8), statements=st.integers(1, 12))
    def kill_repair_at_statement(self, data: st.DataObject, transactions: int, statements: int) -> None:
        """Kill a repair, which has just been told what to fetch, at a statement of its n-th transaction."""
        self._push_a_lot(data)
        self.flush()
        self._kill_at_statement("repair", 0.0, transactions, statements)

    def _kill_at_statement(self, kind: str, hours: float, transactions: int, statements: int) -> None:
        arguments = (self.settings_file(), kind, hours, transactions, statements)
        with NURSERY.child("scan", *arguments, told=self.workspace.folder / "said.txt") as process:
            ended = process.wait()
        event(f"{kind} killed at a statement: {ended == -signal.SIGKILL}")

    def _push_a_lot(self, data: st.DataObject) -> None:
        """Push commits for several pages of a walk, back-dated or not, on one line or on two that meet at the tip."""
        api = self.any(data)
        branch = data.draw(st.sampled_from(sorted(api.branches()) or ["main"]))
        api.history(branch, [data.draw(ages)] * data.draw(st.integers(0, 16)) or [1.0], message="RC-2 work {}")
        other = data.draw(st.sampled_from(BRANCHES))
        if other != branch:
            api.history(other, [data.draw(ages)] * data.draw(st.integers(1, 8)), message="RC-2 beside {}")
            api.commit(branch, "meet", parents=[head for name in (branch, other) if (head := api.head(name))])
        self.remember()

    # --- a process that serves -------------------------------------------------------------------------------

    @precondition(lambda self: not self.served)
    @rule(data=st.data(), transactions=st.integers(1, 8), statements=st.integers(1, 14))
    def kill_server_at_statement(self, data: st.DataObject, transactions: int, statements: int) -> None:
        """Kill a process that serves webhooks at a statement of its n-th transaction, while deliveries come."""
        self.served = True
        place = self.workspace.folder / "address.txt"
        place.unlink(missing_ok=True)
        arguments = (self.settings_file(), place, transactions, statements)
        with NURSERY.child("serve", *arguments, told=self.workspace.folder / "said.txt") as process:
            if url := _in_time(lambda: place.exists() and place.read_text(encoding="utf-8")):
                self._deliver(data, url)
            process.kill()
            process.wait()

    @precondition(lambda self: not self.served)
    @rule(data=st.data(), framework=st.sampled_from(["flask", "fastapi"]), answers=st.integers(1, 5))
    def kill_server_at_answer(self, data: st.DataObject, framework: str, answers: int) -> None:
        """Kill `rc serve` with all its workers after its n-th answer, while further deliveries come."""
        self.served = True
        with self._rc_serve(framework) as (url, kill):
            ended = threading.Event()

            def wait_and_kill() -> None:
                while not ended.wait(0.001) and len(self._answered(url)) < answers:
                    pass
                kill()

            killer = threading.Thread(target=wait_and_kill)
            killer.start()
            try:
                self._deliver(data, url)
            finally:
                ended.set()
                killer.join()

    def _deliver(self, data: st.DataObject, url: str) -> None:
        """Push to several branches, so that a server at an address is told; whatever it accepted is stored."""
        with self.without_faults():
            address = subscribe(self.workspace, url)
        api = self.any(data)
        for number in range(data.draw(st.integers(1, 8))):
            api.commit(data.draw(st.sampled_from(BRANCHES)), f"RC-3 delivered {number}")
            self.notice()
        self.remember()
        self.flush()
        with self.without_faults():
            unsubscribe(address)
        statuses = [attempt.status for delivery in self._told(url) for attempt in delivery.attempts]
        event(f"a killed server had accepted {'some' if 202 in statuses else 'none'}, "
              f"and {'broke off' if None in statuses else 'was not asked again'}")  # fmt: skip

    def _told(self, url: str) -> list[Any]:
        return [delivery for delivery in self.workspace.sandbox.deliveries if delivery.url == url]

    def _answered(self, url: str) -> list[Any]:
        return [delivery for delivery in self._told(url) if delivery.outcome != "waiting"]

    @contextlib.contextmanager
    def _rc_serve(self, framework: str) -> Iterator[tuple[str, Callable[[], None]]]:
        """Run `rc serve`; gives its address, and how to kill it."""
        said = self.workspace.folder / "said.txt"
        command = [
            RC,
            "serve",
            "bitbucket-webhook",
            "--port",
            "0",
            "--with",
            framework,
            "--config",
            self.settings_file(),
        ]
        with said.open("w") as stderr:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
            )

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        try:
            line = _in_time(lambda: "\n" in (text := said.read_text()) and text.splitlines()[0])
            assert "http://" in (line or ""), said.read_text()
            yield "http://" + line.partition("http://")[2].split()[0], kill
        finally:
            kill()
            process.wait()
        assert "Traceback" not in said.read_text(), said.read_text()


def _in_time(found: Callable[[], Any]) -> Any:
    """Wait until there is something, up to 30 seconds; a process that was killed meanwhile never gives it."""
    deadline = time.monotonic() + 30
    while not (value := found()):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    return value
