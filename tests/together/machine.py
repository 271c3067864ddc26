"""A state machine that does to a workspace what people and machines do, and holds the database against git.

Real git repositories, the sandbox over HTTP, real webhook deliveries into real servers, real processes that are killed.
Nothing is mocked; git is the oracle. The rules are in `machine_people`, `machine_requests` and `machine_accidents`, what
must be true in `machine_oracle`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from machine_accidents import Killers, Service
from machine_oracle import Oracle
from machine_people import Administrators, People
from machine_requests import Requesters
from machine_stage import WINDOWS
from receiving import receiving, subscribe

from releasecopilot_core import Ingestor


class WorkspaceMachine(People, Administrators, Requesters, Service, Killers, Oracle):
    """Changes repositories, scans, delivers, breaks and kills; whenever a scan is complete, the database is held to git."""

    @initialize(webhooks=st.sampled_from(["no", "yes", "yes, with repairs in the background"]))
    def begin(self, webhooks: str) -> None:
        """Start with one repository, with or without webhooks."""
        event(f"webhooks: {webhooks}")
        self.add("api").commit("main", "base", hours_ago=2)
        if webhooks != "no":
            self.hooked = True
            url = self.receiver.enter_context(receiving(self.workspace, repair=webhooks != "yes"))
            subscribe(self.workspace, url)

    def teardown(self) -> None:
        """Hold the whole database to git once more, then clean up."""
        try:
            if self.repositories:
                self.settle()
        finally:
            self.stack.close()

    @rule(
        hours=st.sampled_from(WINDOWS),
        branches=st.sampled_from([["*"], ["*"], ["main"], ["release/*", "main"]]),
        full=st.booleans(),
        files=st.sampled_from(["auto", "api", "git", "none"]),
        sweep_hours=st.sampled_from([0, 24]),
    )
    def scan(self, hours: float, branches: list[str], *, full: bool, files: Any, sweep_hours: int) -> None:
        """Scan; when the run says that it is complete, it is."""
        self.remember()
        quick = {"retry_seconds": 1, "sweep_hours": sweep_hours}
        run = self.workspace.scan(hours=hours, branches=branches, full=full, files=files, bitbucket=quick)
        event(f"scan: {run.status}")
        assert run.status in ("complete", "partial", "failed")
        assert run.status == "complete" or run.problems
        if run.status == "complete":
            self.hold_scanned(run, branches)

    @rule()
    def scan_as_scheduled(self) -> None:
        """Scan as every four hours: whatever has not moved is not looked at."""
        self.scan(4.0, ["*"], full=False, files="auto", sweep_hours=24)

    @rule()
    def repair(self) -> None:
        """Fetch what webhooks announced."""
        self.remember()
        self.flush()
        with Ingestor(self.workspace.settings(retry_seconds=1)) as ingestor:
            ingestor.store("bitbucket")
            announced = self.announced()
            run = ingestor.repair("bitbucket")
        event(f"repair: {run.status}, {'announced' if announced else 'nothing to do'}")
        assert run.status in ("complete", "partial", "failed")
        if run.status == "complete":
            self.hold_repaired(run, announced)
