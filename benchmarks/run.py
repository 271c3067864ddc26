"""Measure: `python benchmarks/run.py [NAME ...]`, by default everything; `--write` keeps the table in the README."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import table
from measuring import Result

#: Name -> module with `measure()`; its docstring says what is measured, and why that is fair.
BENCHMARKS = {
    "store": "store_upserts",
    "memory": "peak_memory",
    "start": "start_time",
    "first-contact": "first_contact",
    "quiet-workspace": "quiet_workspace",
}


def main(arguments: list[str]) -> int:
    """Run benchmarks, and print their table; returns the exit code, which does not depend on the figures."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    if options.write and options.names:
        parser.error("--write keeps what one run of everything measured; leave the names out")
    found = dict(_measured(options.names or list(BENCHMARKS)))
    machine = table.machine()
    print("\n" + table.plain(found) + f"\n\n{machine}")
    if options.write:
        table.keep(Path(__file__).with_name("README.md"), found, machine)
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = (f"  {name:16} {(_module(name).__doc__ or name).splitlines()[0]}" for name in BENCHMARKS)
    parser = argparse.ArgumentParser(
        description="Measure speed, memory and requests.",
        epilog="benchmarks:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    return parser


def _measured(names: Iterable[str]) -> Iterable[tuple[str, list[Result]]]:
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        yield name, _module(name).measure()
        print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def _module(name: str) -> ModuleType:
    return importlib.import_module(BENCHMARKS[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
