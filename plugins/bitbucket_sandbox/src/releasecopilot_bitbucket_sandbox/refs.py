"""Branches and tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .answers import Answer, error
from .call import Call
from .filtering import matching, ordered
from .git import Ref


def branches(call: Call) -> Answer:
    """`GET …/refs/branches`: 10 a page, 100 at most; `q` on the name, `sort` by `name` or `target.date`.

    By name without `sort`, like `git branch --list`; `sort=name` is natural, so that 1.10 comes after 1.9 (Atlassian's
    OpenAPI text). Envelope recorded in codecov/shared, `test_get_branches.yaml`.
    """
    return _listed(call, call.repository.git.refs("heads"))


def tags(call: Call) -> Answer:
    """`GET …/refs/tags`: as branches; lightweight ones have neither message nor tagger (drone/go-scm, `tags.json`)."""
    return _listed(call, call.repository.git.refs("tags"))


def all_refs(call: Call) -> Answer:
    """`GET …/refs`: branches and tags together."""
    return _listed(call, call.repository.git.refs("heads", "tags"))


def _listed(call: Call, found: Sequence[Ref]) -> Answer:
    query, sort = call.arguments.get("q"), call.arguments.get("sort")
    keys: dict[str, Callable[[Ref], Any]] = {"name": lambda ref: ref.name, "target.hash": lambda ref: ref.sha}
    if "target.date" in f"{query} {sort}":
        # Only now is each head's commit needed.
        shas = list(dict.fromkeys(ref.sha for ref in found))
        dates = {commit.sha: commit.date for commit in call.repository.git.commits(shas)}
        keys["target.date"] = lambda ref: dates[ref.sha]
    chosen = ordered(matching(found, query, keys), sort, keys)
    page, envelope = call.page(chosen, default=10, most=100)
    targets = call.repository.git.commits([ref.sha for ref in page])
    values = [call.shapes.ref(call.repository, ref, target) for ref, target in zip(page, targets, strict=True)]
    return Answer(200, {"values": values, **envelope})


def branch(call: Call, name: str) -> Answer:
    """`GET …/refs/branches/{name}`: the slash in a name may be encoded or not."""
    return _one(call, "heads", name, f"No such branch: {name}")


def tag(call: Call, name: str) -> Answer:
    """`GET …/refs/tags/{name}`."""
    return _one(call, "tags", name, f"No such tag: {name}")


def _one(call: Call, kind: str, name: str, missing: str) -> Answer:
    for ref in call.repository.git.refs(kind):
        if ref.name == name:
            return Answer(200, call.shapes.ref(call.repository, ref, call.repository.git.commit(ref.sha)))
    raise error(404, missing)
