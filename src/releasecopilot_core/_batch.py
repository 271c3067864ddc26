"""What goes into the store at once: batches, the walks that they carry, and what was announced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from ._model import Commit, Problem, PullRequest, Repository, RepositoryStatus, as_shas, utc_or_none


@attrs.frozen
class Stale:
    """A branch or pull request of which something was announced but not fetched.

    `marks` counts the announcements: whoever fetched what the first one told of settles no later one. `target` is the
    head that the latest one named, `None` where it named none.
    """

    reason: str
    marks: int
    target: str | None = None


@attrs.frozen
class Announced:
    """What a delivery tells of a branch or pull request without giving it all.

    `target` is the head that it named (a pull request's may be abbreviated), `None` if it named none or the branch is
    gone. `base` is the head that the branch had before, `None` for a new branch.
    """

    reason: str
    target: str | None = None
    base: str | None = None


@attrs.frozen(kw_only=True)
class Walk:
    """How far the history behind one branch's `target` has been listed.

    `boundary` holds the commits that are to be listed next: everything reachable from `target` is stored, or reachable
    from `boundary`, or from the heads that were excluded. `line` is the next commit of the branch's own first-parent
    line, `None` where that line has ended. A `bounded` walk was stopped on purpose at the window's start (`since`):
    its head stands, and what lies behind the boundary is reported as not loaded.
    """

    branch: str
    target: str
    boundary: frozenset[str] = attrs.field(converter=as_shas)
    line: str | None = None
    since: datetime | None = attrs.field(default=None, converter=utc_or_none)
    bounded: bool = False


@attrs.frozen(kw_only=True)
class Scanned:
    """The last word of a scan about one repository.

    `branches` are the selected branches that exist, first in the configured order. `swept` says that everything was
    looked at, whatever the service's own change marks say. `pull_requests_to` moves the mark of the same name. With
    `whole` false only what was announced was looked at: the store remembers nothing of it as a complete scan.
    """

    name: str
    status: RepositoryStatus
    branches: tuple[str, ...] = ()
    selection: str | None = None
    swept: bool = False
    pull_requests_to: datetime | None = None
    whole: bool = True


@attrs.frozen(kw_only=True)
class Batch:
    """What goes into the store in one transaction: all of it, or nothing.

    All commits and sightings belong to `repository`. With `walk` the walk's state is saved beside the commits that it
    listed; `walk_ended` is `done` (listed to the end: the branch's head moves to the target), `bounded` (stopped at the
    window: the head moves, the boundary stays) or `dropped` (forgotten, no head moves). `deleted_branches` were absent
    from a complete listing. `stale_branches` and `stale_pull_requests` have something that was announced but not
    fetched; the `settled_…` ones have it now (name or number -> the `marks` that were read before it was fetched).
    `want_files`: file lists skipped so far are owed from now on, those of commits dated since then, or `all` of them
    and also those that the service refused before. `listed` counts the commits that a listing returned. `scanned` ends
    a repository; `expected` tells, once it is known, how many repositories will come to that end.
    """

    repository: Repository | None = None
    commits: tuple[Commit, ...] = ()
    pull_requests: tuple[PullRequest, ...] = ()
    walk: Walk | None = None
    walk_ended: Literal["done", "bounded", "dropped"] | None = None
    deleted_branches: tuple[str, ...] = ()
    stale_branches: Mapping[str, Announced] = attrs.field(factory=dict)
    settled_branches: Mapping[str, int] = attrs.field(factory=dict)
    stale_pull_requests: Mapping[int, Announced] = attrs.field(factory=dict)
    settled_pull_requests: Mapping[int, int] = attrs.field(factory=dict)
    want_files: datetime | Literal["all"] | None = None
    listed: int = 0
    problems: tuple[Problem, ...] = ()
    scanned: Scanned | None = None
    expected: int | None = None
