"""Ask git about one repository. Everything the sandbox tells comes from here."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

# Nobody's configuration may change what we answer, and a server started from a git hook must not answer for its repository.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}
# Repositories of other users are served as well, and a path is a path, whatever characters it has. Of a repository that
# is not bare, git takes the folder that we were started in for the work tree, and believes its .gitattributes; one of
# the two ways to say "bare" is not enough where the repository's own settings deny it.
_OPTIONS = (
    "--bare", "-c", "core.bare=true", "-c", "safe.directory=*", "-c", "core.quotePath=false",
    "-c", f"core.attributesFile={os.devnull}", "--literal-pathspecs",
)  # fmt: skip
_COMMIT_FIELDS = "%H%x00%P%x00%ct%x00%an%x00%ae%x00%B"
_REF_FIELDS = "%(refname)%00%(objectname)%00%(*objectname)%00%(objecttype)%00%(*objecttype)"
_TAG_FIELDS = "%00%(taggername)%00%(taggeremail:trim)%00%(taggerdate:unix)%00%(contents)"
_END = "\0\1\n"  # no message holds a NUL
_COMMITS_KEPT = 5_000
_LISTINGS_KEPT = 16


class GitError(Exception):
    """Git refused; the text is its own, and `code` its exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@attrs.frozen
class GitCommit:
    """A commit as git tells it; `date` is the committer's, in UTC."""

    sha: str
    parents: tuple[str, ...]
    date: datetime
    name: str
    email: str
    message: str


@attrs.frozen
class Tag:
    """What an annotated tag says about itself."""

    name: str
    email: str
    date: datetime
    message: str


@attrs.frozen
class Ref:
    """A branch or tag and the commit that it points to; `tag` for annotated tags."""

    name: str
    kind: str
    sha: str
    tag: Tag | None = None


@attrs.frozen
class Change:
    """One path of a diff; line counts are 0 for binary files."""

    status: str
    old_path: str | None
    new_path: str | None
    added: int
    removed: int


@attrs.frozen
class Selection:
    """What a listing is of: full shas, so that it is the same for ever."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    path: str | None = None
    order: str = "topo-order"


class Git:
    """One repository's git. Thread-safe: each question is a process of its own; what cannot change is remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._commits: dict[str, GitCommit] = {}
        self._listings: OrderedDict[Selection, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, *arguments: str, given: str | None = None, variables: Mapping[str, str] | None = None) -> str:
        """Return what a git command prints; bytes that are not UTF-8 are replaced.

        `given` is what it reads, `variables` are for its environment.

        Raises:
            GitError: it failed.
        """
        return self._bytes(*arguments, given=given, variables=variables).decode("utf-8", "replace")

    def _bytes(self, *arguments: str, given: str | None = None, variables: Mapping[str, str] | None = None) -> bytes:
        done = subprocess.run(
            ["git", *_OPTIONS, f"--git-dir={self.folder}", *arguments],
            input=None if given is None else given.encode("utf-8", "replace"),
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            env={**ENVIRONMENT, **(variables or {})},
            check=False,
        )
        if done.returncode:
            raise GitError(done.stderr.decode("utf-8", "replace").strip(), done.returncode)
        return done.stdout

    # --- refs ------------------------------------------------------------------------------------------------

    def refs(self, *kinds: str) -> list[Ref]:
        """Return branches (`heads`) and tags (`tags`) that point to commits, by name."""
        form = _REF_FIELDS + (_TAG_FIELDS if "tags" in kinds else "\0\0\0\0".replace("\0", "%00")) + "%00%01"
        text = self.run("for-each-ref", f"--format={form}", *(f"refs/{kind}" for kind in kinds))
        records = [record.split("\0") for record in text.split(_END)[:-1]]
        # git before 2.45 peels a tag once; a tag of a tag is followed to its end here.
        nested = self.resolve([sha for _, sha, _, _, peeled_kind, *_ in records if peeled_kind == "tag"])
        return [ref for record in records if (ref := _ref(record, nested))]

    def resolve(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return name -> sha of branches, tags, shas and their beginnings; `None` for what does not exist."""
        if not names:
            return {}
        given = "".join(f"{_peeled(name)}\n" for name in names)
        answers = self.run("cat-file", "--batch-check=%(objectname) %(objecttype)", given=given).split("\n")[:-1]
        return {
            name: answer.split()[0] if answer.endswith(" commit") else None
            for name, answer in zip(names, answers, strict=True)
        }

    def heads(self) -> dict[str, str]:
        """Return branch -> sha."""
        return {ref.name: ref.sha for ref in self.refs("heads")}

    def checked_out(self) -> set[str]:
        """Return the branches that somebody has in a work tree, here or beside."""
        # Asked without the options that make every repository a bare one.
        command = ["git", "-c", "safe.directory=*", f"--git-dir={self.folder}", "worktree", "list", "--porcelain"]
        done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=False)
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        return {line.removeprefix("branch refs/heads/") for line in lines if line.startswith("branch ")}

    # --- commits ---------------------------------------------------------------------------------------------

    def listing(self, selection: Selection, start: int, count: int) -> tuple[list[str], bool]:
        """Return `count` shas of a selection, children before parents, and whether there are more behind them.

        git lists all of them once; what it printed is kept as it is, so that a page costs a slice and no list is made
        of a long history.
        """
        printed = self._printed(selection)
        width = printed.find(b"\n") + 1
        page = printed[start * width : (start + count) * width].decode().split()
        return page, (start + count) * width < len(printed)

    def _printed(self, selection: Selection) -> bytes:
        with self._lock:
            if selection in self._listings:
                self._listings.move_to_end(selection)
                return self._listings[selection]
        given = "".join([*(f"{sha}\n" for sha in selection.include), *(f"^{sha}\n" for sha in selection.exclude)])
        paths = ["--", selection.path] if selection.path else []
        printed = b""
        if selection.include:
            printed = self._bytes("rev-list", f"--{selection.order}", "--stdin", *paths, given=given)
        with self._lock:
            self._listings[selection] = printed
            while len(self._listings) > _LISTINGS_KEPT:
                self._listings.popitem(last=False)
        return printed

    def newest(self, include: str, exclude: str | None, count: int) -> list[str]:
        """Return the first shas of a listing; an `exclude` that is gone excludes nothing."""
        given = f"{include}\n" + (f"^{exclude}\n" if exclude and self.resolve([exclude])[exclude] else "")
        return self.run("rev-list", "--topo-order", f"--max-count={count}", "--stdin", given=given).split()

    def contains(self, sha: str, ancestor: str) -> bool:
        """Return whether a commit is in the history of another; one that is gone is in none."""
        try:
            self.run("merge-base", "--is-ancestor", ancestor, sha)
        except GitError:
            return False
        return True

    def commits(self, shas: Sequence[str]) -> list[GitCommit]:
        """Return these commits, in this order.

        Raises:
            GitError: one of them is gone.
        """
        with self._lock:
            found = {sha: commit for sha in shas if (commit := self._commits.get(sha))}
        missing = [sha for sha in dict.fromkeys(shas) if sha not in found]
        if missing:
            options = ("--no-walk=unsorted", "-z", "--encoding=UTF-8", f"--format={_COMMIT_FIELDS}", "--stdin")
            text = self.run("log", *options, given="".join(f"{sha}\n" for sha in missing))
            new = {commit.sha: commit for commit in _commits(text)}
            found.update(new)
            with self._lock:
                if len(self._commits) > _COMMITS_KEPT:
                    self._commits.clear()
                self._commits.update(new)
        return [found[sha] for sha in shas]

    def commit(self, sha: str) -> GitCommit:
        """Return one commit."""
        return self.commits([sha])[0]

    # --- differences -----------------------------------------------------------------------------------------

    def changes(
        self, base: str, sha: str, *, renames: bool = True, whitespace: bool = True, paths: Sequence[str] = ()
    ) -> list[Change]:
        """Return what `sha` changed against `base`, by path."""
        options = ["-M" if renames else "--no-renames", *([] if whitespace else ["-w"])]
        text = self.run("diff-tree", "-r", "-z", "--raw", "--numstat", "--no-ext-diff", "--no-textconv", *options,
                        base, sha, "--", *paths)  # fmt: skip
        return list(_changes(text))

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor, `None` for unrelated histories."""
        try:
            return self.run("merge-base", one, other).strip() or None
        except GitError:
            return None


def _peeled(name: str) -> str:
    # A name that git would read as an expression is nobody's ref.
    odd = any(sign in name for sign in "^~:?*[\\\n") or "@{" in name or ".." in name or name.startswith("-")
    return "odd-name-that-is-no-ref" if odd or not name else f"{name}^{{commit}}"


def _ref(record: Sequence[str], nested: Mapping[str, str | None]) -> Ref | None:
    name, sha, peeled, kind, peeled_kind, tagger, email, seconds, message = record
    target = nested.get(sha) if peeled_kind == "tag" else (peeled or sha)
    if target is None or ("commit" not in (kind, peeled_kind) and peeled_kind != "tag"):
        return None  # somebody tagged a file
    _, group, short = name.split("/", 2)
    tag = None
    if kind == "tag":
        tag = Tag(tagger, email, _moment(seconds), message)
    return Ref(short, "branch" if group == "heads" else "tag", target, tag)


def _commits(text: str) -> Iterator[GitCommit]:
    fields = text.split("\0")
    # Six fields a commit; -z ends each message with one more NUL.
    for start in range(0, len(fields) - 5, 6):
        sha, parents, seconds, name, email, message = fields[start : start + 6]
        yield GitCommit(sha, tuple(parents.split()), _moment(seconds), name, email, message)


def _moment(seconds: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        # Broken tools write dates that are none; the commit is served all the same.
        return datetime.fromtimestamp(0, UTC)


def _changes(text: str) -> Iterable[Change]:
    """Read `--raw --numstat -z`: first a status for each path, then its line counts."""
    tokens = iter(text.split("\0"))
    kinds: dict[str, str] = {}
    statuses = {"A": "added", "D": "removed", "R": "renamed"}
    for token in tokens:
        if token.startswith(":"):
            letter = token.rsplit(" ", 1)[1][0]
            path = next(tokens)
            if letter == "R":
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
                0 if added == "-" else int(added),
                0 if removed == "-" else int(removed),
            )
