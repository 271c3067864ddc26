"""Histories that look grown: a few files a commit, branches that are merged, messages with stories, many authors.

What real ones are like was counted in three (of pytest, Jenkins and Pillow, in 2026): 14 to 30 in a hundred commits are
merges, and a commit changes 4 to 6 lines of a file in the middle, 28 to 70 at the ninetieth percentile (of the latter two, in
the latest part of the history).

They are the same each time. A tree begins with some files and grows with the commits up to a limit; from there on as many
files go as come. A change stays near one place of the tree, as changes do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import attrs
import git_histories

#: When the last commit was made; each other one is some minutes older than the next.
NEWEST = datetime(2026, 11, 1, 12, tzinfo=UTC)

_APART = timedelta(minutes=9)
_AUTHORS = 120
_BODY = "\nThe order of lines no longer matters, and a line without a price is refused where it is read.\n"
#: One commit in so many on the main branch is followed by a branch of a few commits, and its merge: 15 in a hundred commits
#: are merges then.
_BRANCHES, _LONGEST = 3, 4
#: A change replaces a run of lines, whose length is lognormal: 3 in the middle, 17 at the ninetieth percentile.
_LINES = (math.log(2.5), 1.5)
_SERVICES = ("billing", "catalog", "checkout", "gateway", "identity", "ledger", "notify", "orders", "search", "stock")
_LAYERS = ("api", "domain", "persistence", "jobs")


def _flat(number: int) -> str:
    return f"src/part_{number % 40}/thing_{number}.py"


def _deep(number: int) -> str:
    service, layer, part = _SERVICES[number % 7 * 3 % 10], _LAYERS[number % 4], f"part_{number // 40 % 60}"
    if number % 9 == 0:
        return f"services/{service}/src/main/resources/{layer}/{part}/settings_{number}.yaml"
    root = "test" if number % 3 == 0 else "main"
    return f"services/{service}/src/{root}/java/com/acme/{service}/{layer}/{part}/Thing{number}.java"


_LAYOUTS: Mapping[str, Callable[[int], str]] = MappingProxyType({"flat": _flat, "deep": _deep})


@attrs.frozen(kw_only=True)
class Shape:
    """What a history looks like: so many `commits`, merges included, the first of which brings `files` files.

    There are never more files than `most_files`; each has so many `lines`, and a commit that touches it changes some.
    `layout` is `flat` (two folders deep) or `deep` (as Java's are). After each number of commits in `stops`, in rising order,
    a ref `refs/at/NUMBER` has exactly so many behind it.
    """

    commits: int
    files: int
    most_files: int
    lines: int
    layout: str
    stops: tuple[int, ...] = ()


def make(path: Path, shape: Shape) -> None:
    """Make a bare repository with such a history on its main branch."""
    git_histories.make(path)
    git_histories.feed(path, _Growth(shape).commands())


class _Growth:
    """Writes a history as commands of `git fast-import`; a mark is the number of a commit."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._name = _LAYOUTS[shape.layout]
        self._random = random.Random(shape.commits)
        self._paths: list[str] = []
        self._texts: dict[str, list[bytes]] = {}
        self._pool = [
            f"        total += price_of(line_{n}, rounding={n * 7 % 100})\n".encode() for n in range(40 * shape.lines)
        ]
        self._named = 0
        self._mark = 0

    def commands(self) -> Iterator[bytes]:
        """Yield them, oldest commit first, each with all that belongs to it."""
        yield self._commit([], self._added(self._shape.files))
        for stop in (*self._shape.stops, self._shape.commits):
            while self._mark < stop:
                # A branch, the commit beside it, and the merge.
                if stop - self._mark >= _LONGEST + 2 and self._random.randrange(_BRANCHES) == 0:
                    yield from self._branch()
                else:
                    yield self._commit([self._mark], self._changed())
            yield f"reset refs/at/{stop}\nfrom :{self._mark}\n\n".encode()

    def _branch(self) -> Iterator[bytes]:
        base = tip = self._mark
        name = f"feature/RC-{base // 10 + 1}"
        yield self._commit([base], self._changed())
        main = self._mark
        brought = [self._changed() for _ in range(self._random.randint(1, _LONGEST))]
        for changes in brought:
            yield self._commit([tip], changes)
            tip = self._mark
        # The tree of a merge is its first parent's to fast-import: what the branch brings is said again.
        title = f"Merged in {name} (pull request #{base})\n"
        yield self._commit([main, tip], b"".join(brought), title)

    def _commit(self, parents: list[int], changes: bytes, message: str | None = None) -> bytes:
        self._mark += 1
        number = self._mark
        person = number * 7 % _AUTHORS
        date = NEWEST - _APART * (self._shape.commits - number)
        who = f"Person {person} <person.{person}@acme.example> {int(date.timestamp())} +0000"
        story = f"RC-{number // 10 + 1} " if number % 5 else ""
        text = message or f"{story}Change the rounding of invoices ({number})\n{_BODY * (number % 3)}"
        links = [f"{'merge' if place else 'from'} :{parent}\n" for place, parent in enumerate(parents)]
        head = f"commit refs/heads/main\nmark :{number}\nauthor {who}\ncommitter {who}\ndata {len(text)}\n"
        return f"{head}{text}{''.join(links)}".encode() + changes

    # --- changes -------------------------------------------------------------------------------------------------

    def _changed(self) -> bytes:
        """Change one to five files, and in every fourth commit add some."""
        start = self._random.randrange(len(self._paths))
        count = self._random.choice((1, 1, 2, 2, 3, 3, 4, 5))
        near = {self._paths[(start + self._random.randrange(40)) % len(self._paths)] for _ in range(count)}
        parts = [self._written(path) for path in sorted(near)]
        if self._random.randrange(4) == 0:
            parts.append(self._added(self._random.randint(1, 4)))
            while len(self._paths) > self._shape.most_files:
                parts.append(self._removed())
        return b"".join(parts)

    def _added(self, count: int) -> bytes:
        fresh = [self._name(number) for number in range(self._named, self._named + count)]
        self._named += count
        self._paths += fresh
        return b"".join(map(self._written, fresh))

    def _removed(self) -> bytes:
        return f"D {self._paths.pop(self._random.randrange(len(self._paths)))}\n".encode()

    def _written(self, path: str) -> bytes:
        """Write a new file, or one in which a run of lines is another one now."""
        lines = self._texts.get(path)
        if lines is None:
            begin = self._random.randrange(40) * self._shape.lines
            lines = self._texts[path] = [f"// {path}\n".encode(), *self._pool[begin : begin + self._shape.lines]]
        else:
            count = min(len(lines) - 1, max(1, round(self._random.lognormvariate(*_LINES))))
            start = self._random.randrange(1, len(lines) + 1 - count)
            for number in range(start, start + count):
                lines[number] = f"        total += changed_by({self._mark}, {number})\n".encode()
        content = b"".join(lines)
        return f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
