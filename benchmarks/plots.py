"""The plots beside the table, as SVG files that differ only when the figures do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measuring import Result

OURS, PEERS = "#1f6feb", "#8b949e"

#: What is in `data` of a back-fill -> what it is called in the plot, fastest first.
_READERS = {
    "git log": "git log alone",
    "reading": "Release Copilot, nothing kept",
    "whole": "Release Copilot, stored",
    "perceval reading": "Perceval, nothing kept",
    "perceval": "Perceval, into a file",
    "pydriller": "PyDriller",
}


def keep(folder: Path, found: Mapping[str, Sequence[Result]]) -> None:
    """Write `back_fill.svg` and `growth.svg`; without matplotlib it is only said that they stay as they are."""
    # At the end of the run: it may be installed beside the environment, and nothing is measured any more.
    sys.path += os.environ.get("BENCH_PEERS", "").split(os.pathsep)
    if find_spec("matplotlib") is None:
        print("matplotlib is not installed: the plots stay as they are", file=sys.stderr)
        return
    _back_fill(folder / "back_fill.svg", found["back-fill"])
    _growth(folder / "growth.svg", found["growth"])


def _back_fill(path: Path, results: Sequence[Result]) -> None:
    rates = {kind: rate for result in results for kind, rate in result.data.items()}
    shown = [(name, rates[kind]) for kind, name in _READERS.items() if kind in rates]
    names, values = zip(*reversed(shown), strict=True)
    figure = _figure(7.2, 0.5 + 0.42 * len(shown))
    axes = figure.subplots()
    bars = axes.barh(names, values, color=[OURS if name.startswith("Release") else PEERS for name in names], height=0.6)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=4)
    axes.set_xlabel("commits a second, with their file lists")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.12)
    _save(figure, path)


def _growth(path: Path, results: Sequence[Result]) -> None:
    points = [result.data for result in results if "commits" in result.data]
    commits = [point["commits"] for point in points]
    figure = _figure(7.2, 2.8)
    time, memory = figure.subplots(1, 2)
    time.plot(commits, [point["seconds"] for point in points], "o-", color=OURS)
    time.set_ylabel("seconds")
    memory.plot(commits, [point["mebibytes"] for point in points], "o-", color=OURS)
    memory.set_ylabel("peak memory, MiB")
    for axes in (time, memory):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
        axes.set_xlim(left=0)
        axes.set_xlabel("commits back-filled")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xticks(range(0, int(commits[-1]) + 1, int(commits[-1]) // 4))
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 9,
            # Texts stay texts, and ids are the same each time.
            "svg.fonttype": "none",
            "svg.hashsalt": "benchmarks",
        }
    )
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    # matplotlib leaves blanks at the ends of some lines.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
