"""File lists of single commits, for those that were stored without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from releasecopilot_core import Commit

from .history import shallow_edge
from .log import CutOff, Detail, commits_of
from .running import Git, GitError


def file_lists(git: Git, shas: Sequence[str], detail: Detail) -> Iterator[Commit]:
    """Yield, for each of these commits that is here, the commit with its files; in no order, and nothing but that.

    Commits at the edge of a shallow clone are left out: against what they changed their files is not there.

    Raises:
        GitError: the repository is broken.
    """
    edge = shallow_edge(git)
    given = "".join(f"{sha}\n" for sha in shas if sha not in edge).encode()
    if not given:
        return
    # git reads its input where it meets --stdin, so what is to hold for that stands before it.
    arguments = ("log", "--ignore-missing", "--no-walk=unsorted", "--stdin", *detail.arguments())
    try:
        with closing(git.stream(*arguments, given=given)) as blocks:
            for commit in commits_of(blocks, detail):
                yield Commit(sha=commit.sha, files=commit.files)
    except CutOff:
        raise GitError("git log ended in the middle of a commit; check the repository with `git fsck`") from None
