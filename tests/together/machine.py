"""A state machine that does to a workspace what people and machines do, and holds the database against git.

Real git repositories, the sandbox over HTTP, real webhook deliveries into a real server, real `rc` processes that are
killed. Nothing is mocked; git is the oracle.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from receiving import receiving, subscribe
from workspaces import GitRepository, Workspace

from releasecopilot_core import Ingestor

RC = Path(sys.executable).parent / "rc"
BRANCHES = ("main", "release/1", "feature/RC-9", "bugfix/rc-4")
SLUGS = ("api", "web", "tools")
WINDOWS = (1.0, 4.0, 100.0)
#: A process that scans and is killed at a statement of its n-th transaction.
KILLED_BY_SQL = """
import os, signal, sys
from releasecopilot_core import Ingestor
with Ingestor.from_settings(sys.argv[1]) as ingestor:
    transactions, statements = int(sys.argv[2]), int(sys.argv[3])
    def count(sql):
        global transactions, statements
        transactions -= sql.startswith("BEGIN")
        statements -= transactions <= 0
        if statements <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    ingestor.store("bitbucket")._connection.db.conn.set_trace_callback(count)
    ingestor.scan("bitbucket", hours=float(sys.argv[4]))
"""
FAULTS = (
    ("status", "503:2"), ("reset", "2"), ("truncate", "2"), ("bad-json", "1"), ("rate-limit", "6"), ("ctx-expiry", "1"),
    ("status@diffstat", "403:3"), ("status@branches", "500:40"), ("order", "date-order"), ("null-author", "1"),
)  # fmt: skip

ages = st.one_of(st.floats(0.1, 6), st.floats(-3, 9000))


def _lines(texts: Iterable[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


class WorkspaceMachine(RuleBasedStateMachine):
    """Changes repositories, scans, delivers, breaks and kills; whenever a scan is complete, the database is held to git."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self._receiver = self._stack.enter_context(contextlib.ExitStack())
        os.environ["SANDBOX_TOKEN"] = "s3cret-token"
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        self.workspace = Workspace(folder)
        self.workspace.sandbox.start()
        self._switch_off_faults()
        self._stack.callback(self.workspace.sandbox.stop)
        self.repositories: dict[str, GitRepository] = {}
        self.ever: set[str] = set()
        self.kept: set[str] = set()

    @initialize(hooked=st.booleans())
    def begin(self, hooked: bool) -> None:
        """Start with one repository, with or without webhooks."""
        self._add("api").commit("main", "base", hours_ago=2)
        if hooked:
            subscribe(self.workspace, self._receiver.enter_context(receiving(self.workspace)))

    def teardown(self) -> None:
        """Hold the whole database to git once more, then clean up."""
        try:
            if self.repositories:
                self._settle()
        finally:
            self._stack.close()

    # --- people ----------------------------------------------------------------------------------------------

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), hours=ages, count=st.integers(1, 8))
    def commit(self, data: st.DataObject, branch: str, hours: float, count: int) -> None:
        """Add commits to a branch, or start it from another one."""
        api = self._any(data)
        if branch not in api.branches() and (heads := api.branches()):
            api.set(branch, data.draw(st.sampled_from(sorted(heads.values()))))
        for _ in range(count):
            api.commit(branch, data.draw(st.sampled_from(["work", "RC-1 work", "UTF-8"])), hours_ago=hours)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), others=st.integers(1, 3), hours=ages)
    def merge(self, data: st.DataObject, branch: str, others: int, hours: float) -> None:
        """Merge one or several branches, octopus included."""
        api = self._any(data)
        heads = api.branches()
        if branch in heads:
            picked = data.draw(st.lists(st.sampled_from(sorted(heads.values())), min_size=others, max_size=others))
            parents = list(dict.fromkeys([heads[branch], *picked]))
            api.commit(branch, "merge", hours_ago=hours, parents=parents)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), count=st.integers(0, 3))
    def rewrite(self, data: st.DataObject, branch: str, count: int) -> None:
        """Force-push: set a branch back, or rebase some work onto another one."""
        api = self._any(data)
        heads = api.branches()
        if branch in heads:
            self._remember()
            api.set(branch, data.draw(st.sampled_from(api.reachable(heads[branch], *heads.values()))))
            for _ in range(count):
                api.commit(branch, "rebased", hours_ago=1)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES[1:]))
    def delete(self, data: st.DataObject, branch: str) -> None:
        """Delete a branch; a later commit re-creates it."""
        self._remember()
        self._any(data).delete(branch)

    @rule(data=st.data())
    def collect_garbage(self, data: st.DataObject) -> None:
        """What no branch reaches is gone for good."""
        self._remember()
        self._any(data).collect_garbage()

    @rule(data=st.data(), name=st.sampled_from(["v1", "v2"]))
    def tag(self, data: st.DataObject, name: str) -> None:
        """Tag a commit; tags keep commits alive and belong to no branch."""
        api = self._any(data)
        if heads := api.branches():
            api.git("tag", "--force", name, data.draw(st.sampled_from(sorted(heads.values()))))

    # --- administrators --------------------------------------------------------------------------------------

    @rule(slug=st.sampled_from(SLUGS))
    def create(self, slug: str) -> None:
        """Make a repository, empty at first."""
        if slug not in self.repositories:
            self._add(slug)

    @rule(slug=st.sampled_from(SLUGS))
    def recreate(self, slug: str) -> None:
        """Delete a repository and make another one under its name."""
        if slug in self.repositories:
            self._remember()
            shutil.rmtree(self.repositories.pop(slug).path)
            self._add(slug).commit("main", "another", hours_ago=1)

    @precondition(lambda self: len(self.repositories) > 1)
    @rule()
    def swap(self) -> None:
        """Two repositories change names."""
        one, other = sorted(self.repositories)[:2]
        a, b = self.repositories[one], self.repositories[other]
        aside = self.workspace.folder / "aside.git"
        shutil.move(a.path, aside)
        shutil.move(b.path, a.path)
        shutil.move(aside, b.path)
        a.path, b.path = b.path, a.path
        self.repositories[one], self.repositories[other] = b, a

    @rule(slug=st.sampled_from(SLUGS), name=st.sampled_from(SLUGS))
    def rename(self, slug: str, name: str) -> None:
        """Give a repository a name that nobody has, or has any more; `create` may take its old one."""
        if slug in self.repositories and name not in self.repositories:
            repository = self.repositories.pop(slug)
            target = self.workspace.repositories / f"{name}.git"
            shutil.move(repository.path, target)
            repository.path = target
            self.repositories[name] = repository

    @rule(slug=st.sampled_from(SLUGS))
    def fork(self, slug: str) -> None:
        """Copy a repository: its commits are in both."""
        if slug not in self.repositories and self.repositories:
            source = self.repositories[min(self.repositories)]
            target = self.workspace.repositories / f"{slug}.git"
            shutil.copytree(source.path, target)
            self.repositories[slug] = GitRepository(target)

    # --- the service -----------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(FAULTS))
    def break_something(self, fault: tuple[str, str]) -> None:
        """Switch a fault on."""
        if fault[0] == "rate-limit":
            self.workspace.sandbox.set_fault("rate-window", "0.5")
        self.workspace.sandbox.set_fault(*fault)

    @rule(fault=st.sampled_from(["drop", "duplicate", "reorder"]), count=st.integers(1, 3))
    def lose_deliveries(self, fault: str, count: int) -> None:
        """The next deliveries are lost, doubled, or come in another order."""
        self.workspace.sandbox.set_fault(fault, str(count))

    @rule()
    def mend(self) -> None:
        """Switch all faults off."""
        self._switch_off_faults()

    # --- us --------------------------------------------------------------------------------------------------

    @rule(
        hours=st.sampled_from(WINDOWS),
        branches=st.sampled_from([["*"], ["*"], ["main"], ["release/*", "main"]]),
        full=st.booleans(),
        files=st.sampled_from(["auto", "api", "git", "none"]),
    )
    def scan(self, hours: float, branches: list[str], full: bool, files: Any) -> None:
        """Scan; when the run says that it is complete, it is."""
        self._remember()
        quick = {"retry_seconds": 1, "sweep_hours": 0}
        run = self.workspace.scan(hours=hours, branches=branches, full=full, files=files, bitbucket=quick)
        assert run.status in ("complete", "partial", "failed")
        assert run.status == "complete" or run.problems
        if run.status == "complete":
            self._hold(run, branches)

    @rule()
    def repair(self) -> None:
        """Fetch what webhooks announced."""
        self.workspace.sandbox.flush(10)
        with Ingestor(self.workspace.settings(retry_seconds=1)) as ingestor:
            assert ingestor.repair("bitbucket").status in ("complete", "partial", "failed")

    @rule(data=st.data(), kind=st.sampled_from(["commits", "commits", "diffstat", "any"]), answers=st.integers(1, 6))
    def kill_at_answer(self, data: st.DataObject, kind: str, answers: int) -> None:
        """SIGKILL a real scan after the n-th HTTP answer of a kind, in the middle of a walk more often than not."""
        self._push_a_lot(data)
        left = [answers]
        hours = data.draw(st.sampled_from(WINDOWS))
        command = [RC, "ingest", "bitbucket-scan", "--config", self._settings_file(), "--hours", str(hours)]
        with self._process(command) as process:

            def count(served: Any) -> None:
                left[0] -= kind in ("any", served.kind)
                if left[0] == 0:
                    process.send_signal(signal.SIGKILL)

            self.workspace.sandbox.on_request(count)
            process.wait(60)
        self.workspace.sandbox.on_request(None)

    @rule(data=st.data(), transactions=st.integers(2, 14), statements=st.integers(1, 12))
    def kill_at_statement(self, data: st.DataObject, transactions: int, statements: int) -> None:
        """SIGKILL a real scan at a statement of its n-th transaction."""
        self._push_a_lot(data)
        hours = data.draw(st.sampled_from(WINDOWS))
        arguments = [self._settings_file(), str(transactions), str(statements), str(hours)]
        with self._process([sys.executable, "-c", KILLED_BY_SQL, *arguments]) as process:
            process.wait(60)

    def _push_a_lot(self, data: st.DataObject) -> None:
        """Push commits for several pages of a walk, back-dated or not."""
        api = self._any(data)
        branch = data.draw(st.sampled_from(sorted(api.branches()) or ["main"]))
        api.history(branch, [data.draw(ages)] * data.draw(st.integers(0, 16)) or [1.0], message="RC-2 work {}")
        self._remember()

    # --- the oracle ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """With every fault off, one full scan makes the database equal to git."""
        self._switch_off_faults()
        self.workspace.sandbox.flush(10)
        # A repairer that is at work would make the scan's repositories busy, and say so rightly.
        self._receiver.close()
        self._remember()
        run = self.workspace.scan(full=True, branches=["*"], bitbucket={"sweep_hours": 0})
        assert run.status == "complete", run.problems
        assert {report.history for report in run.repositories} <= {"complete"}
        self._hold(run, ["*"])
        stored = self.workspace.stored()
        reachable = {sha for api in self.repositories.values() for sha in api.reachable(*api.branches().values())}
        assert reachable <= stored <= self.ever
        assert self.kept <= stored
        self._hold_heads(run)
        self._hold_files(reachable)
        self._hold_runs()

    def _hold(self, run: Any, branches: list[str]) -> None:
        """All that selected branches reach is stored, or lies behind a boundary that is reported."""
        for report in run.repositories:
            stored = self._linked(report.uuid)
            api = self.repositories[report.name.removeprefix("acme/")]
            heads = [sha for branch, sha in api.branches().items() if any(fnmatchcase(branch, b) for b in branches)]
            reachable = set(api.reachable(*heads))
            missing = reachable - stored
            if missing:
                assert report.history == "bounded"
                assert missing <= self._behind_boundaries(api, report.uuid)
            self.kept |= reachable & stored

    def _linked(self, uuid: str) -> set[str]:
        """Return the commits that one repository is known to have."""
        rows = self.workspace.rows(
            "SELECT b.sha FROM commit_branches b JOIN repositories r ON r.id = b.repository_id "
            f"JOIN commits c ON c.sha = b.sha WHERE r.uuid = '{uuid}'"
        )
        return {sha for (sha,) in rows}

    def _behind_boundaries(self, api: GitRepository, uuid: str) -> set[str]:
        rows = self.workspace.rows(
            f"SELECT b.sha FROM boundaries b JOIN repositories r ON r.id = b.repository_id WHERE r.uuid = '{uuid}'"
        )
        there = api.git("cat-file", "--batch-check=%(objectname) %(objecttype)", given=_lines(sha for (sha,) in rows))
        known = [line.split()[0] for line in there.splitlines() if line.endswith(" commit")]
        return set(api.reachable(*known))

    def _hold_heads(self, run: Any) -> None:
        # By uuid: a repository that was deleted keeps its name, and another one may have it by now.
        for report in run.repositories:
            rows = self.workspace.rows(
                "SELECT h.branch, h.sha FROM heads h JOIN repositories r ON r.id = h.repository_id "
                f"WHERE h.deleted_at IS NULL AND r.uuid = '{report.uuid}'"
            )
            assert dict(rows) == self.repositories[report.name.removeprefix("acme/")].branches()

    def _hold_files(self, shas: set[str]) -> None:
        statuses = dict(self.workspace.rows("SELECT sha, files_status FROM commits"))
        for api in self.repositories.values():
            for sha in shas & set(api.reachable(*api.branches().values())):
                assert statuses[sha] == "known"
                assert self.workspace.files(sha) == api.files(sha)

    def _hold_runs(self) -> None:
        assert self.workspace.rows("SELECT count(*) FROM runs WHERE status = 'running'") == [(0,)]
        assert self.workspace.rows("PRAGMA foreign_key_check") == []
        for path in (self.workspace.folder / "artifacts").glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        assert list((self.workspace.folder / "artifacts").glob(".*.part")) == []

    # --- helpers ---------------------------------------------------------------------------------------------

    def _switch_off_faults(self) -> None:
        self.workspace.sandbox.clear_faults()
        # Pages of a hundred would be the only ones of any history that is made here: walks must be cut in the middle.
        self.workspace.sandbox.set_fault("short-pages@commits", "3")

    def _add(self, slug: str) -> GitRepository:
        self.repositories[slug] = self.workspace.add(slug)
        return self.repositories[slug]

    def _any(self, data: st.DataObject) -> GitRepository:
        return self.repositories[data.draw(st.sampled_from(sorted(self.repositories)))]

    def _remember(self) -> None:
        for api in self.repositories.values():
            self.ever |= set(api.git("rev-list", "--all", "--reflog").split())

    def _settings_file(self) -> str:
        file = self.workspace.folder / "settings.json"
        settings = self.workspace.settings(retry_seconds=1, sweep_hours=0)
        names = ("bitbucket", "database", "artifacts", "logs")
        file.write_text(json.dumps({name: settings.raw(name) for name in names}))
        return str(file)

    @contextlib.contextmanager
    def _process(self, command: list[Any]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            _, told = process.communicate()
            assert b"Traceback" not in told, told.decode()
