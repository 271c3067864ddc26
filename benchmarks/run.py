"""Measure: `python benchmarks/run.py [NAME ...]`, by default everything; `--write` keeps table and plots in the README."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import plots
import table
from measuring import Result

#: Name -> module with `measure()`; its docstring says what is measured, and why that is fair.
BENCHMARKS = {
    "store": "store_upserts",
    "memory": "peak_memory",
    "start": "start_time",
    "first-contact": "first_contact",
    "quiet-workspace": "quiet_workspace",
    "deliveries": "deliveries",
    "back-fill": "back_fill",
    "growth": "growth",
}

#: Those whose `measure` takes the path of a repository.
OF_REPOSITORIES = frozenset({"back-fill"})


def main(arguments: list[str]) -> int:
    """Run benchmarks, and print their table; returns the exit code, which does not depend on the figures."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    if options.write and (options.names or options.repository):
        parser.error("--write keeps what one run of everything measured; leave the names and --repository out")
    names = options.names or sorted(OF_REPOSITORIES if options.repository else BENCHMARKS, key=list(BENCHMARKS).index)
    if options.repository and (others := [name for name in names if name not in OF_REPOSITORIES]):
        parser.error(f"{others[0]} makes what it reads; --repository is for: {', '.join(OF_REPOSITORIES)}")
    found = dict(_measured(names, options.repository))
    machine = table.machine()
    print("\n" + table.plain(found) + f"\n\n{machine}")
    if options.write:
        table.keep(Path(__file__).with_name("README.md"), found, machine)
        plots.keep(Path(__file__).parent, found)
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = (f"  {name:16} {(_module(name).__doc__ or name).splitlines()[0]}" for name in BENCHMARKS)
    parser = argparse.ArgumentParser(
        description="Measure speed, memory and requests.",
        epilog="benchmarks:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md, and its plots")
    parser.add_argument(
        "--repository", type=Path, metavar="PATH", help="read this git repository instead of a made one (back-fill)"
    )
    return parser


def _measured(names: Iterable[str], repository: Path | None) -> Iterable[tuple[str, list[Result]]]:
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        given = [repository] if name in OF_REPOSITORIES else []
        yield name, _module(name).measure(*given)
        print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def _module(name: str) -> ModuleType:
    return importlib.import_module(BENCHMARKS[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
