"""Merge one commit into a branch, without a work tree."""

from __future__ import annotations

from datetime import datetime

import attrs

from .git import Git, GitError


class CannotMerge(Exception):
    """Why a merge is not possible; the text is for whoever asked for it."""


class BranchMoved(CannotMerge):
    """Somebody else moved the branch meanwhile."""


@attrs.frozen
class Merge:
    """What is to be merged into which branch, how, by whom and when.

    `strategy` is `merge_commit`, `squash` or `fast_forward`; `onto` the head that the branch has to have.
    """

    branch: str
    onto: str
    sha: str
    strategy: str
    message: str
    name: str
    email: str
    when: datetime


def merge(git: Git, wanted: Merge) -> str:
    """Merge, move the branch, and return its new head.

    Raises:
        CannotMerge: a conflict, nothing to merge, no fast-forward, or a branch that somebody has checked out.
        BranchMoved: its head is another one by now.
    """
    if wanted.branch in git.checked_out():
        raise CannotMerge(f"{wanted.branch} is checked out in a work tree that is served; serve a bare clone instead")
    base = git.merge_base(wanted.onto, wanted.sha)
    if base == wanted.sha:
        raise CannotMerge("There are no changes to be merged")
    if wanted.strategy == "fast_forward":
        if base != wanted.onto:
            raise CannotMerge("The branch cannot be fast-forwarded")
        head = wanted.sha
    else:
        head = _commit(git, wanted)
    try:
        git.run("update-ref", "-m", f"merge {wanted.sha}", f"refs/heads/{wanted.branch}", head, wanted.onto)
    except GitError as error:
        raise BranchMoved("One of the refs involved changed while attempting to merge") from error
    return head


def close(git: Git, branch: str, sha: str) -> bool:
    """Delete a branch that was merged, unless it has moved on or somebody works on it; returns whether it is gone."""
    if branch in git.checked_out():
        return False
    try:
        git.run("update-ref", "-d", f"refs/heads/{branch}", sha)
    except GitError:
        return False
    return True


def _commit(git: Git, wanted: Merge) -> str:
    try:
        tree = git.run("merge-tree", "--write-tree", "--no-messages", wanted.onto, wanted.sha).split()[0]
    except GitError as error:
        if error.code == 1:
            raise CannotMerge("There are conflicts that have to be resolved first") from error
        if error.code == 129:
            raise CannotMerge("merging needs git 2.38 or later on the machine of the sandbox") from error
        raise CannotMerge(str(error)) from error
    parents = [wanted.onto] if wanted.strategy == "squash" else [wanted.onto, wanted.sha]
    stamp = f"{int(wanted.when.timestamp())} +0000"
    person = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", wanted.name), ("EMAIL", wanted.email), ("DATE", stamp))
    }
    options = [option for sha in parents for option in ("-p", sha)]
    return git.run("commit-tree", tree, *options, given=wanted.message, variables=person).strip()
