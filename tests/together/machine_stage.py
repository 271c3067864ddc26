"""What all parts of the state machine share: the workspace, what is known of its past, and how to ask the service."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

import attrs
import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from receiving import AUTH, SECRET
from workspaces import GitRepository, Workspace

BRANCHES = ("main", "release/1", "feature/RC-9", "bugfix/rc-4")
SLUGS = ("api", "web", "tools")
WINDOWS = (1.0, 4.0, 100.0)
MESSAGES = ("work", "RC-1 work", "UTF-8")
#: Titles with the key that each one names, if any.
TITLES = {"RC-7 Taxes": "RC-7", "Tidy up": None, "[RC-8] Taxes again": "RC-8", "SHA-256 for all": None}

#: Hours ago: most commits are of now or of a window, some of the future, some of a year ago.
ages = st.one_of(st.floats(0.1, 6), st.floats(-3, 9000))


@attrs.define(eq=False)
class Opened:
    """A pull request as people made it; `begin` and `end` are places in the tips of its branches."""

    repository: GitRepository
    uuid: str
    number: int
    source: str
    destination: str
    titles: list[str]
    begin: tuple[int, int]
    end: int | None = None

    def sources(self) -> list[str]:
        """Return all heads of its source branch since it was opened."""
        return self.repository.tips[self.source][self.begin[0] :]

    def destinations(self) -> list[str]:
        """Return all heads of its destination from its opening to its end."""
        return self.repository.tips[self.destination][self.begin[1] : self.end]


class Stage(RuleBasedStateMachine):
    """The workspace and its past.

    `ever` is every commit that there was, with its parents, and `dates` says when it was committed, in seconds; `gone`
    are those that were garbage-collected; `kept` those that a scan said to have stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        # Whoever serves in this process or is forked finds the secrets there.
        os.environ.update(SANDBOX_TOKEN=AUTH[1], SANDBOX_SECRET=SECRET)
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        self.receiver = self.stack.enter_context(contextlib.ExitStack())
        self.workspace = Workspace(folder)
        self.workspace.sandbox.start()
        self.stack.callback(self.workspace.sandbox.stop)
        self.people = self.stack.enter_context(httpx.Client(auth=AUTH, timeout=60))
        self.mend_all()
        self.hooked = False
        self.repositories: dict[str, GitRepository] = {}
        self.opened: list[Opened] = []
        self.ever: dict[str, tuple[str, ...]] = {}
        self.dates: dict[str, int] = {}
        self.gone: set[str] = set()
        self.kept: set[str] = set()

    # --- repositories ----------------------------------------------------------------------------------------

    def add(self, slug: str) -> GitRepository:
        """Make an empty repository."""
        self.repositories[slug] = self.workspace.add(slug)
        return self.repositories[slug]

    def any(self, data: st.DataObject) -> GitRepository:
        """Draw a repository."""
        return self.repositories[data.draw(st.sampled_from(sorted(self.repositories)))]

    def slug_of(self, api: GitRepository) -> str:
        """Return the present name of a repository."""
        return next(slug for slug, other in self.repositories.items() if other is api)

    def remember(self) -> None:
        """Keep in mind what there is; called before anything is taken away, and before anybody looks."""
        for api in self.repositories.values():
            for line in api.git("rev-list", "--all", "--parents", "--timestamp").splitlines():
                seconds, sha, *parents = line.split()
                self.ever[sha] = tuple(parents)
                self.dates[sha] = int(seconds)

    def ancestors(self, shas: Iterable[str]) -> set[str]:
        """Return these commits and all behind them, also those that are gone."""
        found: set[str] = set()
        left = list(shas)
        while left:
            sha = left.pop()
            if sha not in found:
                found.add(sha)
                left += self.ever[sha]
        return found

    # --- what is stored --------------------------------------------------------------------------------------

    def linked_to(self, request: Opened) -> set[str]:
        """Return the stored commits of a pull request."""
        if not (self.workspace.folder / "commits.db").exists():
            return set()
        rows = self.workspace.rows(
            "SELECT l.sha FROM commit_pull_requests l JOIN repositories r ON r.id = l.repository_id "
            f"WHERE r.uuid = '{request.uuid}' AND l.pull_request = {request.number}"
        )
        return {sha for (sha,) in rows}

    def named_by_titles(self, key: str | None) -> set[str]:
        """Return the commits that have a key from a title."""
        rows = self.workspace.rows(
            f"SELECT sha FROM commit_story_keys WHERE story_key = '{key}' AND origin = 'pr_title'"
        )
        return {sha for (sha,) in rows}

    # --- the service -----------------------------------------------------------------------------------------

    def mend_all(self) -> None:
        """Switch all faults off."""
        self.workspace.sandbox.clear_faults()
        # Pages of a hundred would be the only ones of any history that is made here: walks must be cut in the middle.
        self.workspace.sandbox.set_fault("short-pages@commits", "3")
        self.workspace.sandbox.set_fault("short-pages@pullrequests", "3")
        self.workspace.sandbox.set_fault("short-pages@pullrequest-commits", "3")

    def flush(self) -> None:
        """Have all webhooks delivered, whatever comes of them."""
        self.workspace.sandbox.flush(30)

    def notice(self) -> None:
        """Have the service see what was pushed, and not wait for deliveries."""
        with contextlib.suppress(TimeoutError):
            self.workspace.sandbox.flush(0)

    @contextlib.contextmanager
    def without_faults(self) -> Iterator[None]:
        """Do what people do in their browsers: faults do not hit them."""
        sandbox = self.workspace.sandbox
        on = sandbox.faults
        self.mend_all()
        try:
            yield
        finally:
            for fault, value in on.items():
                sandbox.set_fault(fault, value)

    def ask(self, method: str, slug: str, place: str = "", body: Any = None, **parameters: Any) -> httpx.Response:
        """Ask about the pull requests of a repository, as people do."""
        address = f"{self.workspace.sandbox.url}/repositories/acme/{slug}/pullrequests{place}"
        with self.without_faults():
            return self.people.request(method, address, json=body, params=parameters)

    def settings_file(self) -> Path:
        """Write the settings that processes read."""
        return self.workspace.settings_file(retry_seconds=1, sweep_hours=0, webhook_secret="${SANDBOX_SECRET}")


def same(found: Any, wanted: Any) -> None:
    """Say what was found, and what should have been: these assertions are not rewritten in a long run."""
    assert found == wanted, f"found {found!r}, and not {wanted!r}"


def within(part: Set[Any], whole: Set[Any]) -> None:
    """Say which ones are missing."""
    assert part <= whole, f"missing are {set(part - whole)!r} of {len(part)}"
