"""A small workspace with everything that makes release notes hard; the same each time, but for the hour it is made in."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

#: Marks a folder as made by us: only such a one is made anew.
MARKER = ".releasecopilot-demo"

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
_PEOPLE = {
    "ann": "Ann Archer <ann@acme.example>",
    "bob": "Bob Baker <bob@acme.example>",
    "zoe": "Zoë Ångström <zoe@acme.example>",
    "ci": "Build Bot <build@ci.invalid>",  # has no account
}
_ZONE = "-0700"
_EARLIEST = datetime(1970, 2, 1, tzinfo=UTC)

Tree = dict[str, str | bytes]


@attrs.frozen
class Moved:
    """A file that is renamed; `old` is where it was."""

    old: str


@attrs.frozen
class Step:
    """One commit: on which branch, how many hours before now, by whom, and what it does to files.

    `files` maps a path to its content, to where it was, or to `None` to remove it. `start` is the branch where a new one
    begins, `merge` the branch that is merged, `written` the hours before now when it was written, if that was earlier
    than it was committed, and `tag` an annotated tag on it.
    """

    branch: str
    hours: float
    who: str
    message: str
    files: Mapping[str, str | bytes | Moved | None] = attrs.field(factory=dict)
    start: str | None = None
    merge: str | None = None
    written: float | None = None
    tag: str | None = None


_README = "# API\n\nOrders in, invoices out.\n"
_ORDERS = "def total(lines):\n    return sum(line.price * line.count for line in lines)\n"
_INVOICE = "def invoice(order):\n    return {'total': total(order.lines), 'lines': list(order.lines)}\n"
_READ = "ENCODING = 'utf-8'\n"
_TAX = "RATE = 0.086\n"

_API = (
    Step("main", 400, "ann", "Start the API\n", {"README.md": _README, "src/orders.py": _ORDERS}),
    Step("main", 380, "bob", "RC-3 Write invoices\n", {"src/invoice.py": _INVOICE}),
    Step("main", 200, "ann", "RC-5 Round to cents, not to dollars\n", {"src/orders.py": f"{_ORDERS}\n# cents\n"}),
    Step("release/1.4", 150, "ann", "RC-7 Freeze 1.4\n\nSee also MOB-2.\n", {"VERSION": "1.4.0\n"}, start="main",
         tag="v1.4.0"),
    Step("main", 90, "ci", "Bump dependencies (CVE-2024-3094)\n", {"requirements.txt": "httpx==0.28\n"}),
    Step("feature/RC-12_fix", 60, "zoe", "Sketch the rounding of taxes\n", {"src/tax.py": _TAX}, start="main"),
    Step("main", 30, "bob", "RC-9 Rename the invoice module\n",
         {"src/billing/invoice.py": Moved("src/invoice.py"), "docs/größe.md": "Größen\n"}),
    Step("feature/RC-12_fix", 20, "zoe", "Merge branch 'main' into feature/RC-12_fix\n", merge="main"),
    # Dated long ago and pushed only now: no window of hours would find it.
    Step("feature/RC-20-audit", 700, "bob", "RC-20 Log who changed an order\n", {"src/audit.py": "LOG = []\n"}, start="main"),
    Step("feature/RC-20-audit", 699, "bob", "Say what was changed, too\n", {"src/audit.py": "LOG = {}\n"}),
    Step("feature/RC-12_fix", 2.75, "zoe", "Round taxes by line\n", {"src/tax.py": f"{_TAX}BY_LINE = True\n"}),
    Step("main", 2.5, "ann", "Merged in feature/RC-12_fix (pull request #4)\n\nRC-12 Round taxes\n",
         merge="feature/RC-12_fix"),
    # Written last week, rebased today: the date that is shown is the committer's.
    Step("main", 2, "bob", "RC-14: read orders as UTF-8, sign with SHA-256\n", {"src/read.py": _READ}, written=170),
    Step("bugfix/mob-7-prices", 1.75, "zoe", "Show prices with two digits, also 0,00 €\n",
         {"src/orders.py": f"{_ORDERS}\n# cents, two digits\n"}, start="main"),
    Step("main", 1.5, "ci", "Tidy up\n", {"requirements.txt": None, "logo.png": bytes(range(256))}),
    Step("release/1.4", 1, "ann", "RC-14 Read orders as UTF-8 (for 1.4)\n\n(cherry picked)\n", {"src/read.py": _READ}),
    Step("release/1.4", 0.5, "ann", "Release 1.4.1-RC-1\n", {"VERSION": "1.4.1\n"}),
)  # fmt: skip

_SHOP = (
    Step("main", 500, "zoe", "Open the shop\n", {"index.html": "<h1>Shop</h1>\n"}),
    Step("main", 100, "zoe", "MOB-7 Show prices\n", {"index.html": "<h1>Shop</h1>\n<p>9.99</p>\n"}),
    Step("main", 2.5, "bob", "MOB-8 Show taxes (needs RC-12)\n", {"tax.html": "<p>0.86</p>\n"}),
    Step("main", 0.75, "zoe", "Fix a typo\n", {"tax.html": "<p>Tax: 0.86</p>\n"}),
)

_ADMIN = (
    Step("main", 300, "ann", "Start the back office\n", {"admin.py": "USERS = []\n"}),
    Step("main", 250, "ann", "ADM-1 List users\n", {"admin.py": "USERS = []\n\nprint(USERS)\n"}),
)

WORKSPACE = {"api": _API, "web-shop": _SHOP, "web-admin": _ADMIN}


class NotOurs(ValueError):
    """A folder that holds something else."""


class TooEarly(ValueError):
    """A time before which git knows no dates."""


@attrs.frozen
class Made:
    """A repository of the demo: its slug, how many commits it has, and its branches."""

    name: str
    commits: int
    branches: tuple[str, ...]


def make(folder: Path, now: datetime | None = None) -> list[Made]:
    """Write the demo's repositories into a folder; what an earlier call left there is made anew.

    `now` is the time from which dates are counted back, by default the hour that has begun, so that all of an hour gives
    the same shas. What is meant to be recent lies within the last four hours either way.

    Raises:
        NotOurs: the folder exists and was not made by this.
        TooEarly: `now` is before the dates of git begin.
        OSError: it cannot be written.
    """
    moment = now.replace(microsecond=0) if now else datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    if moment < _EARLIEST:
        raise TooEarly(
            f"--now: {moment.isoformat()} is too early; git's dates begin in 1970, and the demo looks back a month"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / MARKER).is_file():
            raise NotOurs(f"{folder}: is there and was not made by this command; name a new folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("Made by `rc sandbox demo`; may be deleted.\n", encoding="utf-8")
    return [_write(folder / f"{name}.git", name, steps, moment) for name, steps in WORKSPACE.items()]


def _write(path: Path, name: str, steps: tuple[Step, ...], now: datetime) -> Made:
    init = ["git", "init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)]
    subprocess.run(init, check=True, env=_ENVIRONMENT)
    stream = b"".join(_stream(steps, now))
    command = ["git", f"--git-dir={path}", "fast-import", "--quiet", "--date-format=raw"]
    subprocess.run(command, input=stream, check=True, env=_ENVIRONMENT)
    # Made anew, it is still the same repository.
    lasting = str(uuid.uuid5(uuid.NAMESPACE_URL, f"releasecopilot-demo:{name}"))
    subprocess.run(["git", f"--git-dir={path}", "config", "sandbox.uuid", lasting], check=True, env=_ENVIRONMENT)
    return Made(name, len(steps), tuple(dict.fromkeys(step.branch for step in steps)))


def _stream(steps: tuple[Step, ...], now: datetime) -> Iterator[bytes]:
    """Yield what `git fast-import` reads. Each commit states all of its files: renames are for git to find."""
    trees: dict[str, Tree] = {}
    # Branch pair -> the files that both had when they last met.
    met: dict[frozenset[str], Tree] = {}
    for step in steps:
        yield f"commit refs/heads/{step.branch}\n".encode()
        yield f"author {_stamp(step.who, now, step.written or step.hours)}".encode()
        yield f"committer {_stamp(step.who, now, step.hours)}".encode()
        yield _data(step.message.encode())
        if step.branch not in trees and step.start:
            yield f"from refs/heads/{step.start}\n".encode()
            met[frozenset({step.branch, step.start})] = trees[step.branch] = dict(trees[step.start])
        tree = dict(trees.get(step.branch, {}))
        if step.merge:
            yield f"merge refs/heads/{step.merge}\n".encode()
            pair, theirs = frozenset({step.branch, step.merge}), trees[step.merge]
            tree = _merged(tree, theirs, met[pair])
            met[pair] = dict(theirs)
        trees[step.branch] = _changed(tree, step.files)
        yield b"deleteall\n"
        for path, content in sorted(trees[step.branch].items()):
            yield f"M 100644 inline {path}\n".encode() + _data(
                content if isinstance(content, bytes) else content.encode()
            )
        yield b"\n"
        if step.tag:
            yield f"tag {step.tag}\nfrom refs/heads/{step.branch}\ntagger {_stamp(step.who, now, step.hours)}".encode()
            yield _data(f"Release {step.tag}\n".encode())


def _stamp(who: str, now: datetime, hours: float) -> str:
    return f"{_PEOPLE[who]} {int((now - timedelta(hours=hours)).timestamp())} {_ZONE}\n"


def _merged(ours: Tree, theirs: Tree, base: Tree) -> Tree:
    """Return our files with what they changed since the base; the demo has no conflicts."""
    result = dict(ours)
    for path in base.keys() | theirs.keys():
        if theirs.get(path) != base.get(path):
            result.pop(path, None)
            if path in theirs:
                result[path] = theirs[path]
    return result


def _changed(tree: Tree, files: Mapping[str, str | bytes | Moved | None]) -> Tree:
    result = dict(tree)
    for path, content in files.items():
        if content is None:
            del result[path]
        elif isinstance(content, Moved):
            result[path] = result.pop(content.old)
        else:
            result[path] = content
    return result


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"
