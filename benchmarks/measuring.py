"""What every benchmark hands back, and how two things are timed side by side."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Result:
    """One row of the table: what was measured, ours and the peer's figure as texts, the ratio, the aim, and if it is met.

    `peer` is empty where nothing stands beside ours; `aim` and `met` are empty where a figure is only told. `data` has the
    bare numbers of what is plotted.
    """

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None
    data: Mapping[str, float] = attrs.field(factory=dict)


def at_most(limit: float, unit: str = "", *, what: str, ours: float, digits: int = 0, detail: str = "") -> Result:
    """Return the row of a figure that has a limit and no peer; `detail` says what it is made of."""
    suffix = f" {unit}" if unit else ""
    shown = f"{ours:,.{digits}f}{suffix}" + (f" ({detail})" if detail else "")
    return Result(what=what, ours=shown, aim=f"≤ {limit:,g}{suffix}", met=ours <= limit)


def in_turns(number: int, *actions: Callable[[], object]) -> list[float]:
    """Time each action once, and return the seconds in the order of the actions.

    Call it again and again with a rising `number`, and take the `bests`. Turns, because what other processes take away
    from the machine falls on all alike when each turn is short. Every second time the order is reversed, so that nobody
    always runs behind the same other.
    """

    def timed(action: Callable[[], object]) -> float:
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    return alternating(number, *(partial(timed, action) for action in actions))


def alternating(number: int, *actions: Callable[[], T]) -> list[T]:
    """Call each action once, in an order that is reversed with every second `number`; returns what they return."""
    places = list(range(len(actions)))
    found = {place: actions[place]() for place in (places if number % 2 == 0 else reversed(places))}
    return [found[place] for place in places]


def bests(turns: Sequence[Sequence[float]]) -> list[float]:
    """Return for each action the shortest of its times in all turns: what it takes when nothing disturbs it.

    For actions that do the same work each time. A disturbance only ever makes them longer, and the longer one of two more
    often: means and medians of a busy machine flatter the shorter.
    """
    return [min(column) for column in zip(*turns, strict=True)]


def peak_mebibytes() -> float:
    """Return the most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage here: what a child reports there begins with its parent's peak, kept through fork and exec.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / 1024 if sys.platform == "darwin" else peak / 1024
