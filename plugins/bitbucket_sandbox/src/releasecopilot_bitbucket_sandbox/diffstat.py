"""What changed, by file, and where histories met."""

from __future__ import annotations

from .answers import Answer, Refused, bad_request, error
from .call import Call
from .git import EMPTY_TREE


def diffstat(call: Call, spec: str) -> Answer:
    """`GET …/diffstat/{spec}`: one sha against its first parent, or `A..B`: what A changes on top of B.

    The two stand the other way round than in git (jenkinsci/bitbucket-branch-source-plugin builds new..old). A root
    commit is compared with nothing. `renames` defaults to true, `topic` compares from the merge base; without `topic` the
    two are compared directly, though the default is nowhere stated. 500 a page, 5000 at most (Atlassian's OpenAPI text).

    Raises:
        Refused: 404 for an unknown revision; 400 "No common ancestor" with `topic`, and 555 by fault.
    """
    new, dots, old = _sides(call, spec)
    sha, *rest = call.shas(new, *([old] if dots else []))
    _fail(call, sha)
    base = rest[0] if rest else (*call.repository.git.commit(sha).parents, EMPTY_TREE)[0]
    if rest and _flag(call, "topic", default=False):
        base = call.repository.git.merge_base(sha, base) or ""
        if not base:
            raise no_ancestor()
    changes = call.repository.git.changes(
        base,
        sha,
        renames=_flag(call, "renames", default=True),
        whitespace=not _flag(call, "ignore_whitespace", default=False),
        paths=call.arguments.getlist("path"),
    )
    page, envelope = call.page(changes, default=500, most=5000)
    return Answer(200, {"values": [call.shapes.change(call.repository, c, base, sha) for c in page], **envelope})


def _sides(call: Call, spec: str) -> tuple[str, str, str]:
    """Split `A..B`, or `{workspace}/{slug}:A<CR>B`, to which pull requests redirect."""
    own = f"{call.shapes.workspace}/{call.repository.slug}:"
    return spec.removeprefix(own).partition("\r") if spec.startswith(own) else spec.partition("..")


def merge_base(call: Call, spec: str) -> Answer:
    """`GET …/merge-base/{A..B}`: the best common ancestor of two revisions."""
    one, dots, other = spec.partition("..")
    if not dots:
        raise bad_request("Expected two revisions, such as main..feature")
    sha = call.repository.git.merge_base(*call.shas(one, other))
    if sha is None:
        raise no_ancestor()
    return Answer(200, call.shapes.commit(call.repository, call.repository.git.commit(sha)))


def no_ancestor() -> Refused:
    """Return the 400 for unrelated histories (constructorfabric/insight, `test_uncomputable_diff.py`)."""
    return bad_request("No common ancestor")


def timed_out() -> Refused:
    """Return the 555 for differences that take too long (Atlassian's OpenAPI text; the words are our guess)."""
    return error(555, "The diff took too long to compute")


def _fail(call: Call, sha: str) -> None:
    for name, refuse in (("diffstat-555", timed_out), ("no-ancestor", no_ancestor)):
        value = call.fault(name)
        if value is not None and (value == "*" or any(sha.startswith(part) for part in value.split(","))):
            raise refuse()


def _flag(call: Call, name: str, *, default: bool) -> bool:
    text = call.arguments.get(name)
    return default if text is None else text.lower() not in ("false", "0", "no")
