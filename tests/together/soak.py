"""The long run of the completeness test: `nox -s soak`, by default 2,000 examples; it goes on where it stopped.

Each block of examples has its number as its seed, so that a block that failed can be run again, and its example is made
small then, which takes minutes: `nox -s soak -- --block N`.
What was done is kept in `.soak/progress.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import WorkspaceMachine

PROGRESS = Path(".soak/progress.json")
BLOCK = 10
STEPS = 30


def main(arguments: list[str]) -> int:
    """Run blocks until the wanted number of examples has passed; returns 1 when one failed."""
    options = _parser().parse_args(arguments)
    if options.block is not None:
        return _run(options.block, shrink=True)
    done = _done(fresh=options.fresh)
    with ProcessPoolExecutor(options.jobs) as pool:
        while done["examples"] < options.examples:
            numbers, begun = range(done["blocks"], done["blocks"] + options.jobs), time.monotonic()
            failed = [number for number, code in zip(numbers, pool.map(_run, numbers), strict=True) if code]
            done["blocks"] += len(numbers)
            done["seconds"] += time.monotonic() - begun
            done["failed"] += failed
            done["examples"] += BLOCK * len(numbers)
            _keep(done)
            rate = done["examples"] / done["seconds"] * 60
            print(f"{done['examples']:,} of {options.examples:,} examples, {rate:.1f} a minute, failed blocks: "
                  f"{done['failed'] or 'none'}", flush=True)  # fmt: skip
            if failed and not options.keep_going:
                return 1
    return 1 if done["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=2_000, help="how many in all (default: 2,000)")
    parser.add_argument("--block", type=int, help="run one block again, by its number")
    parser.add_argument("--jobs", type=int, default=1, help="how many blocks at a time (default: 1)")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--keep-going", action="store_true", help="go on after a block that failed")
    return parser


def _run(number: int, *, shrink: bool = False) -> int:
    logging.disable(logging.CRITICAL)

    @hypothesis.seed(number)
    class Block(WorkspaceMachine):
        """One block, drawn from its own seed."""

    chosen = settings(
        max_examples=BLOCK,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Block, settings=chosen)
    except Exception:
        print(f"block {number} failed:", flush=True)
        traceback.print_exc()
        return 1
    return 0


def _done(*, fresh: bool) -> dict[str, Any]:
    if not fresh and PROGRESS.exists():
        return dict(json.loads(PROGRESS.read_text(encoding="utf-8")))
    return {"examples": 0, "blocks": 0, "seconds": 0.0, "failed": []}


def _keep(done: dict[str, Any]) -> None:
    PROGRESS.parent.mkdir(exist_ok=True)
    PROGRESS.write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
