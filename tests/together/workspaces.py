"""Workspaces for tests: real git repositories, the sandbox over HTTP, and git as the oracle."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from releasecopilot_bitbucket_sandbox.server import Sandbox

from releasecopilot_core import Ingestor, Settings

_ENVIRONMENT = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Told(NamedTuple):
    """What git says about a commit; `files` are (status letter, path) against the first parent, renames apart."""

    parents: tuple[str, ...]
    date: datetime
    message: str
    files: frozenset[tuple[str, str]]


def document(run: Any) -> dict[str, Any]:
    """Return the artifact of a run."""
    return dict(json.loads(Path(run.artifact).read_text(encoding="utf-8")))


class GitRepository:
    """A bare repository that a test writes by `git fast-import`, and asks as the oracle.

    `tips` are all heads that each branch was given here, oldest first; for a copy, first those that it was made with.
    """

    def __init__(self, path: Path, now: datetime | None = None) -> None:
        self.path = path
        self._count = 0
        self._now = now or datetime.now(UTC)
        self.tips: defaultdict[str, list[str]] = defaultdict(list)
        if path.exists():
            self.note()
        else:
            command = ["git", "init", "-q", "--bare", "--initial-branch=main", str(path)]
            subprocess.run(command, check=True, env=_ENVIRONMENT)

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        command = ["git", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=True, env=_ENVIRONMENT)
        return done.stdout.decode("utf-8", "replace")

    def commit(
        self,
        branch: str = "main",
        message: str = "",
        *,
        hours_ago: float = 1.0,
        parents: list[str] | None = None,
        files: dict[str, str | None] | None = None,
        author: str = "Ann <ann@acme.example>",
    ) -> str:
        """Add a commit to a branch (or start one, with `parents`); returns its sha."""
        self._count += 1
        message = message or f"commit {self._count}"
        if parents is None:
            head = self.head(branch)
            parents = [head] if head else []
        stamp = f"{int((self._now - timedelta(hours=hours_ago)).timestamp())} +0000"
        text = message.encode()
        head = f"commit refs/heads/{branch}\nmark :1\ncommitter {author} {stamp}\ndata {len(text)}\n"
        lines = [head.encode(), text, b"\n"]
        lines += [f"{'merge' if n else 'from'} {sha}\n".encode() for n, sha in enumerate(parents)]
        for path, content in (files if files is not None else {f"f{self._count % 7}.txt": str(self._count)}).items():
            if content is None:
                lines.append(f"D {path}\n".encode())
            else:
                body = content.encode()
                lines += [f"M 100644 inline {path}\ndata {len(body)}\n".encode(), body, b"\n"]
        if not parents:
            # Otherwise the branch's former head would be the parent.
            self.delete(branch)
        lines.append(b"get-mark :1\n")
        sha = self.git("fast-import", "--quiet", "--force", given=b"".join(lines)).strip()
        self.tips[branch].append(sha)
        return sha

    def history(self, branch: str, hours_ago: list[float], *, message: str | list[str] = "RC-1 commit {}") -> list[str]:
        """Add a straight line of commits in one go, with a message each if there is a list; returns shas, oldest first."""
        parts = []
        head = self.head(branch)
        for number, hours in enumerate(hours_ago):
            text = (message.format(number) if isinstance(message, str) else message[number]).encode()
            stamp = f"{int((self._now - timedelta(hours=hours)).timestamp())} +0000"
            parts.append(
                f"commit refs/heads/{branch}\ncommitter Ann <ann@acme.example> {stamp}\ndata {len(text)}\n".encode()
            )
            parts += [text, b"\n"]
            if number == 0 and head:
                parts.append(f"from {head}\n".encode())
            body = str(number).encode()
            parts += [f"M 100644 inline f{number % 5}.txt\ndata {len(body)}\n".encode(), body, b"\n"]
        self.git("fast-import", "--quiet", "--force", given=b"".join(parts))
        shas = self.reachable(branch)[-len(hours_ago) :]
        self.tips[branch].append(shas[-1])
        return shas

    def rebase(self, branch: str, onto: str, *, hours_ago: float = 1.0) -> list[str]:
        """Replay a branch's own commits on another base: messages, authors and author dates stay, committer dates do not.

        Merges are left out, as `git rebase` does, and where both sides changed a file, the branch wins. Returns the new
        shas, oldest first.
        """
        form = "%x01%an <%ae> %at +0000%x00%B%x00"
        options = ("--reverse", "--topo-order", "--no-merges", "--no-renames", "--raw", "--no-abbrev")
        own = self.git("log", *options, f"--format={form}", f"{onto}..refs/heads/{branch}", "--").split("\1")[1:]
        stamp = f"{int((self._now - timedelta(hours=hours_ago)).timestamp())} +0000"
        parts = [f"reset refs/heads/{branch}\nfrom {onto}\n\n".encode()]
        for commit in own:
            author, message, changes = commit.split("\0")
            text = message.encode()
            head = f"author {author}\ncommitter Bo <bo@acme.example> {stamp}\ndata {len(text)}\n"
            parts += [f"commit refs/heads/{branch}\n{head}".encode(), text, b"\n"]
            for line in filter(None, changes.splitlines()):
                (_, mode, _, blob, status), path = line.split("\t")[0].split(), line.split("\t")[1]
                parts.append((f"D {path}\n" if status == "D" else f"M {mode} {blob} {path}\n").encode())
        self.git("fast-import", "--quiet", "--force", given=b"".join(parts))
        self.note()
        return self.reachable(f"{onto}..refs/heads/{branch}")

    def head(self, branch: str) -> str | None:
        found = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").split()
        return found[0] if found else None

    def branches(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)

    def note(self) -> None:
        """Add heads to `tips` that were moved by somebody else."""
        for branch, sha in self.branches().items():
            if self.tips[branch][-1:] != [sha]:
                self.tips[branch].append(sha)

    def set(self, branch: str, sha: str) -> None:
        self.git("update-ref", f"refs/heads/{branch}", sha)
        self.tips[branch].append(sha)

    def delete(self, branch: str) -> None:
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def collect_garbage(self) -> None:
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "--quiet", "--prune=now")

    def reachable(self, *revisions: str) -> list[str]:
        """Return what `git rev-list` reaches, oldest first."""
        return self.git("rev-list", "--reverse", "--topo-order", *revisions).split() if revisions else []

    def files(self, sha: str) -> set[tuple[str, str]]:
        """Return (status letter, path) of what a commit changed against its first parent, renames apart."""
        parents = self.git("rev-list", "--parents", "-n", "1", sha).split()[1:]
        base = parents[0] if parents else EMPTY_TREE
        tokens = self.git("diff-tree", "-r", "-z", "--no-renames", "--name-status", base, sha).split("\0")[:-1]
        return set(zip(tokens[::2], tokens[1::2], strict=True))

    def told(self, revisions: Iterable[str]) -> dict[str, Told]:
        """Return what `git log` and `git diff-tree` say about all that revisions reach, in one go."""
        given = "".join(f"{revision}\n" for revision in revisions).encode()
        if not given:
            return {}
        options = ("--diff-merges=first-parent", "--no-renames", "--name-status", "-z", "--stdin")
        found = {}
        for record in self.git("log", *options, "--format=%x01%H%x02%P%x02%ct%x02%B%x02", given=given).split("\1")[1:]:
            sha, parents, seconds, message, rest = record.split("\2")
            tokens = [token for part in rest.split("\0") if (token := part.lstrip("\n"))]
            files = frozenset(zip(tokens[::2], tokens[1::2], strict=True))
            found[sha] = Told(tuple(parents.split()), datetime.fromtimestamp(int(seconds), UTC), message, files)
        return found


class Workspace:
    """Repositories in one folder, served by a sandbox, and scanned into one database."""

    def __init__(self, folder: Path, now: datetime | None = None) -> None:
        self.folder = folder
        # One for all its repositories, and not one for all tests: in a long run, what is hours old would leave a window.
        self._now = now or datetime.now(UTC)
        self.repositories = folder / "repositories"
        self.repositories.mkdir(parents=True)
        self.sandbox = Sandbox(self.repositories, users={"bot@acme.example": "s3cret-token"})

    def add(self, slug: str) -> GitRepository:
        return GitRepository(self.repositories / f"{slug}.git", self._now)

    def workspace_repository(self, slug: str) -> GitRepository:
        """Return a repository that was added before."""
        return GitRepository(self.repositories / f"{slug}.git", self._now)

    def settings(self, **bitbucket: Any) -> Settings:
        section = {
            "workspace": "acme",
            "default_branches": ["*"],
            "credentials": {"username": "bot@acme.example", "api_token": "${SANDBOX_TOKEN}"},
            "api_url": self.sandbox.url,
            "retry_seconds": 5,
            "git_cache": str(self.folder / "clones"),
            **bitbucket,
        }
        return Settings({"bitbucket": section, "database": str(self.folder / "commits.db"),
                         "artifacts": str(self.folder / "artifacts"), "logs": str(self.folder / "logs")})  # fmt: skip

    def settings_file(self, **bitbucket: Any) -> Path:
        """Write these settings to a file, for processes."""
        file = self.folder / "settings.json"
        settings = self.settings(**bitbucket)
        names = ("bitbucket", "database", "artifacts", "logs")
        file.write_text(json.dumps({name: settings.raw(name) for name in names}), encoding="utf-8")
        return file

    def scan(self, *, bitbucket: dict[str, Any] | None = None, **request: Any) -> Any:
        with Ingestor(self.settings(**(bitbucket or {}))) as ingestor:
            return ingestor.scan("bitbucket", **request)

    def asked(self) -> Counter[str]:
        """Count the requests by kind, and forget them."""
        found = Counter(served.kind for served in self.sandbox.requests)
        self.sandbox.clear_requests()
        return found

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.folder / "commits.db")
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def stored(self) -> set[str]:
        return {sha for (sha,) in self.rows("SELECT sha FROM commits")}

    def files(self, sha: str) -> set[tuple[str, str]]:
        """Return stored files as git tells them without renames: a renamed path is one removed and one added."""
        return self._files(f"WHERE sha = '{sha}'").get(sha, set())

    def all_files(self) -> dict[str, set[tuple[str, str]]]:
        """Return the stored files of all commits that have any."""
        return self._files("")

    def _files(self, which: str) -> dict[str, set[tuple[str, str]]]:
        found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        letters = {"added": "A", "removed": "D", "modified": "M"}
        for sha, path, status, old in self.rows(f"SELECT sha, path, status, old_path FROM commit_files {which}"):
            found[sha] |= {("D", old), ("A", path)} if status == "renamed" else {(letters[status], path)}
        return dict(found)
