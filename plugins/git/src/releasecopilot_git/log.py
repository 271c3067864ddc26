"""Read `git log` as a stream of commits: whatever bytes are in it, they never break it and never forge a record.

git ends every field with NUL, which can be in none of them: it reads commits as texts that end there, and paths in trees
end with it. How many fields a commit has is fixed, and what follows them begins with a line feed, which no hash does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import TypeVar

import attrs

from releasecopilot_core import Commit, FileChange

_FIELDS = "%H%x00%P%x00%ct%x00%at%x00%an%x00%ae%x00%B"

#: All that a repository's own settings could change in what is printed.
_PLAIN = (
    "-z", "--diff-merges=first-parent", "--encoding=UTF-8", "--ignore-submodules=none", "--no-color", "--no-decorate",
    "--no-ext-diff", "--no-mailmap", "--no-notes", "--no-relative", "--no-show-signature", "--no-textconv", "--root",
    f"-O{os.devnull}", f"--format={_FIELDS}",
)  # fmt: skip

T = TypeVar("T")

_STATUSES = {"A": "added", "D": "removed", "R": "renamed"}

#: Authors and paths come again and again; so many of them are kept to be used once more.
_KEPT = 1_000


class CutOff(Exception):
    """The stream ended inside a record."""


@attrs.frozen(kw_only=True)
class Detail:
    """What is wanted of a commit's files: the list at all, renames told as such, line counts.

    The latter two need the contents of files; without `renames` a renamed path is one removed and one added.
    """

    files: bool = True
    renames: bool = False
    lines: bool = False

    @property
    def needs_contents(self) -> bool:
        """Whether a clone without file contents is not enough."""
        return self.files and (self.renames or self.lines)

    def arguments(self) -> tuple[str, ...]:
        """Return the options of `git log` that make it print what `commits_of` reads."""
        if not self.files:
            return (*_PLAIN, "--no-patch")
        shape = ("--raw", "--no-abbrev", "--numstat") if self.lines else ("--name-status",)
        return (*_PLAIN, *shape, "--find-renames" if self.renames else "--no-renames")


def commits_of(blocks: Iterable[bytes], detail: Detail) -> Iterator[Commit]:
    """Yield the commits that `git log` printed with `detail.arguments()`, in its order; no sightings.

    Bytes that are not UTF-8 become U+FFFD. A commit is yielded once the next one begins, or the blocks have ended well: an
    error that they raise comes before any commit that was cut off.

    Raises:
        CutOff: the blocks ended inside a commit.
    """
    fields = chain.from_iterable(_texts(blocks))
    take = fields.__next__
    read_changes = _changes_with_lines if detail.lines else _changes
    authors: dict[tuple[str, str], tuple[str, str | None, str | None]] = {}
    kept: dict[tuple[str, str], FileChange] = {}
    sha = next(fields, "")
    try:
        while sha:
            parents, committed, written, name, email, message = take(), take(), take(), take(), take(), take()
            following = next(fields, "")
            files: tuple[FileChange, ...] | None = () if detail.files else None
            if following[:1] == "\n":
                files, following = read_changes(following[1:], fields, kept)
            if (name, email) not in authors:
                _make_room(authors)
                authors[name, email] = _author(name, email)
            # All three are empty where git cannot read the line.
            author, author_name, author_email = authors[name, email] if name or email or written else (None, None, None)
            yield Commit(
                sha=sha,
                author=author,
                author_name=author_name,
                author_email=author_email,
                date=_moment(committed),
                author_date=_moment(written),
                message=message,
                parents=tuple(parents.split()),
                files=files,
            )
            sha = following
    except StopIteration:
        raise CutOff from None


def _texts(blocks: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the fields as they come, a list for each block; decoded together, since no character goes across a NUL."""
    pieces: list[bytes] = []
    for block in blocks:
        whole, nul, rest = block.rpartition(b"\0")
        if nul:
            yield b"".join((*pieces, whole)).decode("utf-8", "replace").split("\0")
            pieces = [rest]
        else:
            pieces.append(rest)
    if any(pieces):
        raise CutOff


def _changes(
    status: str, fields: Iterator[str], kept: dict[tuple[str, str], FileChange]
) -> tuple[tuple[FileChange, ...], str]:
    """Read pairs of status and path up to the next commit's hash; returns the files and that hash."""
    found = []
    # A status has four characters at most (R100), a hash forty.
    while 0 < len(status) < 40:
        path = next(fields)
        if status[0] == "R":
            found.append(FileChange(path=next(fields), status="renamed", old_path=path))
        elif (change := kept.get((status, path))) is not None:
            found.append(change)
        else:
            change = FileChange(path=path, status=_STATUSES.get(status[0], "modified"))
            _make_room(kept)
            kept[status, path] = change
            found.append(change)
        status = next(fields, "")
    return tuple(found), status


def _changes_with_lines(
    field: str, fields: Iterator[str], _: dict[tuple[str, str], FileChange]
) -> tuple[tuple[FileChange, ...], str]:
    """Read `--raw` entries, then their line counts, up to the next commit's hash."""
    found: dict[str, FileChange] = {}
    while field[:1] == ":":
        letter = field.rsplit(" ", 1)[-1][:1]
        old = next(fields)
        path = next(fields) if letter == "R" else old
        status = _STATUSES.get(letter, "modified")
        found[path] = FileChange(path=path, status=status, old_path=old if letter == "R" else None)
        field = next(fields, "")
    while "\t" in field:
        added, removed, path = field.split("\t", 2)
        if not path:  # a rename: its old and new path follow
            next(fields)
            path = next(fields)
        # Binary files have hyphens; services tell 0/0.
        counts = (int(added), int(removed)) if added.isdecimal() and removed.isdecimal() else (0, 0)
        found[path] = attrs.evolve(found[path], lines_added=counts[0], lines_removed=counts[1])
        field = next(fields, "")
    return tuple(found.values()), field


def _make_room(kept: dict[tuple[str, str], T]) -> None:
    if len(kept) >= _KEPT:
        kept.clear()


def _author(name: str, email: str) -> tuple[str, str | None, str | None]:
    """Return `Name <mail>` as services write it, then name and e-mail as they are read out of that, `None` if empty."""
    raw = f"{name} <{email}>"
    left, _, right = raw.strip().removesuffix(">").rpartition("<")
    return raw, left.strip() or None, right.strip() or None


def _moment(seconds: str) -> datetime | None:
    """Return the time; `None` for one that broken tools wrote and no calendar has."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
