"""List a repository's history with git, for the walk of the core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice

import attrs

from releasecopilot_core import Commit
from releasecopilot_core.errors import CommitsVanished, SourceError
from releasecopilot_core.walking import Page

from .log import CutOff, Detail, commits_of
from .running import Git, GitError

#: One page is one transaction of the store: a few large ones are faster, and a crash costs at most one.
PAGE_LENGTH = 1_000


class IncompleteHistory(SourceError):
    """A shallow clone: the history goes on, but not here."""

    def __init__(self, count: int) -> None:
        what = "1 commit" if count == 1 else f"{count} commits"
        super().__init__(
            f"a shallow clone: what lies behind {what} is missing; run `git fetch --unshallow` in it, then scan again",
            kind="shallow",
        )


@attrs.frozen
class GitHistory:
    """The history of one repository over `git log`, files included; implements `releasecopilot_core.walking.History`."""

    git: Git
    detail: Detail = attrs.field(factory=Detail)
    page_length: int = PAGE_LENGTH

    def pages(self, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Page]:
        """Yield what is reachable from `include` and not from `exclude`, while git is still at work.

        Raises:
            CommitsVanished: with all commits named that the repository does not have.
            IncompleteHistory: a shallow clone ended; its pages came, and none of them was the last.
            GitError: the repository is broken.
        """
        given = "".join([*(f"{sha}\n" for sha in include), *(f"^{sha}\n" for sha in exclude)])
        arguments = ("log", "--stdin", "--topo-order", *self.detail.arguments())
        edge, reached = shallow_edge(self.git), 0
        try:
            with closing(self.git.stream(*arguments, given=given.encode())) as blocks:
                commits = commits_of(blocks, self.detail)
                ahead = next(commits, None)
                if ahead is None:
                    yield Page((), last=True)
                while ahead is not None:
                    page = (ahead, *islice(commits, self.page_length - 1))
                    ahead = next(commits, None)
                    if edge:
                        page = tuple(_mended(commit, edge) for commit in page)
                        reached += sum(commit.sha in edge for commit in page)
                    yield Page(page, last=ahead is None and not reached)
        except (GitError, CutOff) as error:
            raise self._explained(error, [*include, *exclude]) from error
        if reached:
            raise IncompleteHistory(reached)

    def _explained(self, error: Exception, shas: Sequence[str]) -> SourceError:
        """Return what a failed listing comes to: commits that are not there, or a repository that cannot be read."""
        gone = [sha for sha, kind in zip(shas, self.git.kinds(shas), strict=True) if kind != "commit"]
        if gone:
            return CommitsVanished(gone)
        if isinstance(error, GitError):
            return error
        return GitError("git log ended in the middle of a commit; check the repository with `git fsck`")


def shallow_edge(git: Git) -> Mapping[str, tuple[str, ...]]:
    """Return the commits whose parents a shallow clone leaves out, with those parents; none in any other repository."""
    file = git.directory / "shallow"
    shas = file.read_text(encoding="ascii").split() if file.is_file() else []
    if not shas:
        return {}
    objects = git.run("cat-file", "--batch", given="".join(f"{sha}\n" for sha in shas).encode())
    found, place = {}, 0
    while place < len(objects):
        head, _, _ = objects[place:].partition(b"\n")
        sha, kind, *size = head.decode("ascii", "replace").split()
        place += len(head) + 1
        if kind == "missing":
            continue
        content = objects[place : place + int(size[0])]
        place += len(content) + 1
        lines = content.partition(b"\n\n")[0].decode("ascii", "replace").split("\n")
        found[sha] = tuple(line[7:] for line in lines if line.startswith("parent "))
    return found


def _mended(commit: Commit, edge: Mapping[str, tuple[str, ...]]) -> Commit:
    """Return the commit with its true parents; what it changed against them cannot be told here."""
    if commit.sha not in edge:
        return commit
    return attrs.evolve(commit, parents=edge[commit.sha], files=None, files_status="owed")
