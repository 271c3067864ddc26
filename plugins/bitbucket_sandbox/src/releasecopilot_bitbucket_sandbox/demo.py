"""A small workspace with everything that makes release notes hard; the same each time, but for the day it is made on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

#: Marks a folder as made by us: only such a one is made anew.
MARKER = ".releasecopilot-demo"

_PEOPLE = {
    "ann": "Ann Archer <ann@acme.example>",
    "bob": "Bob Baker <bob@acme.example>",
    "zoe": "Zoë Ångström <zoe@acme.example>",
    "ci": "Build Bot <build@ci.invalid>",  # has no account
}
_IMAGE = bytes(range(256))


@attrs.frozen
class Step:
    """One commit: on which branch, how many hours before now, and what it does to files.

    `files` maps a path to its content, to `None` to remove it, or to `(old path,)` to rename. `start` is where a branch
    that is new begins; `merge` names the branch that is merged.
    """

    branch: str
    hours: float
    who: str
    message: str
    files: dict[str, str | bytes | tuple[str] | None] = attrs.field(factory=dict)
    start: str | None = None
    merge: str | None = None


_README = "# API\n\nOrders in, invoices out.\n"
_ORDERS = "def total(lines):\n    return sum(line.price * line.count for line in lines)\n"
_INVOICE = "def invoice(order):\n    return {'total': total(order.lines)}\n"

_API = (
    Step("main", 400, "ann", "Start the API\n", {"README.md": _README, "src/orders.py": _ORDERS}),
    Step("main", 380, "bob", "RC-3 Write invoices\n", {"src/invoice.py": _INVOICE}),
    Step("main", 200, "ann", "RC-5 Round to cents, not to dollars\n", {"src/orders.py": _ORDERS + "\n# cents\n"}),
    Step("release/1.4", 150, "ann", "RC-7 Freeze 1.4\n\nSee also MOB-2.\n", {"VERSION": "1.4.0\n"}, start="main"),
    Step("main", 90, "ci", "Bump dependencies (CVE-2024-3094)\n", {"requirements.txt": "httpx==0.28\n"}),
    Step("feature/RC-12_fix", 60, "zoe", "Sketch the rounding of taxes\n", {"src/tax.py": "RATE = 0.086\n"}, start="main"),
    Step("main", 30, "bob", "RC-9 Rename the invoice module\n",
         {"src/billing/invoice.py": ("src/invoice.py",), "docs/größe.md": "Größen\n"}),
    Step("feature/RC-12_fix", 20, "zoe", "Merge branch 'main' into feature/RC-12_fix\n", merge="main"),
    # Dated long ago and pushed only now: no window of hours would find it.
    Step("feature/RC-20-audit", 700, "bob", "RC-20 Log who changed an order\n", {"src/audit.py": "LOG = []\n"}, start="main"),
    Step("feature/RC-20-audit", 699, "bob", "Say what was changed, too\n", {"src/audit.py": "LOG = {}\n"}),
    Step("feature/RC-12_fix", 3.5, "zoe", "Round taxes by line\n", {"src/tax.py": "RATE = 0.086\nBY_LINE = True\n"}),
    Step("main", 3, "ann", "Merged in feature/RC-12_fix (pull request #4)\n\nRC-12 Round taxes\n", merge="feature/RC-12_fix"),
    Step("main", 2, "bob", "RC-14: read orders as UTF-8, sign with SHA-256\n", {"src/read.py": "ENCODING = 'utf-8'\n"}),
    Step("main", 1.5, "ci", "Tidy up\n", {"requirements.txt": None, "logo.png": _IMAGE}),
    Step("release/1.4", 1, "ann", "RC-14 Read orders as UTF-8 (for 1.4)\n\n(cherry picked)\n",
         {"src/read.py": "ENCODING = 'utf-8'\n"}),
    Step("release/1.4", 0.5, "ann", "Release 1.4.1-RC-1\n", {"VERSION": "1.4.1\n"}),
)  # fmt: skip

_SHOP = (
    Step("main", 500, "zoe", "Open the shop\n", {"index.html": "<h1>Shop</h1>\n"}),
    Step("main", 100, "zoe", "MOB-7 Show prices\n", {"index.html": "<h1>Shop</h1>\n<p>9.99</p>\n"}),
    Step("main", 3, "bob", "MOB-8 Show taxes (needs RC-12)\n", {"tax.html": "<p>0.86</p>\n"}),
    Step("main", 0.75, "zoe", "Fix a typo\n", {"tax.html": "<p>Tax: 0.86</p>\n"}),
)

_ADMIN = (
    Step("main", 300, "ann", "Start the back office\n", {"admin.py": "USERS = []\n"}),
    Step("main", 250, "ann", "ADM-1 List users\n", {"admin.py": "USERS = []\n\nprint(USERS)\n"}),
)

WORKSPACE = {"api": _API, "web-shop": _SHOP, "web-admin": _ADMIN}


class NotOurs(ValueError):
    """A folder that holds something else."""


def make(folder: Path, now: datetime | None = None) -> dict[str, int]:
    """Write the demo's repositories into a folder; returns repository name -> number of commits.

    `now` is the time from which dates are counted back, by default this hour. The same time gives the same shas.

    Raises:
        NotOurs: the folder exists and was not made by this.
        OSError: it cannot be written.
    """
    moment = (now or datetime.now(UTC)).replace(second=0, microsecond=0)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise NotOurs(f"{folder}: is not empty; name a new folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("Made by `rc sandbox demo`; may be deleted.\n", encoding="utf-8")
    for name, steps in WORKSPACE.items():
        _write(folder / f"{name}.git", steps, moment)
    return {name: len(steps) for name, steps in WORKSPACE.items()}


def _write(path: Path, steps: tuple[Step, ...], now: datetime) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    init = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)]
    subprocess.run(init, check=True, env=environment)
    stream = b"".join(_stream(steps, now))
    command = ["git", f"--git-dir={path}", "fast-import", "--quiet"]
    subprocess.run(command, input=stream, check=True, env=environment)


def _stream(steps: tuple[Step, ...], now: datetime) -> Iterator[bytes]:
    """Yield the lines that `git fast-import` reads."""
    begun: set[str] = set()
    for step in steps:
        stamp = f"{int((now - timedelta(hours=step.hours)).timestamp())} -0700"
        yield f"commit refs/heads/{step.branch}\n".encode()
        yield f"author {_PEOPLE[step.who]} {stamp}\ncommitter {_PEOPLE[step.who]} {stamp}\n".encode()
        yield _data(step.message.encode())
        if step.branch not in begun and step.start:
            yield f"from refs/heads/{step.start}\n".encode()
        begun.add(step.branch)
        if step.merge:
            yield f"merge refs/heads/{step.merge}\n".encode()
            # A merge starts from the first parent's files; what the other side added comes along here.
            yield from _files(_brought(steps, step))
        yield from _files(step.files)
        yield b"\n"


def _brought(steps: tuple[Step, ...], merge: Step) -> dict[str, str | bytes | tuple[str] | None]:
    """Return what the merged branch did to files, up to the merge."""
    found: dict[str, str | bytes | tuple[str] | None] = {}
    for step in steps[: steps.index(merge)]:
        if step.branch == merge.merge and (merge.merge != "main" or step.hours < 60):
            found.update(step.files)
    return found


def _files(files: dict[str, str | bytes | tuple[str] | None]) -> Iterator[bytes]:
    for path, content in files.items():
        if content is None:
            yield f"D {path}\n".encode()
        elif isinstance(content, tuple):
            yield f"R {content[0]} {path}\n".encode()
        else:
            yield f"M 100644 inline {path}\n".encode()
            yield _data(content if isinstance(content, bytes) else content.encode())


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"
