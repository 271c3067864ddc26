"""Pull requests in the shape that Bitbucket gives them: with hashes of twelve digits.

Taken from payloads that jenkinsci/bitbucket-branch-source-plugin (2026) and woodpecker-ci/woodpecker (2023) recorded.
"""

from __future__ import annotations

from typing import Any

from .pulls import PullRequest
from .repositories import Repository
from .shapes import Shapes, microseconds, rendered

_SHORT = 12
#: What lists hold back unless `fields=+…` asks for it (constructorfabric/insight, notes).
HELD_BACK = ("values.reviewers", "values.participants")


def pull_request(
    shapes: Shapes, repository: Repository, pull: PullRequest, *, fork_gone: bool = False
) -> dict[str, Any]:
    """Return a pull request object; with `fork_gone` its source has lost repository and commit."""
    link = f"{shapes.repository_link(repository)}/pullrequests/{pull.id}"
    children = ("commits", "approve", "request-changes", "comments", "activity", "merge", "decline", "statuses")
    return {
        "type": "pullrequest",
        "id": pull.id,
        "title": pull.title,
        "description": pull.description,
        "rendered": {"title": rendered(pull.title), "description": rendered(pull.description)},
        "summary": rendered(pull.description),
        "state": pull.state,
        "draft": pull.draft,
        "author": shapes.user(pull.author),
        "closed_by": None if pull.is_open else shapes.user(pull.closed_by),
        "reason": "",
        "created_on": microseconds(pull.created_on),
        "updated_on": microseconds(pull.updated_on),
        "merge_commit": None if pull.merge_sha is None else _commit(shapes, repository, pull.merge_sha),
        "close_source_branch": pull.close_source_branch,
        "source": _source(shapes, repository, pull, fork_gone=fork_gone),
        "destination": {
            "branch": {"name": pull.destination},
            "commit": _commit(shapes, repository, pull.destination_sha),
            "repository": shapes.short_repository(repository),
        },
        "comment_count": 0,
        "task_count": 0,
        "reviewers": [],
        "participants": [],
        "links": {
            "self": {"href": link},
            "html": {"href": f"{shapes.repository_page(repository)}/pull-requests/{pull.id}"},
            **{name: {"href": f"{link}/{name}"} for name in children},
            **{name: {"href": difference(shapes, repository, pull, name)} for name in ("diff", "diffstat")},
        },
    }


def _source(shapes: Shapes, repository: Repository, pull: PullRequest, *, fork_gone: bool) -> dict[str, Any]:
    return {
        "branch": {"name": pull.source, "links": {}},
        "commit": None if fork_gone else _commit(shapes, repository, pull.source_sha),
        "repository": None if fork_gone else shapes.short_repository(repository),
    }


def difference(shapes: Shapes, repository: Repository, pull: PullRequest, name: str) -> str:
    """Return where a pull request's `diff` or `diffstat` is: source and destination stand in one part, parted by `%0D`."""
    full_name = f"{shapes.workspace}/{repository.slug}"
    spec = f"{full_name}:{pull.source_sha[:_SHORT]}%0D{pull.destination_sha[:_SHORT]}"
    return f"{shapes.repository_link(repository)}/{name}/{spec}?from_pullrequest_id={pull.id}&topic=true"


def _commit(shapes: Shapes, repository: Repository, sha: str) -> dict[str, Any]:
    short = sha[:_SHORT]
    return {"type": "commit", "hash": short, "links": shapes.commit_links(repository, short)}
