"""Ask git about one repository. Everything the sandbox tells comes from here."""

from __future__ import annotations

import os
import subprocess
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

# Nobody's configuration may change what we answer, and repositories of other users are served as well.
_ENVIRONMENT = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
_COMMIT_FIELDS = "%H%x00%P%x00%ct%x00%an%x00%ae%x00%B"
_KEPT = 5_000


class GitError(Exception):
    """Git refused; the text is its own."""


@attrs.frozen
class GitCommit:
    """A commit as git tells it; `date` is the committer's, which is the one that Bitbucket shows."""

    sha: str
    parents: tuple[str, ...]
    date: datetime
    name: str
    email: str
    message: str


@attrs.frozen
class Ref:
    """A branch or tag and the commit that it points to; `tag_object` for annotated tags."""

    name: str
    kind: str
    sha: str


@attrs.frozen
class Change:
    """One path of a diff; line counts are 0 for binary files, as Bitbucket counts them."""

    status: str
    old_path: str | None
    new_path: str | None
    added: int
    removed: int


@attrs.define
class GitRepository:
    """A git repository on this machine, bare or not; `slug` is its name in the workspace.

    Thread-safe: each question is a git process of its own, but for commits, which never change and are remembered.
    """

    path: Path
    slug: str
    _uuid: tuple[float, str] | None = None
    _commits: dict[str, GitCommit] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @classmethod
    def at(cls, path: Path) -> GitRepository | None:
        """Return the repository at a path, `None` if there is none."""
        for candidate in (path / ".git", path):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return cls(candidate, path.resolve().name.removesuffix(".git").lower())
        return None

    def git(self, *arguments: str, given: str | None = None) -> str:
        """Return what a git command prints.

        Raises:
            GitError: it failed.
        """
        command = ["git", "-c", "safe.directory=*", "-c", "core.quotePath=false", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(
            command,
            input=None if given is None else given.encode("utf-8", "surrogateescape"),
            capture_output=True,
            env=_ENVIRONMENT,
            check=False,
        )
        if done.returncode:
            raise GitError(done.stderr.decode("utf-8", "replace").strip())
        # Bitbucket answers in UTF-8; bytes that are none are replaced.
        return done.stdout.decode("utf-8", "replace")

    @property
    def uuid(self) -> str:
        """Return the lasting id, in braces: from `git config sandbox.uuid`, else from the folder itself.

        A renamed folder keeps it, as a renamed repository does.
        """
        changed = _changed(self.path / "config")
        if self._uuid is None or self._uuid[0] != changed:
            try:
                text = self.git("config", "--local", "sandbox.uuid").strip().strip("{}")
            except GitError:
                status = self.path.stat()
                text = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{status.st_dev}:{status.st_ino}"))
            self._uuid = (changed, f"{{{text}}}")
        return self._uuid[1]

    @property
    def updated_on(self) -> datetime:
        """Return when a ref last changed: the newest time of any file that holds refs."""
        newest = 0.0
        for name in ("HEAD", "packed-refs"):
            newest = max(newest, _changed(self.path / name))
        for folder, _, files in os.walk(self.path / "refs"):
            newest = max([newest, _changed(Path(folder)), *(_changed(Path(folder, file)) for file in files)])
        return datetime.fromtimestamp(newest, UTC)

    @property
    def main_branch(self) -> str | None:
        """Return the branch that HEAD names, `None` while the repository has no commits."""
        head = (self.path / "HEAD").read_text(encoding="utf-8", errors="replace").strip()
        name = head.removeprefix("ref: refs/heads/")
        if name != head and (
            (self.path / "refs/heads" / name).is_file() or self.resolve([f"refs/heads/{name}"])[f"refs/heads/{name}"]
        ):
            return name
        branches = self.refs("heads")
        return branches[0].name if branches else None

    def refs(self, *kinds: str) -> list[Ref]:
        """Return branches (`heads`) and tags (`tags`), by name, with the commits they point to."""
        form = "%(refname)%00%(objectname)%00%(*objectname)%00%(objecttype)%00%(*objecttype)"
        found = []
        for line in self.git("for-each-ref", f"--format={form}", *(f"refs/{kind}" for kind in kinds)).splitlines():
            name, sha, peeled, kind, peeled_kind = line.split("\0")
            if "commit" in (kind, peeled_kind):
                _, group, short = name.split("/", 2)
                found.append(Ref(short, "branch" if group == "heads" else "tag", peeled or sha))
        return found

    def resolve(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return name -> sha of branches, tags, shas and their beginnings; `None` for what does not exist."""
        if not names:
            return {}
        given = "".join(f"{_peeled(name)}\n" for name in names)
        answers = self.git("cat-file", "--batch-check=%(objectname) %(objecttype)", given=given).splitlines()
        return {
            name: answer.split()[0] if answer.endswith(" commit") else None
            for name, answer in zip(names, answers, strict=True)
        }

    def listing(self, include: Iterable[str], exclude: Iterable[str], *, order: str, path: str | None) -> list[str]:
        """Return shas reachable from `include` and not from `exclude`, children before parents."""
        given = "".join([*(f"{sha}\n" for sha in include), *(f"^{sha}\n" for sha in exclude)])
        paths = ["--", path] if path else []
        return self.git("rev-list", f"--{order}", "--stdin", *paths, given=given).split() if given else []

    def commits(self, shas: Sequence[str]) -> list[GitCommit]:
        """Return these commits, in this order."""
        missing = [sha for sha in dict.fromkeys(shas) if sha not in self._commits]
        if missing:
            given = "".join(f"{sha}\n" for sha in missing)
            text = self.git("log", "--no-walk=unsorted", "-z", "--encoding=UTF-8", f"--format={_COMMIT_FIELDS}", "--stdin",
                            given=given)  # fmt: skip
            with self._lock:
                if len(self._commits) > _KEPT:
                    self._commits.clear()
                self._commits.update((commit.sha, commit) for commit in _parsed(text))
        found = dict(self._commits)
        lost = [sha for sha in shas if sha not in found]
        if lost:  # another thread has just cleared them
            return self.commits(shas)
        return [found[sha] for sha in shas]

    def changes(self, base: str, sha: str, *, renames: bool, paths: Sequence[str]) -> list[Change]:
        """Return what `sha` changed against `base`, by path."""
        options = ["-M"] if renames else ["--no-renames"]
        text = self.git("diff-tree", "-r", "-z", "--raw", "--numstat", *options, base, sha, "--", *paths)
        return list(_changes(text))

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor, `None` for unrelated histories."""
        try:
            return self.git("merge-base", one, other).strip() or None
        except GitError:
            return None


def _peeled(name: str) -> str:
    # A name that git would read as an expression is nobody's ref.
    odd = any(sign in name for sign in "^~:?*[\\\n") or "@{" in name or ".." in name or name.startswith("-")
    return "odd-name-that-is-no-ref" if odd or not name else f"{name}^{{commit}}"


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _parsed(text: str) -> Iterable[GitCommit]:
    fields = text.split("\0")
    # Six fields a commit; -z ends each message with one more NUL.
    for start in range(0, len(fields) - 5, 6):
        sha, parents, seconds, name, email, message = fields[start : start + 6]
        moment = datetime.fromtimestamp(int(seconds), UTC)
        yield GitCommit(sha, tuple(parents.split()), moment, name, email, message)


def _changes(text: str) -> Iterable[Change]:
    tokens = iter(text.split("\0"))
    kinds: dict[str, str] = {}
    statuses: Mapping[str, str] = {"A": "added", "D": "removed", "R": "renamed", "C": "added"}
    for token in tokens:
        if token.startswith(":"):
            letter = token.rsplit(" ", 1)[1][0]
            path = next(tokens)
            if letter in "RC":
                path = next(tokens)
            kinds[path] = statuses.get(letter, "modified")
        elif token:
            added, removed, path = token.split("\t", 2)
            old: str | None = None
            if not path:
                old, path = next(tokens), next(tokens)
            status = kinds[path]
            yield Change(
                status,
                None if status == "added" else old or path,
                None if status == "removed" else path,
                int(added) if added != "-" else 0,
                int(removed) if removed != "-" else 0,
            )
