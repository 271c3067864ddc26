"""Make a batch ready to be stored: what its texts and announcements mean for commits that are stored already."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ._batch import Batch
from ._clock import utc_now
from ._interfaces import Memory
from ._keys import KeyFinder
from ._model import Commit, Repository, Sighting, Via


def prepared(batch: Batch, memory: Memory, keys: KeyFinder) -> Batch:
    """Return a batch with everything that can be told of it before it is stored; a scan and a webhook share this.

    A branch's own commits are checked against what is known, the title of a pull request reaches the commits that were
    seen in it earlier, and extractors are asked.
    """
    repository = batch.repository
    if repository is None:
        return batch
    if batch.stale_branches:
        batch = _with_checked_claims(batch, repository, memory)
    if batch.pull_requests:
        more = tuple(_with_titles(batch, repository, memory))
        batch = attrs.evolve(batch, commits=(*batch.commits, *more))
    return keys.attach(batch)


def _with_checked_claims(batch: Batch, repository: Repository, memory: Memory) -> Batch:
    """Take back that commits are a branch's own where another branch has them.

    A push that creates a branch shows older history, too: what another branch is known to have is not its news. Unless
    something known begins somewhere behind its tip, nobody can tell which of the commits that it shows are new.
    """
    disowned: set[tuple[str, str]] = set()
    old: set[tuple[str, str]] = set()
    for branch, announced in batch.stale_branches.items():
        shown = [c.sha for c in batch.commits if any(s.branch == branch for s in c.sightings)]
        known = memory.known_elsewhere(repository, branch, shown) if shown else frozenset()
        if announced.base is None:
            old.update((sha, branch) for sha in known)
            known = known or frozenset(shown)
        disowned.update((sha, branch) for sha in known)
    if not disowned:
        return batch
    return attrs.evolve(batch, commits=tuple(_checked(commit, disowned, old) for commit in batch.commits))


def _checked(commit: Commit, disowned: set[tuple[str, str]], old: set[tuple[str, str]]) -> Commit:
    sightings = {
        attrs.evolve(s, own=s.own and (commit.sha, s.branch) not in disowned)
        for s in commit.sightings
        if (commit.sha, s.branch) not in old
    }
    return attrs.evolve(commit, sightings=frozenset(sightings))


def _with_titles(batch: Batch, repository: Repository, memory: Memory) -> Iterator[Commit]:
    """Yield the stored commits of the batch's pull requests once more, as seen under their present titles."""
    moment = utc_now()
    via: Via = "webhook" if batch.stale_pull_requests else "scan"
    for request in batch.pull_requests:
        shas = set(memory.pull_request_commits(repository, request.id))
        announced = batch.stale_pull_requests.get(request.id)
        if announced is not None and announced.target is not None:
            # Its head may be stored, and be known by its first twelve digits only.
            found = memory.resolve(repository, announced.target)
            shas.update(found if len(found) == 1 else ())
        seen = Sighting(repository.uuid, moment, pull_request=request.id, title=request.title, via=via)
        for sha in sorted(shas):
            yield Commit(sha=sha, sightings=frozenset({seen}))
