"""What webhooks carry: `repo:push` and `pullrequest:…` as Bitbucket sends them.

Taken from payloads that jenkinsci/bitbucket-branch-source-plugin (2025), woodpecker-ci/woodpecker (2022) and drone/go-scm
(2018) recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from .git import GitError, Ref
from .pull_shapes import pull_request
from .pulls import PullRequest
from .repositories import Repository
from .shapes import Shapes

_MOST = 5


@attrs.frozen
class Change:
    """A ref that was made (`old` is `None`), moved or deleted (`new` is `None`)."""

    old: Ref | None
    new: Ref | None

    @property
    def ref(self) -> Ref:
        """Return the ref as it is, or was."""
        found = self.new or self.old
        if found is None:
            raise ValueError("a change of nothing")
        return found


def push(shapes: Shapes, repository: Repository, changes: Sequence[Change], actor: str | None) -> dict[str, Any]:
    """Return the body of a `repo:push`; `actor` is an e-mail address."""
    return {
        "push": {"changes": [_change(shapes, repository, change) for change in changes]},
        "repository": subject(shapes, repository),
        "actor": shapes.user(actor),
    }


def pull_request_event(shapes: Shapes, repository: Repository, pull: PullRequest, actor: str | None) -> dict[str, Any]:
    """Return the body of a `pullrequest:…`: it tells how things are, and not what has changed."""
    return {
        "repository": subject(shapes, repository),
        "actor": shapes.user(actor),
        "pullrequest": pull_request(shapes, repository, pull),
    }


def subject(shapes: Shapes, repository: Repository) -> dict[str, Any]:
    """Return the repository that an event is about: more than in other objects, less than by itself."""
    whole = shapes.repository(repository)
    keys = (
        "type",
        "full_name",
        "name",
        "scm",
        "website",
        "owner",
        "workspace",
        "is_private",
        "project",
        "uuid",
        "parent",
    )
    return {key: whole[key] for key in keys} | {"links": shapes.short_repository(repository)["links"]}


def _change(shapes: Shapes, repository: Repository, change: Change) -> dict[str, Any]:
    old, new = change.old, change.new
    value: dict[str, Any] = {
        "old": None if old is None else _ref(shapes, repository, old),
        "new": None if new is None else _ref(shapes, repository, new),
        "created": old is None,
        "closed": new is None,
        "forced": old is not None and new is not None and not repository.git.contains(new.sha, old.sha),
        "truncated": False,
    }
    if new is None:
        return value  # without links and commits (`branch_deleted.json`)
    value["links"] = _links(shapes, repository, old, new)
    if new.kind == "branch":
        # A new branch shows its ancestry, however long known elsewhere (`branch_created.json`).
        shas = repository.git.newest(new.sha, None if old is None else old.sha, _MOST + 1)
        value["truncated"] = len(shas) > _MOST
        value["commits"] = [_commit(shapes, repository, sha) for sha in shas[:_MOST]]
    return value


def _links(shapes: Shapes, repository: Repository, old: Ref | None, new: Ref) -> dict[str, Any]:
    link, page = shapes.repository_link(repository), shapes.repository_page(repository)
    if old is None:
        # No exclude: whoever walks this link walks all of the history.
        links = {"commits": {"href": f"{link}/commits?include={new.sha}"}}
        return links if new.kind == "tag" else {**links, "html": {"href": f"{page}/branch/{new.name}"}}
    sides = f"{new.sha}..{old.sha}"
    return {
        "commits": {"href": f"{link}/commits?include={new.sha}&exclude={old.sha}"},
        "diff": {"href": f"{link}/diff/{sides}"},
        "html": {"href": f"{page}/branches/compare/{sides}"},
    }


def _ref(shapes: Shapes, repository: Repository, ref: Ref) -> dict[str, Any]:
    try:
        commit = repository.git.commit(ref.sha)
    except GitError:
        # Rewritten, and collected before we could look.
        target: dict[str, Any] = {"type": "commit", "hash": ref.sha, "links": shapes.commit_links(repository, ref.sha)}
        return {"type": ref.kind, "name": ref.name, "target": target}
    value = shapes.ref(repository, ref, commit)
    value["target"] = _extended(shapes.commit(repository, commit)) | {"links": shapes.commit_links(repository, ref.sha)}
    if ref.kind == "branch":
        value["sync_strategies"] = ["merge_commit", "rebase"]
    return value


def _commit(shapes: Shapes, repository: Repository, sha: str) -> dict[str, Any]:
    return _extended(shapes.commit(repository, repository.git.commit(sha)))


def _extended(commit: dict[str, Any]) -> dict[str, Any]:
    """Return a commit as events tell it: without its repository, with parts that are always empty."""
    rest = {key: value for key, value in commit.items() if key != "repository"}
    return {**rest, "committer": {}, "rendered": {}, "properties": {}}
