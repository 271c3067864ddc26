"""One repository's part of a scan: its branches, owed file lists, and the last word about how it went."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Literal

import attrs

from releasecopilot_core import Batch, Commit, Memory, Problem, Repository, Scanned, ScanRequest
from releasecopilot_core.errors import SourceError
from releasecopilot_core.selecting import held, select_branches
from releasecopilot_core.walking import BranchWalker, branches_to_walk

from .files import file_lists
from .gate import Look
from .history import PAGE_LENGTH, GitHistory, IncompleteHistory
from .locating import Location
from .log import Detail
from .places import Place
from .refs import Refs
from .running import Git, GitError
from .selecting import SOURCE, change_mark


def repository_of(location: Location, refs: Refs) -> Repository:
    """Return the repository as the store knows it; its change mark tells where all branches stand."""
    return Repository(
        source=SOURCE,
        uuid=location.uuid,
        full_name=location.full_name,
        main_branch=refs.main,
        updated_on=change_mark(refs),
    )


@attrs.define
class Visit:
    """Scans one repository; `branches` are the selected ones that exist, once it is `listed`."""

    location: Location
    place: Place
    memory: Memory
    patterns: Sequence[str]
    request: ScanRequest
    detail: Detail
    branches: tuple[str, ...] = ()
    listed: bool = False
    _problems: list[Problem] = attrs.field(factory=list)
    _reached: bool = False

    def batches(self) -> Generator[Batch]:
        """Yield all batches of the repository; what goes wrong ends up in the last one, and is not raised."""
        name = self.location.full_name
        try:
            refs = self.place.refs()
        except SourceError as error:
            problem = Problem(kind=error.kind, message=str(error), repository=name)
            yield Batch(problems=(problem,), scanned=Scanned(name=name, status="failed"))
            return
        repository = repository_of(self.location, refs)
        with closing(self._work(refs, repository)) as work:
            yield from held(work, self.memory, repository, self.request.run_id)

    def _work(self, refs: Refs, repository: Repository) -> Generator[Batch]:
        look = Look.at(repository, self.request, self.memory, self.patterns)
        self.branches = select_branches(refs.tips, self.patterns, refs.main)
        self.listed = True
        try:
            if self.detail.files:
                start = self.request.window.start
                yield Batch(repository=repository, want_files="all" if self.request.full else start)
            owed = self.detail.files and self.memory.owed_files(repository, 1)
            if look.needed or owed:
                repository = yield from self._read(refs, repository, look)
            self._reached = True
        except SourceError as error:
            self._note(repository, error)
        incomplete: Literal["partial", "failed"] = "partial" if self._reached else "failed"
        scanned = Scanned(
            name=repository.full_name,
            status="complete" if not self._problems else incomplete,
            branches=self.branches,
            selection=look.selection,
            swept=True,
        )
        yield Batch(repository=repository, scanned=scanned, problems=tuple(self._problems))

    def _read(self, refs: Refs, repository: Repository, look: Look) -> Generator[Batch, None, Repository]:
        """Read history and files; returns the repository as it was read. A broken clone is made anew, once."""
        for is_last in (False, True):
            with self.place.reading(contents=self.detail.needs_contents) as git:
                self._reached = True
                try:
                    now = Refs(self.place.refs_in(git).tips, refs.main)
                    repository = repository_of(self.location, now)
                    self.branches = select_branches(now.tips, self.patterns, now.main)
                    if look.needed:
                        yield from self._history(git, now, repository, look)
                    if self.detail.files:
                        yield from self._files(git, repository)
                    return repository
                except GitError:
                    if is_last or not self.place.renew(git):
                        raise
        raise AssertionError("the second time ends with a result or an error")

    def _note(self, repository: Repository, error: SourceError, message: str | None = None) -> None:
        problem = Problem(kind=error.kind, message=message or str(error), repository=repository.full_name)
        if problem not in self._problems:
            self._problems.append(problem)

    # --- history ---------------------------------------------------------------------------------------------

    def _history(self, git: Git, refs: Refs, repository: Repository, look: Look) -> Iterator[Batch]:
        gone = tuple(branch for branch in self.memory.heads(repository) if branch not in refs.tips)
        yield Batch(repository=repository, deleted_branches=gone, problems=tuple(self._notes(repository, refs)))
        for branch, tips in self._to_walk(repository, refs):
            yield from self._walk(git, branch, tips, repository, look)
        walked = {*gone, *(name for name in self.memory.heads(repository) if name not in refs.tips)}
        if walked:
            # A walk of one of them has set its head once more.
            yield Batch(repository=repository, deleted_branches=tuple(sorted(walked)))

    def _notes(self, repository: Repository, refs: Refs) -> Iterator[Problem]:
        if not self.branches:
            wanted = ", ".join(map(repr, self.patterns)) or "a main branch"
            message = f"none of its {len(refs.tips)} branches is wanted ({wanted}); nothing is scanned"
            if not refs.tips:
                message = "it has no branch with a commit; nothing is scanned"
            yield Problem(kind="note", message=message, repository=repository.full_name)

    def _to_walk(self, repository: Repository, refs: Refs) -> list[tuple[str, Mapping[str, str]]]:
        """Return the branches to walk, in order, each with the tips that its walker is to know.

        Thousands of branches that stand where they stood cost nothing.
        """
        heads = self.memory.heads(repository)
        return branches_to_walk(
            main=refs.main,
            walks=self.memory.walks(repository),
            tips=refs.tips,
            wanted=[name for name in self.branches if refs.tips[name] != heads.get(name)],
            window=self.request.window,
            full=self.request.full,
        )

    def _walk(
        self, git: Git, branch: str, tips: Mapping[str, str], repository: Repository, look: Look
    ) -> Iterator[Batch]:
        walker = BranchWalker(
            repository=repository,
            memory=self.memory,
            history=GitHistory(git, self.detail),
            window=self.request.window,
            tips=tips,
            full=self.request.full,
            known_before=look.known_before,
        )
        try:
            for batch in walker.walk(branch):
                self._problems += batch.problems
                # Told once, in the last batch.
                yield attrs.evolve(batch, problems=())
        except IncompleteHistory as error:
            self._note(repository, error)
        except SourceError as error:
            if isinstance(error, GitError) or error.kind == "stopped":
                raise
            self._note(repository, error, f"branch {branch!r}: {error}")

    # --- files -----------------------------------------------------------------------------------------------

    def _files(self, git: Git, repository: Repository) -> Iterator[Batch]:
        """Read the file lists that are owed, many at a time."""
        after = ""
        while shas := self.memory.owed_files(repository, PAGE_LENGTH, after):
            after = shas[-1]
            found = {commit.sha: commit for commit in file_lists(git, shas, self.detail)}
            gone = self._vanished(git, [sha for sha in shas if sha not in found])
            refused = [Commit(sha=sha, files_status="unobtainable") for sha in gone]
            yield Batch(
                repository=repository,
                commits=(*found.values(), *refused),
                problems=tuple(self._given_up(repository, gone)),
            )

    def _vanished(self, git: Git, shas: Sequence[str]) -> list[str]:
        return [sha for sha, kind in zip(shas, git.kinds(shas), strict=True) if kind != "commit"]

    def _given_up(self, repository: Repository, shas: Sequence[str]) -> Iterator[Problem]:
        for sha in shas:
            message = f"{repository.full_name}: commit {sha} is gone; its files are not known (--full asks again)"
            yield Problem(kind="unobtainable", message=message, repository=repository.full_name)


def commits_ahead(git: Git, include: Sequence[str], exclude: Mapping[str, str]) -> int | None:
    """Return how many commits a walk from `include` would list; `None` when it cannot be told beforehand."""
    given = "".join([*(f"{sha}\n" for sha in include), *(f"^{sha}\n" for sha in set(exclude.values()))])
    try:
        return int(git.run("rev-list", "--count", "--stdin", given=given.encode()))
    except (GitError, ValueError):
        return None
