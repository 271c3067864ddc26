"""What must be true, for the state machine: git and the service are asked, and the database is held to their answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import event
from machine_stage import TITLES, Opened, Stage, same, within
from workspaces import GitRepository, Told

STATES = ["OPEN", "MERGED", "DECLINED", "SUPERSEDED"]


class Oracle(Stage):
    """Holds the database to git after each scan that says it is complete, and all of it in the end."""

    def hold_scanned(self, run: Any, branches: list[str]) -> None:
        """All that selected branches reach is stored, or lies behind a boundary that is reported."""
        for report in run.repositories:
            stored = self._linked(report.uuid)
            api = self._served()[report.uuid]
            heads = [sha for branch, sha in api.branches().items() if any(fnmatchcase(branch, b) for b in branches)]
            reachable = set(api.reachable(*heads))
            if missing := reachable - stored:
                same(report.history, "bounded")
                within(missing, self._behind_boundaries(report))
            self.kept |= reachable & stored

    def announced(self) -> set[tuple[str, str]]:
        """Return (uuid, branch) of what deliveries announced and nobody has fetched yet."""
        sql = "SELECT r.uuid, s.branch FROM stale_branches s JOIN repositories r ON r.id = s.repository_id"
        return set(self.workspace.rows(sql))

    def hold_repaired(self, run: Any, announced: set[tuple[str, str]]) -> None:
        """A complete repair has fetched what was announced: the branches with all behind them, and the pull requests."""
        for table in ("stale_branches", "stale_pull_requests"):
            same(self.workspace.rows(f"SELECT * FROM {table}"), [])
        for report in run.repositories:
            if (api := self._served().get(report.uuid)) is None:
                continue  # deleted since it was announced: there is nothing left to be had
            tips = {branch: sha for branch, sha in api.branches().items() if (report.uuid, branch) in announced}
            within(tips.items(), self._heads(report.uuid).items())
            within(set(api.reachable(*tips.values())) - self._linked(report.uuid), self._behind_boundaries(report))

    def settle(self) -> None:
        """With every fault off, one full scan makes the database equal to git."""
        self.mend_all()
        self.flush()
        # A repairer that is at work would make the scan's repositories busy, and say so rightly.
        self.receiver.close()
        self.hold_deliveries()
        self.remember()
        run = self.workspace.scan(full=True, branches=["*"], bitbucket={"sweep_hours": 0})
        assert run.status == "complete", run.problems
        same({report.name: report.history for report in run.repositories},
             {f"acme/{slug}": "complete" for slug in self.repositories})  # fmt: skip
        self.hold_scanned(run, ["*"])
        told: dict[str, Told] = {}
        for report in run.repositories:
            api = self._served()[report.uuid]
            here = api.told(api.branches().values())
            told |= here
            within(set(here), self._linked(report.uuid))
            same(self._heads(report.uuid), api.branches())
            self._hold_requests(report.uuid, api)
        self._hold_commits(told)
        self._hold_files(told)
        self._hold_keys(told)
        self._hold_runs()

    # --- commits ---------------------------------------------------------------------------------------------

    def _served(self) -> dict[str, GitRepository]:
        # By uuid: a repair goes by the name that was last heard of.
        return {served.uuid: self.repositories[served.slug] for served in self.workspace.sandbox.repositories}

    def _linked(self, uuid: str) -> set[str]:
        """Return the commits that one repository is known to have on its branches."""
        rows = self.workspace.rows(
            "SELECT b.sha FROM commit_branches b JOIN repositories r ON r.id = b.repository_id "
            f"JOIN commits c ON c.sha = b.sha WHERE r.uuid = '{uuid}'"
        )
        return {sha for (sha,) in rows}

    def _behind_boundaries(self, report: Any) -> set[str]:
        """Return what lies behind a repository's boundaries, also behind those that are gone by now: `--full` finds it."""
        rows = self.workspace.rows(
            "SELECT b.sha FROM boundaries b JOIN repositories r ON r.id = b.repository_id "
            f"WHERE r.uuid = '{report.uuid}'"
        )
        return self.ancestors(sha for (sha,) in rows)

    def _heads(self, uuid: str) -> dict[str, str]:
        # By uuid: a repository that was deleted keeps its name, and another one may have it by now.
        rows = self.workspace.rows(
            "SELECT h.branch, h.sha FROM heads h JOIN repositories r ON r.id = h.repository_id "
            f"WHERE h.deleted_at IS NULL AND r.uuid = '{uuid}'"
        )
        return dict(rows)

    def _hold_commits(self, told: dict[str, Told]) -> None:
        """Nothing is missing, nothing made up, nothing lost again, and nothing without a place where it was seen."""
        stored = self.workspace.stored()
        within(told.keys(), stored)
        within(stored, self.ever.keys())
        within(self.kept, stored)
        same({sha for (sha,) in self.workspace.rows("SELECT hash FROM commit_summary")}, stored)
        on_branches = {sha for (sha,) in self.workspace.rows("SELECT sha FROM commit_branches")}
        if stored - on_branches:
            event("commits that only pull requests showed")
        in_requests = {sha for (sha,) in self.workspace.rows("SELECT sha FROM commit_pull_requests")}
        within(stored - on_branches, in_requests)
        parents: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for sha, parent in self.workspace.rows("SELECT sha, parent FROM commit_parents ORDER BY sha, position"):
            parents[sha] += (parent,)
        for sha, date, message in self.workspace.rows("SELECT sha, date, message FROM commits"):
            same(parents[sha], self.ever[sha])
            if sha in told:
                same(date, f"{told[sha].date:%Y-%m-%dT%H:%M:%SZ}")
                same(message.rstrip("\n"), told[sha].message.rstrip("\n"))

    def _hold_files(self, told: dict[str, Told]) -> None:
        statuses = dict(self.workspace.rows("SELECT sha, files_status FROM commits"))
        files = self.workspace.all_files()
        for sha, commit in told.items():
            same((sha, statuses[sha]), (sha, "known"))
            same(files.get(sha, set()), commit.files)

    # --- pull requests and keys ------------------------------------------------------------------------------

    def _hold_requests(self, uuid: str, api: GitRepository) -> None:
        """Every pull request is known as the service tells it, with the commits that the service lists for it."""
        listed = {value["id"]: value for value in self._all_requests(api)}
        rows = self.workspace.rows(
            "SELECT p.id, p.title, p.state, p.source_branch, p.destination_branch, p.merge_commit FROM pull_requests p "
            f"JOIN repositories r ON r.id = p.repository_id WHERE r.uuid = '{uuid}'"
        )
        same({row[0] for row in rows}, listed.keys())
        for number, title, state, source, destination, merged in rows:
            value = listed[number]
            names = [value[end]["branch"]["name"] for end in ("source", "destination")]
            same((title, state, [source, destination]), (value["title"], value["state"], names))
            short = (value["merge_commit"] or {}).get("hash")
            same((merged or "")[:12], short or "")
            assert merged is None or len(merged) == 40 or self._whole(short) in self.gone, merged
        for request in (request for request in self.opened if request.repository is api):
            same(request.uuid, uuid)
            self._hold_request(request, self._whole(listed[request.number]["source"]["commit"]["hash"]))

    def _all_requests(self, api: GitRepository) -> list[Any]:
        values, page = [], 1
        while True:
            body = self.ask("GET", self.slug_of(api), state=STATES, pagelen=50, page=page).json()
            values += body["values"]
            page += 1
            if "next" not in body:
                return values

    def _whole(self, short: str) -> str:
        (sha,) = (sha for sha in self.ever if sha.startswith(short))
        return sha

    def _hold_request(self, request: Opened, head: str) -> None:
        """What its source has and no head of its destination had is linked; what none of them ever showed is not."""
        linked = self.linked_to(request)
        behind = [self.ancestors([sha]) for sha in request.destinations()]
        own = self.ancestors([head])
        # The service lists nothing at all while one of the two ends is gone.
        if not (own | set().union(*behind)) & self.gone:
            expected = own - set().union(*behind)
            within(expected, linked)
            if key := TITLES[request.titles[-1]]:
                within(expected, self.named_by_titles(key))
        heads = request.sources()
        shown = self.ancestors(heads)
        if not self._is_skewed(shown | set().union(*behind)):
            shown -= set.intersection(*behind)
        within(linked, shown | set(heads))

    def _is_skewed(self, shas: set[str]) -> bool:
        """Say whether a child is older than its parent: `git rev-list` may show what it was to leave out then."""
        return any(self.dates[sha] < self.dates[parent] for sha in shas for parent in self.ever[sha])

    def _hold_keys(self, told: dict[str, Told]) -> None:
        """Messages give their keys; titles give theirs to the commits of their pull requests, and to no others."""
        rows = self.workspace.rows("SELECT sha, story_key, origin FROM commit_story_keys")
        for sha, commit in told.items():
            keys = set(re.findall(r"\bRC-[0-9]", commit.message))
            same({found for other, found, origin in rows if other == sha and origin == "message"}, keys)
        linked = defaultdict(set)
        for uuid, number, sha in self.workspace.rows(
            "SELECT r.uuid, l.pull_request, l.sha FROM commit_pull_requests l JOIN repositories r ON r.id = l.repository_id"
        ):
            linked[sha].add((uuid, number))
        named = {(request.uuid, request.number): {TITLES[title] for title in request.titles} for request in self.opened}
        for sha, key, origin in rows:
            if origin == "pr_title":
                assert any(key in named[request] for request in linked[sha]), (sha, key, linked[sha], named)

    # --- deliveries and runs ---------------------------------------------------------------------------------

    def hold_deliveries(self) -> None:
        """Whatever was answered 202 is in the database, with the commits that it carried."""
        accepted = [
            delivery.body
            for delivery in self.workspace.sandbox.deliveries
            if any(attempt.status == 202 for attempt in delivery.attempts)
        ]
        if accepted:
            kept = dict(self.workspace.rows("SELECT body_sha256, status FROM deliveries"))
            stored = self.workspace.stored()
            for body in accepted:
                status = kept.get(hashlib.sha256(body).hexdigest(), "lost")
                assert status in ("stored", "ignored"), (status, body)
                changes = json.loads(body).get("push", {}).get("changes", [])
                carried = {commit["hash"] for change in changes for commit in change.get("commits") or []
                           if (change["new"] or change["old"])["type"] == "branch"}  # fmt: skip
                within(carried, stored)

    def _hold_runs(self) -> None:
        same(self.workspace.rows("SELECT run_id FROM runs WHERE status = 'running'"), [])
        same(self.workspace.rows("PRAGMA foreign_key_check"), [])
        same(self.workspace.rows("PRAGMA quick_check"), [("ok",)])
        for path in (self.workspace.folder / "artifacts").glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        same(list((self.workspace.folder / "artifacts").glob(".*.part")), [])
