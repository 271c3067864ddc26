"""One repository's part of a scan: branches, pull requests, file lists, and the last word about how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal

import attrs
from releasecopilot_git.running import GitError

from releasecopilot_core import Batch, Commit, Memory, Problem, Repository, Scanned, ScanRequest, Stale
from releasecopilot_core.errors import AuthenticationError, SourceError
from releasecopilot_core.selecting import select_branches
from releasecopilot_core.walking import BranchWalker, History, branches_to_walk

from .api import Api
from .files import ApiFiles
from .gate import Look
from .git_transport import Clone
from .history import ApiHistory
from .pull_requests import PullRequestVisit
from .selecting import list_branches
from .threads import in_threads

#: So many file lists go into the store at a time: a crash costs at most these requests once more.
FILES_A_BATCH = 50

#: After these the next request would end the same way; after others the next branch may well be fine.
_STOPPING = frozenset({"rate-limited", "budget", "unreachable", "stopped", "forbidden", "gone"})

#: Kind of the problems that say that commits are not there any more: the service names them. A bare 404 is lost access.
_GONE = "vanished"


@attrs.define
class Visit:
    """Scans one repository; `branches` are the selected ones that exist, first in configured order, once it is `listed`."""

    api: Api
    memory: Memory
    repository: Repository
    path: str
    clone: Clone
    look: Look
    patterns: Sequence[str]
    request: ScanRequest
    fetch_files: bool
    fetch_pull_requests: bool
    concurrency: int
    branches: tuple[str, ...] = ()
    listed: bool = False
    _problems: list[Problem] = attrs.field(factory=list)
    _pull_requests_to: datetime | None = None

    def batches(self) -> Iterator[Batch]:
        """Yield all batches of the repository; what the service refuses ends up in the last one, and is not raised.

        Raises:
            AuthenticationError: the credential was refused, so nothing else can be asked either.
        """
        try:
            yield from self._history()
            if self.look.needed and self.fetch_pull_requests:
                yield from self._pull_requests()
            if self.fetch_files:
                yield from self._files()
        except AuthenticationError:
            raise
        except SourceError as error:
            self._note(error)
        finally:
            self.clone.close()
        incomplete: Literal["partial", "failed"] = "partial" if self.listed else "failed"
        scanned = Scanned(
            name=self.repository.full_name,
            status="complete" if not self._problems else incomplete,
            branches=self.branches,
            selection=self.look.selection,
            swept=self.look.sweep,
            pull_requests_to=self._pull_requests_to,
            whole=not self.request.repair,
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
            self.listed = True
            return
        # Read before the listing: what is announced after it may be missing there.
        stale = self.memory.stale_branches(self.repository)
        tips = {} if self.request.repair and not stale else self._tips()
        self.listed = True
        yield from self._told()
        selected = select_branches(tips, self.patterns, self.repository.main_branch)
        self.branches = tuple(branch for branch in stale if branch in tips) if self.request.repair else selected
        if tips or not self.request.repair:
            yield from self._branches(tips, stale)

    def _tips(self) -> dict[str, str]:
        """Return all branches with their heads, from where history comes from."""
        while (git := self.clone.for_history()) is not None:
            try:
                return self.clone.tips(git)
            except GitError as error:
                self.clone.broken(error)
        return list_branches(self.api, self.path)

    def _told(self) -> Iterator[Batch]:
        """Tell why the API takes over from git; nothing is missing because of that."""
        notes, self.clone.notes = tuple(self.clone.notes), []
        if notes:
            yield Batch(repository=self.repository, problems=notes)

    def _branches(self, tips: Mapping[str, str], stale: Mapping[str, Stale]) -> Iterator[Batch]:
        gone = tuple(branch for branch in self.memory.heads(self.repository) if branch not in tips)
        yield Batch(repository=self.repository, deleted_branches=gone, problems=tuple(self._notes(tips)))
        for branch, known in self._to_walk(tips, stale):
            before = len(self._problems)
            yield from self._walk(branch, known)
            if branch in stale and len(self._problems) == before:
                yield Batch(repository=self.repository, settled_branches={branch: stale[branch].marks})
        for branch in (name for name in stale if name not in tips):
            yield from self._last_seen(branch, stale[branch], tips)
        walked = {*gone, *(name for name in self.memory.heads(self.repository) if name not in tips)}
        if walked:
            # A walk of one of them has set its head once more.
            yield Batch(repository=self.repository, deleted_branches=tuple(sorted(walked)))

    def _notes(self, tips: Mapping[str, str]) -> Iterator[Problem]:
        if tips and not self.branches and not self.request.repair:
            wanted = ", ".join(map(repr, self.patterns)) or "a main branch"
            message = f"none of its {len(tips)} branches is wanted ({wanted}); nothing is scanned"
            yield Problem(kind="note", message=message, repository=self.repository.full_name)

    def _to_walk(self, tips: Mapping[str, str], stale: Mapping[str, Stale]) -> list[tuple[str, Mapping[str, str]]]:
        """Return the branches to walk, in order; webhooks tell of all, so what they announced is wanted as well."""
        announced = [branch for branch in stale if branch in tips]
        selected = select_branches(tips, self.patterns, self.repository.main_branch)
        return branches_to_walk(
            main=self.repository.main_branch,
            walks=() if self.request.repair else self.memory.walks(self.repository),
            tips=tips,
            wanted=announced if self.request.repair else [*selected, *announced],
            window=self.request.window,
            full=self.request.full,
        )

    def _walk(self, branch: str, tips: Mapping[str, str], *, announced: bool = False) -> Iterator[Batch]:
        # What was pushed to a branch that is gone, git would not send; the API may still have it.
        while (git := None if announced else self.clone.for_history()) is not None:
            try:
                yield from self._walked(branch, tips, self.clone.history(git), announced=announced)
                return
            except GitError as error:
                # What is stored stays: whoever takes over goes on from there.
                self.clone.broken(error)
                yield from self._told()
        yield from self._walked(branch, tips, ApiHistory(self.api, self.path), announced=announced)

    def _walked(self, branch: str, tips: Mapping[str, str], history: History, *, announced: bool) -> Iterator[Batch]:
        walker = BranchWalker(
            repository=self.repository,
            memory=self.memory,
            history=history,
            window=self.request.window,
            tips=tips,
            full=self.request.full,
            known_before=self.look.known_before or announced,
        )
        try:
            for batch in walker.walk(branch):
                self._problems += batch.problems
                # Told once, in the last batch.
                yield attrs.evolve(batch, problems=())
        except (AuthenticationError, GitError):
            raise
        except SourceError as error:
            if error.kind in _STOPPING:
                raise
            self._note(error, f"branch {branch!r}: {error}")

    def _last_seen(self, branch: str, mark: Stale, tips: Mapping[str, str]) -> Iterator[Batch]:
        """Fetch what was pushed to a branch that is gone by now, as far as the service still has it.

        Only commits that the service says are gone are given up; after any other fault the branch stays announced.
        """
        problems: list[Problem] = []
        if mark.target is not None:
            kept, self._problems = self._problems, []
            try:
                yield from self._walk(branch, {**tips, branch: mark.target}, announced=True)
            finally:
                lost, self._problems = self._problems, kept
            if faults := [problem for problem in lost if problem.kind != _GONE]:
                self._problems += [problem for problem in faults if problem not in self._problems]
                return
            if lost:
                message = f"branch {branch!r} was deleted before all that was pushed to it could be fetched"
                problems.append(Problem(kind="note", message=message, repository=self.repository.full_name))
        yield Batch(repository=self.repository, settled_branches={branch: mark.marks}, problems=tuple(problems))

    # --- pull requests ---------------------------------------------------------------------------------------

    def _pull_requests(self) -> Iterator[Batch]:
        """Fetch pull requests; when that is not allowed, files are fetched all the same."""
        state = self.memory.repository(self.repository.source, self.repository.uuid)
        mark = None if state is None else state.pull_requests_to
        start = self.request.window.start
        visit = PullRequestVisit(
            api=self.api,
            path=self.path,
            repository=self.repository,
            memory=self.memory,
            window=self.request.window,
            since=None if self.request.full else mark or start,
            first=mark is None and not self.request.full,
        )
        stale = self.memory.stale_pull_requests(self.repository)
        try:
            if self.request.repair:
                yield from visit.announced(stale)
            else:
                yield from visit.updated(stale)
                self._pull_requests_to = max(filter(None, (mark, visit.seen_to)), default=start)
        except AuthenticationError:
            raise
        except SourceError as error:
            remedy = "; bitbucket.pull_requests: false leaves them out" if error.kind == "forbidden" else ""
            self._note(error, f"pull requests: {error}{remedy}")
            if error.kind in _STOPPING - {"forbidden"}:
                raise

    # --- files -----------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[Batch]:
        """Fetch what is owed; a list that cannot be had now stays owed, and the repository is partial."""
        yield Batch(repository=self.repository, want_files="all" if self.request.full else self.request.window.start)
        while (git := self.clone.for_files(self.memory.owed_count(self.repository))) is not None:
            try:
                yield from self.clone.files(git, self.memory)
                break
            except GitError as error:
                self.clone.broken(error)
        yield from self._told()
        yield from self._files_by_api()

    def _files_by_api(self) -> Iterator[Batch]:
        """Fetch what a clone did not have: a few lists, or commits that no branch has any more."""
        files = ApiFiles(self.api, self.path, self.repository.full_name)
        after = ""
        while shas := self.memory.owed_files(self.repository, FILES_A_BATCH, after):
            after = shas[-1]
            commits: list[Commit] = []
            refused: list[Problem] = []
            failed: list[SourceError] = []
            jobs = [partial(_fetch, files, sha) for sha in shas]
            for commit, problem, error in in_threads(jobs, self.concurrency, is_ended=self.api.is_closed):
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
