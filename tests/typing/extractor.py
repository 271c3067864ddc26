"""A stranger's plugin and an embedder's program, as type checkers see them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import assert_type

from releasecopilot_core import (
    Batch,
    Commit,
    CommitStorage,
    Ingestor,
    Memory,
    Plan,
    Run,
    ScanRequest,
    Settings,
    Source,
    Store,
    StoryKey,
    hookimpl,
    story_keys_of,
)

TICKET = re.compile(r"\bticket #(\d+)", re.IGNORECASE)


@hookimpl
def rc_story_keys(commit: Commit) -> list[str]:
    """Find tickets."""
    return [f"ACME-{n}" for text in commit.texts for n in TICKET.findall(text)]


class Quiet:
    """A source that has nothing to tell."""

    requests = 0

    def scan(self, request: ScanRequest, memory: Memory) -> Iterator[Batch]:
        """Yield nothing."""
        yield from ()

    def plan(self, request: ScanRequest, memory: Memory) -> Plan:
        """Plan nothing."""
        return Plan(entries=())

    def close(self) -> None:
        """Do nothing."""


def open_quiet(settings: Settings) -> Source:
    """Scan nothing."""
    return Quiet()


@hookimpl
def rc_sources() -> Mapping[str, object]:
    """Provide `rc ingest quiet-scan`."""
    return {"quiet": open_quiet}


def embed() -> None:
    """Use the library as its documentation says."""
    store: Store = CommitStorage("commits.db")
    store.close()
    with Ingestor.from_settings("config/settings.yaml") as ingestor:
        run = ingestor.scan("bitbucket", hours=4)
        assert_type(run, Run)
        print(run.status, run.new, sorted(run.story_keys))
    assert_type(story_keys_of(message="RC-12"), list[StoryKey])
