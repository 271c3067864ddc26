"""The walk of one branch, for authors of sources: no crash and no fault loses a commit.

A source says how to list commits (`History`); `BranchWalker` turns that into batches which carry the walk's state with
the commits it listed. A branch's head moves in the batch that ends its walk and at no other time, so everything
reachable from a stored head is stored, or lies behind a boundary that is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

import attrs

from ._batch import Batch, Walk
from ._interfaces import Memory
from ._model import Commit, FilesStatus, Problem, Repository, Sighting, Window
from .errors import CommitsVanished, ListingExpired, SourceError

#: How many further pages of older commits are read before a first contact stops at the window's start: order is
#: topological, so commits of the window may stand behind older ones.
FURTHER_PAGES = 2
#: When a branch's old head has vanished, its stored first-parent ancestors this far back stand in for it.
STAND_INS = tuple(2**n for n in range(13))

#: How many pages are read to tell a branch's own commits from those of a main branch that is not scanned.
OUTSIDE_PAGES = 5


@attrs.frozen
class Page:
    """Commits of a listing, children before parents; `last` says that nothing follows."""

    commits: tuple[Commit, ...]
    last: bool


class History(Protocol):
    """How a source lists commits."""

    def pages(self, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Page]:
        """Yield what is reachable from `include` and not from `exclude`, as `git log A B ^C ^D` would.

        A child never comes after its parent, and there is always a last page, which may be empty.

        Raises:
            CommitsVanished: some of the shas named are unknown (it need not name all of them).
            ListingExpired: the service cannot go on with a listing; the walk asks anew from its boundary.
        """


class _Moved(Exception):
    """A walk's own commits vanished: it has to start anew at the branch's tip."""


def branches_to_walk(
    *,
    main: str | None,
    walks: Iterable[Walk],
    tips: Mapping[str, str],
    wanted: Iterable[str],
    window: Window,
    full: bool,
) -> list[tuple[str, Mapping[str, str]]]:
    """Return the branches to walk, the main branch first, each with the tips that its walker is to know.

    Beside the `wanted` ones these are all whose walk was cut off, and all whose boundary the window, or `full`, reaches
    behind by now, be they wanted or even there any more: other branches left out what lies behind their heads. One that
    is not wanted only goes on where it was left; its tip is kept from its walker.
    """
    chosen = dict.fromkeys(wanted)
    left = {
        walk.branch for walk in walks if not walk.bounded or full or walk.since is None or window.start < walk.since
    }
    order = sorted(dict.fromkeys([*chosen, *sorted(left)]), key=lambda branch: branch != main)
    others = {branch: {name: sha for name, sha in tips.items() if name != branch} for branch in left - chosen.keys()}
    return [(branch, others.get(branch, tips)) for branch in order]


@attrs.define
class BranchWalker:
    """Walks the branches of one repository, one after the other.

    `tips` are the heads of all branches now, selected or not. `known_before` says that the last complete scan selected
    the same branches: then a branch that is new to us is new, and all that it brings is wanted, however old it is dated.
    """

    repository: Repository
    memory: Memory
    history: History
    window: Window
    tips: Mapping[str, str]
    full: bool = False
    known_before: bool = False
    now: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    def walk(self, branch: str) -> Iterator[Batch]:
        """Yield the batches that bring one branch up to its tip; each must be stored before the next is asked for.

        Raises:
            SourceError: the listing failed; what was yielded stays, and the next scan resumes there.
        """
        try:
            for walk in self._of(branch, bounded=False):
                yield from self._run(walk, self._excludes(branch), bounded=self._stops_at_window(branch))
            yield from self._fresh(branch)
            for walk in self._of(branch, bounded=True):
                if self.full or walk.since is None or self.window.start < walk.since:
                    yield from self._run(walk, [], bounded=not self.full)
        except _Moved:
            yield from self._start_over(branch)

    def _of(self, branch: str, *, bounded: bool) -> list[Walk]:
        return [w for w in self.memory.walks(self.repository) if w.branch == branch and w.bounded is bounded]

    def _fresh(self, branch: str) -> Iterator[Batch]:
        """Walk from the branch's tip, if that is not its stored head already."""
        tip = self.tips.get(branch)
        if tip is not None and tip != self.memory.heads(self.repository).get(branch):
            walk = Walk(branch=branch, target=tip, boundary=frozenset({tip}), line=tip)
            yield from self._run(walk, self._excludes(branch), bounded=self._stops_at_window(branch))

    def _stops_at_window(self, branch: str) -> bool:
        return not self.full and not self.known_before and branch not in self.memory.heads(self.repository)

    def _excludes(self, branch: str) -> list[str]:
        """Return the branch's old head, or for a branch new to us all heads that are known."""
        heads = self.memory.heads(self.repository)
        return [heads[branch]] if branch in heads else sorted(set(heads.values()))

    def _start_over(self, branch: str) -> Iterator[Batch]:
        """Forget walks whose commits vanished and walk from the tip; twice in a row is a branch that keeps moving."""
        yield from self._forget(branch)
        try:
            yield from self._fresh(branch)
        except _Moved:
            message = (
                f"branch {branch!r} was rewritten while it was being listed; the next scan goes on from its new tip"
            )
            yield from self._forget(branch)
            yield Batch(repository=self.repository, problems=(self._problem(message),))

    def _forget(self, branch: str) -> Iterator[Batch]:
        for walk in self._of(branch, bounded=False):
            yield Batch(repository=self.repository, walk=walk, walk_ended="dropped")

    def _problem(self, message: str) -> Problem:
        return Problem(kind="vanished", message=message, repository=self.repository.full_name)

    # --- one walk --------------------------------------------------------------------------------------------

    def _run(self, walk: Walk, exclude: Sequence[str], *, bounded: bool) -> Iterator[Batch]:
        """List one walk to its end, leaving out excluded commits that have vanished."""
        excluded, lost = list(exclude), frozenset[str]()
        outside = self._outside_main(walk)
        while walk.boundary:
            before = walk.boundary
            try:
                for batch in self._pages(walk, excluded, outside, bounded=bounded):
                    walk = batch.walk or walk
                    yield batch
                return
            except ListingExpired:
                if walk.boundary == before:  # no page since we asked last: asking again would go on for ever
                    raise
            except CommitsVanished as gone:
                fresh, lost = gone.shas - lost, lost | gone.shas
                if fresh & walk.boundary:
                    if not walk.bounded:
                        raise _Moved from gone
                    walk = self._without_lost(walk, lost)
                elif fresh & set(excluded):
                    excluded = self._without(excluded, lost)
                else:  # nothing that we can leave out: asking again would go on for ever
                    raise SourceError(str(gone), kind="vanished") from gone
        message = f"older history of branch {walk.branch!r} is gone from the service; what is stored stays"
        yield Batch(repository=self.repository, walk=walk, walk_ended="dropped", problems=(self._problem(message),))

    def _without(self, excluded: Sequence[str], gone: frozenset[str]) -> list[str]:
        """Leave out what vanished; its stored ancestors and the other heads stand in for it.

        All behind a former head is stored or behind a boundary, so any of its ancestors may be excluded as well.
        """
        heads = self.memory.heads(self.repository).values()
        ancestors = (self.memory.first_parents(self.repository, sha, STAND_INS) for sha in excluded if sha in gone)
        candidates = [*excluded, *(sha for found in ancestors for sha in found), *heads]
        return [sha for sha in dict.fromkeys(candidates) if sha not in gone]

    def _without_lost(self, walk: Walk, lost: frozenset[str]) -> Walk:
        """Go on behind a boundary of which parts vanished: from all heads again, since what it hid may hang on them."""
        heads = self.memory.heads(self.repository).values()
        return attrs.evolve(walk, boundary=(walk.boundary | set(heads)) - lost, line=None)

    def _pages(
        self, walk: Walk, exclude: Sequence[str], outside: frozenset[str] | None, *, bounded: bool
    ) -> Iterator[Batch]:
        # What a bounded walk left behind was older than a window already.
        deepening, older_pages, older_seen = walk.bounded, 0, walk.bounded
        for page in self.history.pages(sorted(walk.boundary), exclude):
            in_window = any(commit.date in self.window for commit in page.commits)
            older_pages = 0 if in_window else older_pages + older_seen
            older_seen = older_seen or any(self._is_older(commit) for commit in page.commits)
            stop = bounded and older_pages >= FURTHER_PAGES and not page.last
            own, line = self._own_line(walk, page.commits, outside)
            commits = self._seen(page.commits, walk, own, bounded=bounded)
            walk = attrs.evolve(walk, boundary=_next_boundary(walk.boundary, page.commits), line=line)
            if stop:
                walk = attrs.evolve(walk, bounded=True, since=self.window.start)
            # A walk that was bounded before has its head already: stopping again moves nothing.
            parked: Literal["bounded"] | None = "bounded" if stop and not deepening else None
            yield Batch(
                repository=self.repository,
                commits=commits,
                walk=walk,
                walk_ended="done" if page.last else parked,
                listed=len(commits),
            )
            if stop:
                return

    def _is_older(self, commit: Commit) -> bool:
        return commit.date is not None and commit.date < self.window.start

    def _seen(self, commits: Iterable[Commit], walk: Walk, own: frozenset[str], *, bounded: bool) -> tuple[Commit, ...]:
        # Two sightings, which all commits of the page share.
        here = {
            is_own: frozenset({Sighting(self.repository.uuid, self.now, branch=walk.branch, own=is_own)})
            for is_own in (False, True)
        }
        # Behind the window of a first contact a file list is not worth a request, until --full.
        skipping = (bounded or walk.bounded) and not self.full

        def status(commit: Commit) -> FilesStatus:
            if commit.files is not None:
                return commit.files_status
            return "skipped" if skipping and self._is_older(commit) else "owed"

        return tuple(commit.but(sightings=here[commit.sha in own], files_status=status(commit)) for commit in commits)

    def _own_line(
        self, walk: Walk, commits: Iterable[Commit], outside: frozenset[str] | None
    ) -> tuple[frozenset[str], str | None]:
        """Return the page's commits on the branch's own first-parent line, and where that line goes on.

        The line ends at the first commit that another head reaches: from there on it is that branch's story.
        """
        line, found = walk.line, []
        for commit in commits:
            if commit.sha == line:
                found.append(commit.sha)
                line = commit.parents[0] if commit.parents else None
        if not found:
            return frozenset(), line
        reached = self.memory.reached_elsewhere(self.repository, walk.branch, found)
        reached |= {sha for branch, sha in self.tips.items() if branch != walk.branch}
        own: list[str] = []
        for sha in found:
            if sha in reached or (outside is not None and sha not in outside):
                return frozenset(own), None
            own.append(sha)
        return frozenset(own), line

    def _outside_main(self, walk: Walk) -> frozenset[str] | None:
        """Return the walk's commits that the main branch does not reach, when the store cannot tell.

        That is so when the main branch is not among those that are scanned; its name is known from the listing.
        """
        main = self.repository.main_branch
        if main is None or main == walk.branch or walk.line is None or main not in self.tips:
            return None
        if main in self.memory.heads(self.repository):
            return None
        outside: set[str] = set()
        try:
            for number, page in enumerate(self.history.pages([walk.line], [self.tips[main]]), start=1):
                outside.update(commit.sha for commit in page.commits)
                if number == OUTSIDE_PAGES:
                    break
        except CommitsVanished:
            return frozenset()
        except ListingExpired:
            pass  # what was listed will do: commits beyond count as not the branch's own
        return frozenset(outside)


def _next_boundary(boundary: frozenset[str], commits: Iterable[Commit]) -> frozenset[str]:
    listed = {commit.sha for commit in commits}
    parents = {parent for commit in commits for parent in commit.parents or ()}
    return (boundary | parents) - listed
