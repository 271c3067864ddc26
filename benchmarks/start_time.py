"""Start: how long `rc --help` takes, against Python that imports click and does nothing.

The peer is the least that any command written with click can cost: the interpreter starts, click is imported. Both are
processes of the same environment, run in turns, and count with the best of their times. The first run of each is not
counted: it may have to compile, or to read from a cold disk.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from measuring import Result, bests, in_turns

ROUNDS = 25
AIM = 2.0


def measure() -> list[Result]:
    """Return the one ratio."""
    rc = partial(_run, str(Path(sys.executable).with_name("rc")), "--help")
    click = partial(_run, sys.executable, "-c", "import click")
    in_turns(0, rc, click)
    turns = [in_turns(number, rc, click) for number in range(ROUNDS)]
    ours, peer = bests(turns)
    return [
        Result(
            what="`rc --help`",
            ours=f"{ours * 1000:.0f} ms",
            peer=f"{peer * 1000:.0f} ms",
            ratio=ours / peer,
            aim=f"< {AIM:g}",
            met=ours / peer < AIM,
        )
    ]


def _run(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
