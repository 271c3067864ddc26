"""A workspace that the sandbox serves over HTTP, scanned by the Bitbucket source, with every request counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from releasecopilot_bitbucket_sandbox.server import Sandbox

from releasecopilot_core import Ingestor, Run, Settings


@attrs.frozen
class Counted:
    """A run, and how many requests the sandbox answered for it, by kind."""

    run: Run
    kinds: Counter[str]

    @property
    def requests(self) -> int:
        """Return how many it answered in all."""
        return self.kinds.total()

    @property
    def detail(self) -> str:
        """Return how many there were of each kind, as words."""
        return ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))


@attrs.frozen
class Workspace:
    """The served repositories' folder, and where a scan leaves its database and artifacts."""

    repositories: Path
    sandbox: Sandbox

    def scan(self, *branches: str) -> Counted:
        """Scan with a window of four hours; the run must be complete, and the client must have counted the same.

        Raises:
            RuntimeError: it is not, or it has not.
        """
        home = self.repositories.parent
        bitbucket = {"workspace": "acme", "api_url": self.sandbox.url, "default_branches": list(branches)}
        self.sandbox.clear_requests()
        settings = Settings({"bitbucket": bitbucket})
        with Ingestor(settings, database=home / "commits.db", artifacts=home / "artifacts") as ingestor:
            run = ingestor.scan("bitbucket", hours=4)
        counted = Counted(run, Counter(served.kind for served in self.sandbox.requests))
        if run.status != "complete" or run.requests != counted.requests:
            answered = f"{counted.requests} requests ({counted.detail})"
            raise RuntimeError(f"scan {run.status}, {answered}, {run.requests} known to the client: {run.problems}")
        return counted


@contextmanager
def served(folder: Path) -> Iterator[Workspace]:
    """Serve the repositories below `folder/repositories`, anew for each measurement."""
    repositories = folder / "repositories"
    repositories.mkdir()
    with Sandbox(repositories) as sandbox:
        yield Workspace(repositories, sandbox)
