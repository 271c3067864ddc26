"""The nouns of a run: what was asked for, what it would cost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from ._model import FilesMode, Problem, RepositoryStatus, RunStatus, Window

DeliveryStatus = Literal["stored", "ignored", "failed"]


@attrs.frozen(kw_only=True)
class ScanRequest:
    """What a scan is asked to look at.

    `repositories` and `branches` are names or globs (`*` crosses `/`); `None` leaves it to the source's settings.
    `full` lists all history behind bounded walks and fetches what was skipped. `sweep` looks at every repository even
    when the service says that it has not changed; `None` leaves it to the source (daily by default). `repair` asks only
    for what was announced and not fetched, and for file lists that are owed; nothing else is looked at. `run_id` names
    the run to others: as the holder of leases.
    """

    window: Window
    repositories: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None
    full: bool = False
    files: FilesMode | None = None
    sweep: bool | None = None
    repair: bool = False
    run_id: str = ""


@attrs.frozen(kw_only=True)
class PlanEntry:
    """What a scan would do for one repository.

    `requests` is the least that it will send to the service, since pages are not known yet; `git_operations` are clones
    and fetches, which have a quota of their own.
    """

    repository: str
    requests: int
    git_operations: int = 0
    note: str = ""


@attrs.frozen(kw_only=True)
class Plan:
    """What a scan would do, and what may be asked of the service in this hour (`None`: nobody tells).

    `minutes` is an estimate of how long it takes, waiting for quota included; `None` when it is not known.
    """

    entries: tuple[PlanEntry, ...]
    quota_left: int | None = None
    minutes: float | None = None

    @property
    def requests(self) -> int:
        """The least number of requests in all."""
        return sum(entry.requests for entry in self.entries)

    @property
    def git_operations(self) -> int:
        """The number of clones and fetches in all."""
        return sum(entry.git_operations for entry in self.entries)


@attrs.frozen(kw_only=True)
class Applied:
    """What one batch changed: commits not known in that repository before, by sha, and stories found in it."""

    new: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class RepositoryReport:
    """What a run did for one repository; the `repositories` entry of the artifact (design of the public contract)."""

    name: str
    uuid: str | None = None
    heads_before: Mapping[str, str] = attrs.field(factory=dict)
    heads_after: Mapping[str, str] = attrs.field(factory=dict)
    listed: int = 0
    new: int = 0
    refreshed: int = 0
    files_owed: int = 0
    history: str = "complete"
    status: RepositoryStatus = "complete"
    problems: tuple[Problem, ...] = ()


@attrs.frozen(kw_only=True)
class Progress:
    """How far a run has come: `finished` of `expected` repositories (`None`: not known yet), and where it is now."""

    report: RepositoryReport
    finished: int
    expected: int | None = None


@attrs.frozen(kw_only=True)
class Run:
    """One scan or repair, from its start (`status` is `running`) to its end.

    `new`, `listed` and `refreshed` count commits, `earlier` those of the new ones that are dated before the window.
    `story_keys` are those of the commits sighted or refreshed. `plugins` maps the name of each plugin that took part to
    its version. `key_rules` is the fingerprint of the story-key rules.
    """

    run_id: str
    kind: str
    source: str
    window: Window
    started_at: datetime
    finished_at: datetime | None = None
    status: RunStatus = "running"
    new: int = 0
    earlier: int = 0
    listed: int = 0
    refreshed: int = 0
    requests: int = 0
    git_sha: str | None = None
    key_rules: str | None = None
    artifact: str | None = None
    story_keys: frozenset[str] = frozenset()
    plugins: Mapping[str, str] = attrs.field(factory=dict)
    repositories: tuple[RepositoryReport, ...] = ()
    problems: tuple[Problem, ...] = ()


@attrs.frozen
class Finding:
    """What a check found: one line that says what is so, and unless all is well what to do about it."""

    status: Literal["ok", "warning", "failed"]
    text: str


@attrs.frozen(kw_only=True)
class Delivery:
    """A webhook request as it came in.

    Header names are in lower case; `body` is what a signature covers, `payload` the JSON object in it.
    """

    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    payload: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class DeliveryRecord:
    """What is kept of a delivery: never a secret, and the raw body for as long as it is not pruned.

    `status` is `stored`, `ignored` (an event that we do not use) or `failed` (it could not be decoded: `reason` says
    why, and it can be replayed). `times` counts how often it came.
    """

    id: str
    service: str
    received_at: datetime
    status: DeliveryStatus
    event: str | None = None
    request_id: str | None = None
    reason: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | None = attrs.field(default=None, repr=False)
    body_sha256: str = ""
    last_received_at: datetime | None = None
    times: int = 1
