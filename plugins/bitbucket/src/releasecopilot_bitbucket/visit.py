"""One repository's part of a scan: branches, walks, file lists, and the last word about how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import attrs

from releasecopilot_core import Batch, Commit, Memory, Problem, Repository, Scanned, Window
from releasecopilot_core.errors import AuthenticationError, SourceError
from releasecopilot_core.walking import BranchWalker

from .api import Api
from .files import ApiFiles
from .gate import Look
from .history import ApiHistory
from .selecting import list_branches, select_branches
from .threads import in_threads

#: So many file lists go into the store at a time: a crash costs at most these requests once more.
FILES_A_BATCH = 50

#: After these the next request would end the same way; after others the next branch may well be fine.
_STOPPING = frozenset({"rate-limited", "unreachable", "stopped", "forbidden", "gone"})


@attrs.define
class Visit:
    """Scans one repository; `branches` are the selected ones that exist, first in configured order."""

    api: Api
    memory: Memory
    repository: Repository
    path: str
    look: Look
    patterns: Sequence[str]
    window: Window
    full: bool
    fetch_files: bool
    concurrency: int
    branches: tuple[str, ...] = ()
    _problems: list[Problem] = attrs.field(factory=list)
    _began: bool = False

    def batches(self) -> Iterator[Batch]:
        """Yield all batches of the repository; what the service refuses ends up in the last one, and is not raised.

        Raises:
            AuthenticationError: the credential was refused, so nothing else can be asked either.
        """
        try:
            yield from self._history()
            if self.fetch_files:
                yield from self._files()
        except AuthenticationError:
            raise
        except SourceError as error:
            self._note(error)
        incomplete: Literal["partial", "failed"] = "partial" if self._began else "failed"
        scanned = Scanned(
            name=self.repository.full_name,
            status="complete" if not self._problems else incomplete,
            branches=self.branches,
            selection=self.look.selection,
            swept=self.look.sweep,
        )
        yield Batch(repository=self.repository, scanned=scanned, problems=tuple(self._problems))

    def _note(self, error: SourceError, message: str | None = None) -> None:
        name = self.repository.full_name
        text = message or str(error)
        problem = Problem(kind=error.kind, message=text, repository=name)
        if problem not in self._problems:
            self._problems.append(problem)

    # --- history ---------------------------------------------------------------------------------------------

    def _history(self) -> Iterator[Batch]:
        if not self.look.needed:
            # Nothing has moved: the heads that are stored are those that the service would list.
            stored = self.memory.heads(self.repository)
            self.branches = select_branches(stored, self.patterns, self.repository.main_branch)
            self._began = True
            return
        tips = list_branches(self.api, self.path)
        self._began = True
        self.branches = select_branches(tips, self.patterns, self.repository.main_branch)
        gone = tuple(branch for branch in self.memory.heads(self.repository) if branch not in tips)
        yield Batch(repository=self.repository, deleted_branches=gone, problems=tuple(self._notes(tips)))
        for branch in self._order(tips):
            yield from self._walk(branch, tips)
        if gone:
            # A walk that was resumed for one of them has set its head once more.
            yield Batch(repository=self.repository, deleted_branches=gone)

    def _notes(self, tips: Mapping[str, str]) -> Iterator[Problem]:
        if tips and not self.branches:
            wanted = ", ".join(map(repr, self.patterns)) or "a main branch"
            message = f"none of its {len(tips)} branches is wanted ({wanted}); nothing is scanned"
            yield Problem(kind="note", message=message, repository=self.repository.full_name)

    def _order(self, tips: Mapping[str, str]) -> list[str]:
        """Return the branches to walk, the main branch first; also deleted ones whose walk was cut off."""
        open_walks = {walk.branch for walk in self.memory.walks(self.repository) if not walk.bounded}
        main = self.repository.main_branch
        chosen = select_branches({*tips, *open_walks}, self.patterns, main)
        return sorted(chosen, key=lambda branch: branch != main)

    def _walk(self, branch: str, tips: Mapping[str, str]) -> Iterator[Batch]:
        walker = BranchWalker(
            repository=self.repository,
            memory=self.memory,
            history=ApiHistory(self.api, self.path),
            window=self.window,
            tips=tips,
            full=self.full,
            known_before=self.look.known_before,
        )
        try:
            for batch in walker.walk(branch):
                self._problems += batch.problems
                # Told once, in the last batch.
                yield attrs.evolve(batch, problems=())
        except AuthenticationError:
            raise
        except SourceError as error:
            if error.kind in _STOPPING:
                raise
            self._note(error, f"branch {branch!r}: {error}")

    # --- files -----------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[Batch]:
        """Fetch what is owed; a list that cannot be had now stays owed, and the repository is partial."""
        yield Batch(repository=self.repository, want_files="all" if self.full else self.window.start)
        files = ApiFiles(self.api, self.path, self.repository.full_name)
        after = ""
        while shas := self.memory.owed_files(self.repository, FILES_A_BATCH, after):
            after = shas[-1]
            commits: list[Commit] = []
            refused: list[Problem] = []
            failed: list[SourceError] = []
            for commit, problem, error in in_threads([partial(_fetch, files, sha) for sha in shas], self.concurrency):
                commits += [commit] if commit else []
                refused += [problem] if problem else []
                failed += [error] if error else []
            yield Batch(repository=self.repository, commits=tuple(commits), problems=tuple(refused))
            for error in failed:
                self._note(error)
            if any(error.kind in _STOPPING for error in failed):
                return


def _fetch(files: ApiFiles, sha: str) -> Iterator[tuple[Commit | None, Problem | None, SourceError | None]]:
    try:
        commit, problem = files.of(sha)
    except AuthenticationError:
        raise
    except SourceError as error:
        yield None, None, error
    else:
        yield commit, problem, None
