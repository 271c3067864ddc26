"""A person who pushes for a week, from a work clone over smart HTTP; and what is in a database afterwards."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from releasecopilot_core import Ingestor

SECRET = "first-s3cret"
TOKEN = "s3cret-token"
AUTH = ("bot@acme.example", TOKEN)
NOW = datetime.now(UTC).replace(microsecond=0)


class Developer:
    """A person's work clone, which pushes over the sandbox's smart HTTP."""

    def __init__(self, workspace: Any, folder: Path, slug: str = "api") -> None:
        self.workspace = workspace
        self.folder = folder
        self.served = workspace.add(slug)
        self.api = f"{workspace.sandbox.url}/repositories/acme/{slug}"
        self.pushed: set[str] = set()
        self.reached: set[tuple[str, str, str]] = set()
        self._count = 0
        place = workspace.sandbox.git_url.removeprefix("http://")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Ann Lee", "GIT_AUTHOR_EMAIL": "ann@acme.example",
            "GIT_COMMITTER_NAME": "Bo", "GIT_COMMITTER_EMAIL": "bo@acme.example",
        }  # fmt: skip
        self._git("init", "-q", "--initial-branch=main", str(folder), inside=False)
        self._git("remote", "add", "origin", f"http://x-bitbucket-api-token-auth:{TOKEN}@{place}/acme/{slug}.git")

    def commit(self, *messages: str) -> str:
        """Commit once for each message, some files each time; returns the last sha."""
        for message in messages:
            self._count += 1
            name = ("a.txt", "b/ü.txt", "c d.txt")[self._count % 3]
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(f"{self._count}\n" * 5)
            self._git("add", "--all")
            self._git("commit", "-q", "-m", message)
        return self.sha("HEAD")

    def git(self, *arguments: str) -> str:
        """Run a git command in the work tree, as it is typed."""
        return self._git(*arguments)

    def push(self, *arguments: str) -> None:
        """Push, and have it delivered before anything else happens."""
        self._git("push", "-q", "origin", *arguments)
        self.told()

    def told(self) -> None:
        """Wait until it is delivered, and remember what there is now."""
        self.workspace.sandbox.flush(20)
        for branch, head in self.served.branches().items():
            shas = self.served.reachable(head)
            self.pushed.update(shas)
            self.reached.update((sha, f"acme/{self.served.path.stem}", branch) for sha in shas)

    def sha(self, name: str) -> str:
        return self._git("rev-parse", f"{name}^{{commit}}").strip()

    def _git(self, *arguments: str, inside: bool = True) -> str:
        moment = f"{NOW - timedelta(hours=5) + timedelta(minutes=self._count):%Y-%m-%dT%H:%M:%S}+0000"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        command = ["git", *(["-C", str(self.folder)] if inside else []), *arguments]
        done = subprocess.run(command, env=self._environment | dates, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def story(ann: Developer) -> Iterator[None]:
    """What happens to a repository in a week, a push a step."""
    many = [f"RC-{n} step" for n in range(11, 20)]
    ann.commit("RC-1 begin", "MOB-1 more")
    yield ann.push("main")
    ann.commit(*many)  # more than a body carries
    yield ann.push("main")
    ann.git("switch", "-q", "-c", "feature/RC-9_taxes")
    ann.commit("round", "MOB-2 round again")
    yield ann.push("HEAD")
    ann.commit(*[f"taxes {n}" for n in range(7)])
    yield ann.push("HEAD")
    ann.git("reset", "-q", "--hard", "HEAD~4")
    ann.commit(*[f"other taxes {n}" for n in range(6)])
    yield ann.push("--force", "HEAD")
    ann.git("switch", "-q", "-c", "bugfix/RC-4", "main")
    ann.commit(*[f"try {n}" for n in range(8)])
    yield ann.push("HEAD")  # gone before anybody fetched what its delivery lacked
    yield ann.push("--delete", "bugfix/RC-4")
    ann.git("tag", "v1", "main")
    ann.git("tag", "-a", "-m", "RC-77 release", "v2", "main")
    yield ann.push("v1", "v2")
    ann.git("switch", "-q", "main")
    ann.git("branch", "release/1.0")
    ann.commit("RC-20 after the release")
    yield ann.push("main", "release/1.0", "v1:refs/tags/v3")
    ann.git("merge", "-q", "-X", "theirs", "--no-ff", "-m", "Merge taxes", "feature/RC-9_taxes")
    yield ann.push("main", ":feature/RC-9_taxes")
    ann.git("branch", "-m", "release/1.0", "release/MOB-8")
    yield ann.push("release/MOB-8", ":release/1.0")
    ann.git("switch", "-q", "--orphan", "gh-pages")
    ann.commit(*[f"DOC-{n} page" for n in range(1, 8)])
    yield ann.push("HEAD")


def pull_requests(ann: Developer) -> Iterator[None]:
    """One is opened, renamed, pushed to, merged and its branch closed; another is declined."""
    ann.git("switch", "-q", "-c", "work", "main")
    ann.commit(*[f"work {n}" for n in range(6)])
    yield ann.push("work")
    ann.git("switch", "-q", "-c", "idea")
    ann.commit("an idea")
    yield ann.push("idea")
    one = asked(ann, "POST", title="RC-30 Work", source={"branch": {"name": "work"}})["id"]
    other = asked(ann, "POST", title="RC-31 Idea", source={"branch": {"name": "idea"}})["id"]
    yield
    asked(ann, "PUT", f"/{one}", title="RC-32 Work")
    yield
    ann.git("switch", "-q", "work")
    ann.commit("MOB-33 more work")
    yield ann.push("work")
    asked(ann, "POST", f"/{other}/decline")
    asked(ann, "POST", f"/{one}/merge", close_source_branch=True)
    yield


def asked(ann: Developer, method: str, address: str = "", **body: Any) -> dict[str, Any]:
    answer = httpx.request(method, f"{ann.api}/pullrequests{address}", json=body, auth=AUTH)
    assert answer.status_code < 300, answer.text
    ann.told()
    return dict(answer.json())


# --- what is in the database ---------------------------------------------------------------------------------

#: Everything but ids, times of sightings and how something was seen.
CONTENT = {
    "commits": "SELECT sha, author, author_name, author_email, date, message, files_status FROM commits",
    "parents": "SELECT sha, position, parent FROM commit_parents",
    "files": "SELECT sha, path, status, old_path, lines_added, lines_removed FROM commit_files",
    "branches": "SELECT DISTINCT sha, full_name, branch FROM commit_branches JOIN repositories r ON r.id = repository_id",
    "pull requests of commits": "SELECT sha, pull_request FROM commit_pull_requests",
    "pull requests": "SELECT id, title, state, author, source_branch, destination_branch, merge_commit, updated_on "
    "FROM pull_requests",
    "stories": "SELECT sha, story_key, origin FROM commit_story_keys",
    "heads": "SELECT branch, sha, deleted_at IS NULL FROM heads",
    "repositories": "SELECT uuid, full_name, main_branch FROM repositories",
    "unfinished": "SELECT branch FROM stale_branches UNION ALL SELECT branch FROM walks "
    "UNION ALL SELECT pull_request FROM stale_pull_requests UNION ALL SELECT sha FROM commits WHERE files_status = 'owed'",
}


def content(file: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Return what a database holds, by the names of `CONTENT`."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        return {name: set(db.execute(sql)) for name, sql in CONTENT.items()}


def subscribe(workspace: Any, url: str) -> None:
    """Have the sandbox deliver everything to an address."""
    events = ["repo:push", *(f"pullrequest:{what}" for what in ("created", "updated", "fulfilled", "rejected"))]
    hook = {"description": "", "url": url, "active": True, "secret": SECRET, "events": events}
    answer = httpx.post(f"{workspace.sandbox.url}/workspaces/acme/hooks", json=hook, auth=AUTH)
    assert answer.status_code == 201, answer.text


def scan(workspace: Any, file: Path | None = None) -> None:
    """Scan into the database of the workspace, or into another one."""
    with Ingestor(workspace.settings(sweep_hours=0), database=file) as ingestor:
        run = ingestor.scan("bitbucket", hours=200)
        assert (run.status, run.problems) == ("complete", ())
