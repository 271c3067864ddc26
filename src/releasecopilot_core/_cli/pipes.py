"""A reader that has seen enough: what is printed into a closed pipe goes nowhere, and nothing fails because of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print something in the middle of work that goes on, whether anybody still reads (`rc ingest … 2>&1 | head`)."""
    try:
        yield
    except BrokenPipeError:
        hush()


def hush() -> None:
    """Send what closed pipes and full disks would have got, and all that is printed after it, nowhere."""
    # The streams of the interpreter: click puts wrappers that tell nothing in front of them.
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
