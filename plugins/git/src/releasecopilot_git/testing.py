"""For tests of what reads git: repositories with drawn histories, written by `git fast-import`, and git as the oracle.

Needs hypothesis.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from hypothesis import strategies as st

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
ANN = b"Ann <ann@acme.example>"

#: What a commit does to a path: a mode of git, or `None` to remove it.
FILE, EXECUTABLE, LINK, SUBMODULE = b"100644", b"100755", b"120000", b"160000"


@attrs.frozen
class Drawn:
    """A commit to be written; parents are places in the list of all."""

    parents: tuple[int, ...] = ()
    author: bytes = ANN
    written: int = 1_700_000_000
    committed: int = 1_700_000_000
    message: bytes = b"A change\n"
    encoding: bytes | None = None
    changes: Mapping[bytes, tuple[bytes | None, bytes]] = attrs.field(factory=dict)


class Repository:
    """A bare git repository that a test fills, and asks as the oracle; `options` are those of `git init`."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.seconds = 1_790_000_000
        command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", *options, str(path)]
        subprocess.run(command, check=True, env=ENVIRONMENT)

    def raw(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Return what a git command prints."""
        command = ["git", f"--git-dir={self.path}", *arguments]
        return subprocess.run(command, input=given, check=True, capture_output=True, env=ENVIRONMENT).stdout

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        """Return what a git command prints, as text."""
        return self.raw(*arguments, given=given).decode("utf-8", "replace")

    def write(self, commits: Sequence[Drawn], *, branches: Mapping[str, int] | None = None) -> list[str]:
        """Write commits, each a branch of its own unless `branches` says which are; returns their shas."""
        parts: list[bytes] = []
        for number, commit in enumerate(commits):
            parts += _streamed(number, commit)
        names = {f"c{number}": number for number in range(len(commits))} if branches is None else branches
        parts += [b"reset refs/heads/%s\nfrom :%d\n\n" % (name.encode(), number + 1) for name, number in names.items()]
        parts += [b"get-mark :%d\n" % (number + 1) for number in range(len(commits))]
        options = ("--quiet", "--force", "--date-format=raw", "--cat-blob-fd=1")
        shas = self.git("fast-import", *options, given=b"".join(parts)).split()
        for ref in self.git("for-each-ref", "--format=%(refname)", "refs/writing").split():
            self.git("update-ref", "-d", ref)
        return shas

    def commit(
        self,
        message: str = "A change\n",
        *,
        branch: str = "main",
        parents: Sequence[str] | None = None,
        files: Mapping[str, str] | None = None,
        seconds: int | None = None,
    ) -> str:
        """Add a commit to a branch and return its sha; `parents` default to the branch's head."""
        self.seconds += 60
        above = [self.head(branch)] if parents is None else list(parents)
        blobs = {**(files if files is not None else {f"f{self.seconds}.txt": "x"})}
        text = message.encode()
        stamp = self.seconds if seconds is None else seconds
        parts = [
            b"commit refs/writing/0\nmark :1\ncommitter %s %d +0000\ndata %d\n%s\n" % (ANN, stamp, len(text), text)
        ]
        parts += [f"{'merge' if n else 'from'} {sha}\n".encode() for n, sha in enumerate(filter(None, above))]
        for path, content in blobs.items():
            parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content.encode()))
        self.git("fast-import", "--quiet", "--force", given=b"".join(parts))
        sha = self.git("rev-parse", "refs/writing/0").strip()
        self.git("update-ref", "-d", "refs/writing/0")
        self.set(branch, sha)
        return sha

    def line(self, count: int, *, branch: str = "main", message: bytes = b"RC-%d A change\n") -> None:
        """Write a branch of so many commits, a minute apart, at once."""
        start = self.seconds
        self.seconds += 60 * count
        given = (
            b"commit refs/heads/%s\ncommitter %s %d +0000\ndata %d\n%s\nM 100644 inline f%d\ndata 1\nx\n"
            % (branch.encode(), ANN, start + 60 * n, len(text), text, n % 100)
            for n in range(count)
            for text in [message.replace(b"%d", b"%d" % n)]
        )
        self.git("fast-import", "--quiet", "--force", given=b"".join(given))

    def head(self, branch: str) -> str | None:
        """Return a branch's head, `None` if there is no such branch."""
        return self.branches().get(branch)

    def branches(self) -> dict[str, str]:
        """Return branch name -> head."""
        lines = self.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)

    def set(self, branch: str, sha: str) -> None:
        """Move a branch, or make it."""
        self.git("update-ref", f"refs/heads/{branch}", sha)

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def collect_garbage(self) -> None:
        """Drop what no ref reaches."""
        self.git("gc", "--quiet", "--prune=now")

    def configure(self, *settings: tuple[str, str]) -> None:
        """Add settings of the repository's own."""
        for key, value in settings:
            self.git("config", "--add", key, value)

    # --- the oracle ------------------------------------------------------------------------------------------

    def reachable(self, *revisions: str) -> list[str]:
        """Return what `git rev-list` reaches."""
        return self.git("rev-list", "--topo-order", *revisions).split() if revisions else []

    def content(self, sha: str) -> tuple[dict[bytes, list[bytes]], bytes]:
        """Return headers and message of a commit object, byte for byte."""
        head, _, message = self.raw("cat-file", "commit", sha).partition(b"\n\n")
        headers: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\n"):
            name, _, value = line.partition(b" ")
            headers.setdefault(name, []).append(value)
        return headers, message

    def changed(self, sha: str, *options: str) -> list[bytes]:
        """Return what `git diff-tree -z` prints for a commit against its first parent."""
        parents = self.git("rev-list", "--parents", "-n", "1", sha).split()[1:]
        base = parents[0] if parents else EMPTY_TREE
        return self.raw("diff-tree", "-r", "-z", *options, base, sha).split(b"\0")[:-1]


def _streamed(number: int, commit: Drawn) -> Iterator[bytes]:
    yield b"commit refs/writing/%d\nmark :%d\n" % (number, number + 1)
    yield b"author %s %d +0130\ncommitter %s %d -0700\n" % (commit.author, commit.written, ANN, commit.committed)
    if commit.encoding:
        yield b"encoding %s\n" % commit.encoding
    yield b"data %d\n%s\n" % (len(commit.message), commit.message)
    for place, parent in enumerate(commit.parents):
        yield b"%s :%d\n" % (b"merge" if place else b"from", parent + 1)
    for path, (mode, content) in commit.changes.items():
        quoted = b'"%s"' % b"".join(b"\\%03o" % byte for byte in path)
        if mode is None:
            yield b"D %s\n" % quoted
        elif mode == SUBMODULE:
            yield b"M 160000 %s %s\n" % (content.hex().ljust(40, "0")[:40].encode(), quoted)
        else:
            yield b"M %s inline %s\ndata %d\n%s\n" % (mode, quoted, len(content), content)


# --- histories that are drawn ----------------------------------------------------------------------------------

_SHA = b"1234567890" * 4
#: What looks like the parts that a reader of git's output goes by.
NASTY = (
    b"", b"\n", b"\n\n", b"\nA", b"A", b"M", b"R100", b"\nM\n", _SHA, b"\n" + _SHA, b"\x01\x02", b"\x00", b"\x00\nA\x00x\x00",
    b":100644 100644 1234567 1234567 M", b"\n:000000 100644 0000000 1234567 A\tx", b"1\t1\tx", b"commit " + _SHA,
    b"\xff\xfe", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", "Größe €".encode(), "Größe".encode("latin-1"), b'"quoted\\"',
    b"tree " + _SHA, b"\r\n", b"\t", b"-- a\n+++ b\n", b"gpgsig x", b"%H%x00%P", b"fatal: no", b"\x1b[31m", b"\xef\xbb\xbf",
)  # fmt: skip

odd_bytes = st.lists(st.sampled_from(NASTY) | st.binary(max_size=12), max_size=4).map(b"".join)
#: git itself takes these out of idents, and fast-import does not take them.
_IDENT = str.maketrans("", "", "<>\n\0\r")
odd_names = odd_bytes.map(lambda text: text.decode("latin-1").translate(_IDENT).encode("latin-1"))


def _is_path(path: bytes) -> bool:
    parts = path.split(b"/")
    return b"\0" not in path and not any(p in (b"", b".", b"..") or b".git" in p.lower() or b"git~" in p for p in parts)


odd_paths = (
    st.lists(
        st.sampled_from([*NASTY, b"a", b"b", b"c.txt", b" ", b"src"]) | st.binary(max_size=6), min_size=1, max_size=3
    )
    .map(b"/".join)
    .filter(_is_path)
)


@st.composite
def histories(draw: st.DrawFn, *, most: int = 8) -> list[Drawn]:
    """Draw commits with parents anywhere (octopus merges, roots), any bytes, all kinds of files."""
    paths = draw(st.lists(odd_paths, min_size=1, max_size=6, unique=True))
    contents = st.sampled_from([b"1\n", b"2\n", b"a\nb\nc\n", b"\0binary", b""])
    kinds = st.sampled_from([FILE, EXECUTABLE, LINK, SUBMODULE, None])
    commits = []
    for number in range(draw(st.integers(1, most))):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=4, unique=True)) if number else []
        changes = draw(st.dictionaries(st.sampled_from(paths), st.tuples(kinds, contents), max_size=4))
        name, mail = draw(odd_names), draw(odd_names)
        commits.append(
            Drawn(
                parents=tuple(parents),
                author=b"%s <%s>" % (name, mail),
                written=draw(st.integers(0, 4_000_000_000)),
                committed=draw(st.integers(0, 4_000_000_000)),
                message=draw(odd_bytes),
                encoding=draw(st.sampled_from([None, None, b"ISO-8859-1", b"UTF-7", b"no-such-encoding"])),
                changes=changes,
            )
        )
    return commits
