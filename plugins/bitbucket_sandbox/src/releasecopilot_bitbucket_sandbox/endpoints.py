"""What each address answers, for one request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from werkzeug.datastructures import MultiDict

from .answers import Answer, bad_request, commits_gone, error, no_access, no_api, removed
from .faults import Faults
from .git import EMPTY_TREE, GitRepository, Ref
from .paging import Context, Contexts, numbered, page_length, with_query
from .shapes import Shapes, account

_SHA = re.compile(r"[0-9a-f]{7,40}")


@attrs.frozen
class Call:
    """One request: its arguments (query and form), its address, the repository it is about, and the faults for it."""

    arguments: MultiDict[str, str]
    address: str
    shapes: Shapes
    faults: Faults
    contexts: Contexts
    kind: str
    repositories: Callable[[], Sequence[GitRepository]]
    found: GitRepository | None = None
    user: str | None = None

    @property
    def repository(self) -> GitRepository:
        """Return the repository that the address names."""
        if self.found is None:
            raise no_access()
        return self.found

    def fault(self, name: str) -> str | None:
        """Return the value of a fault for this request."""
        return self.faults.get(name, self.kind, self.found.slug if self.found else None)

    def resolved(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return name -> sha; those that are to have vanished are not found."""
        found = self.repository.resolve(names)
        gone = (self.fault("vanished") or "").split(",")
        return {name: None if name in gone or sha in gone else sha for name, sha in found.items()}

    def sha(self, name: str) -> str:
        """Return the sha of one revision, or refuse with a 404."""
        sha = self.resolved([name])[name]
        if sha is None:
            raise commits_gone([name])
        return sha


# --- workspace -----------------------------------------------------------------------------------------------


def user(call: Call) -> Answer:
    """`GET /user`."""
    name = call.user or "anonymous"
    uuid, account_id = account("user", name)
    return Answer(200, {"type": "user", "display_name": name, "uuid": uuid, "account_id": account_id})


def user_workspaces(call: Call) -> Answer:
    """`GET /user/workspaces`: what replaced the removed `/workspaces` (facts 5.1)."""
    workspace = call.shapes.workspace_object()
    base = {"type": "workspace_base", "slug": workspace["slug"], "uuid": workspace["uuid"], "links": workspace["links"]}
    value = {"type": "workspace_access", "administrator": True, "workspace": base}
    return Answer(200, {"values": [value], "pagelen": 10, "page": 1, "size": 1})


def gone(call: Call) -> Answer:
    """`GET /repositories`, `/workspaces`: 410 since April 2026 (facts 5.1)."""
    raise removed()


def repositories(call: Call) -> Answer:
    """`GET /repositories/{workspace}`: `q` on `updated_on`, `name` and `slug`, `sort`, 100 a page at most (facts 5)."""
    bodies = [call.shapes.repository(repository) for repository in call.repositories()]
    bodies = [body for body in bodies if _matches(body, call.arguments.get("q", ""))]
    key = call.arguments.get("sort", "full_name")
    name = key.lstrip("-")
    if name not in ("updated_on", "name", "slug", "full_name"):
        raise bad_request(f"Cannot sort on {name}")
    bodies.sort(key=lambda body: str(body[name]), reverse=key.startswith("-"))
    values, envelope = numbered(bodies, call.arguments, call.address, default=10, most=100)
    return Answer(200, {"values": values, **envelope})


_TERM = re.compile(r'\s*([\w.]+)\s*(>=|<=|!=|!~|=|~|>|<)\s*(?:"([^"]*)"|(\S+))\s*')
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "~": lambda a, b: b.lower() in a.lower(),
    "!~": lambda a, b: b.lower() not in a.lower(),
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def _matches(body: dict[str, Any], query: str) -> bool:
    for term in filter(None, re.split(r"\s+AND\s+", query)):
        match = _TERM.fullmatch(term)
        if match is None:
            raise bad_request("Invalid query")
        value: Any = body
        for part in match[1].split("."):
            value = value.get(part) if isinstance(value, dict) else None
        # Times are compared as texts, which is right for ISO 8601 in one offset.
        if not _TESTS[match[2]](str(value), (match[3] if match[3] is not None else match[4]).replace("Z", "+00:00")):
            return False
    return True


def repository(call: Call) -> Answer:
    """`GET /repositories/{workspace}/{slug or {uuid}}`."""
    return Answer(200, call.shapes.repository(call.repository))


# --- commits -------------------------------------------------------------------------------------------------


def commits(call: Call, revision: str | None = None) -> Answer:
    """`GET|POST …/commits[/{revision}]`: an iterator behind an opaque `ctx`; `q` and `sort` are ignored (facts 1).

    `include` and `exclude` may be repeated, and come in the query or, for long lists, in a form.
    """
    name = call.arguments.get("ctx")
    if name is not None:
        expiry = call.fault("ctx-expiry")
        context = call.contexts.find(name, expiry=None if expiry is None else int(expiry))
        if context is None or context.slug != call.repository.slug:
            raise bad_request("Invalid or expired ctx")
        return _page(call, name, context, int(call.arguments.get("page", "1")))
    if revision is not None and "/" in revision:
        raise no_api()  # facts 1.7: branch names with a slash do not work here
    length = page_length(call.arguments, default=30, most=100)
    if call.repository.main_branch is None and not call.repository.refs("heads", "tags"):
        if call.fault("empty-repository") == "404":
            raise error(404, "Commit not found")
        return Answer(200, {"values": [], "pagelen": length})
    order = call.fault("order") or "topo-order"
    shas = call.repository.listing(*_sets(call, revision), order=order, path=call.arguments.get("path"))
    context = Context(shas, length, call.arguments.get("fields"), call.repository.slug)
    return _page(call, call.contexts.keep(context), context, 1)


def _sets(call: Call, revision: str | None) -> tuple[list[str], list[str]]:
    include, exclude = call.arguments.getlist("include"), call.arguments.getlist("exclude")
    wanted = [*([revision] if revision else []), *include]
    found = call.resolved(list(dict.fromkeys([*wanted, *exclude])))
    if unknown := [name for name, sha in found.items() if sha is None]:
        raise commits_gone(unknown)
    if wanted:
        included = [sha for name in wanted if (sha := found[name])]
    else:
        included = [ref.sha for ref in call.repository.refs("heads", "tags")]
    return included, [sha for name in exclude if (sha := found[name])]


def _page(call: Call, name: str, context: Context, number: int) -> Answer:
    start = (number - 1) * context.length
    author = "null" if call.fault("null-author") else "without user" if call.fault("no-author-user") else "as it is"
    found = call.repository.commits(context.shas[start : start + context.length])
    values = [call.shapes.commit(call.repository, commit, author=author) for commit in found]
    body: dict[str, Any] = {"values": values, "pagelen": context.length}
    if start + context.length < len(context.shas):
        following = number if call.fault("next-loop") else number + 1
        address = call.fault("foreign-next") or call.shapes.repository_link(call.repository) + "/commits"
        query = [("ctx", name), ("page", str(following))]
        if context.fields:
            query.append(("fields", context.fields))
        body["next"] = with_query(address, query)
    return Answer(200, body)


def commit(call: Call, revision: str) -> Answer:
    """`GET …/commit/{sha}`: beginnings of seven digits will do (facts 1.1)."""
    if not _SHA.fullmatch(revision):
        raise error(404, "Commit not found")
    (found,) = call.repository.commits([call.sha(revision)])
    return Answer(200, {**call.shapes.commit(call.repository, found), "participants": []})


# --- refs ----------------------------------------------------------------------------------------------------


def branches(call: Call) -> Answer:
    """`GET …/refs/branches`: 10 a page, 100 at most; `q` on the name, `sort` by name or target.date (facts 2)."""
    return _refs(call, call.repository.refs("heads"))


def tags(call: Call) -> Answer:
    """`GET …/refs/tags`."""
    return _refs(call, call.repository.refs("tags"))


def all_refs(call: Call) -> Answer:
    """`GET …/refs`: branches and tags together."""
    return _refs(call, call.repository.refs("heads", "tags"))


def _refs(call: Call, found: Sequence[Ref]) -> Answer:
    query, key = call.arguments.get("q", ""), call.arguments.get("sort", "")
    chosen = [ref for ref in found if _matches({"name": ref.name}, query)]
    if key.lstrip("-") == "target.date":
        dates = {c.sha: c.date for c in call.repository.commits([ref.sha for ref in chosen])}
        chosen.sort(key=lambda ref: dates[ref.sha], reverse=key.startswith("-"))
    elif key:
        chosen.sort(key=lambda ref: ref.name, reverse=key.startswith("-"))
    page, envelope = numbered(chosen, call.arguments, call.address, default=10, most=100)
    targets = call.repository.commits([ref.sha for ref in page])
    values = [call.shapes.ref(call.repository, ref, commit) for ref, commit in zip(page, targets, strict=True)]
    return Answer(200, {"values": values, **envelope})


def branch(call: Call, name: str) -> Answer:
    """`GET …/refs/branches/{name}`: the slash in a name may be encoded or not (facts 2)."""
    for ref in call.repository.refs("heads"):
        if ref.name == name:
            (target,) = call.repository.commits([ref.sha])
            return Answer(200, call.shapes.ref(call.repository, ref, target))
    raise error(404, f"Branch {name} does not exist.")


# --- diffs ---------------------------------------------------------------------------------------------------


def diffstat(call: Call, spec: str) -> Answer:
    """`GET …/diffstat/{spec}`: one sha against its first parent, or `A..B`: what A has that B has not (facts 3)."""
    new, dots, old = spec.partition("..")
    sha = call.sha(new)
    _refuse_diff(call, sha)
    if dots:
        base = call.sha(old)
        if call.arguments.get("topic") == "true":
            base = call.repository.merge_base(sha, base) or _no_ancestor()
    else:
        (found,) = call.repository.commits([sha])
        base = found.parents[0] if found.parents else EMPTY_TREE
    renames = call.arguments.get("renames", "true") != "false"
    changes = call.repository.changes(base, sha, renames=renames, paths=call.arguments.getlist("path"))
    page, envelope = numbered(changes, call.arguments, call.address, default=500, most=5000)
    return Answer(200, {"values": [call.shapes.change(call.repository, change) for change in page], **envelope})


def _refuse_diff(call: Call, sha: str) -> None:
    for name, refuse in (("diffstat-555", _timed_out), ("no-ancestor", _no_ancestor)):
        value = call.fault(name)
        if value is not None and (value == "*" or any(sha.startswith(part) for part in value.split(","))):
            refuse()


def _timed_out() -> str:
    raise error(555, "Diff took too long to compute")


def _no_ancestor() -> str:
    raise bad_request("No common ancestor")


def merge_base(call: Call, spec: str) -> Answer:
    """`GET …/merge-base/{A..B}`."""
    one, dots, other = spec.partition("..")
    if not dots:
        raise bad_request("Expected two revisions")
    sha = call.repository.merge_base(call.sha(one), call.sha(other))
    if sha is None:
        _no_ancestor()
    (found,) = call.repository.commits([str(sha)])
    return Answer(200, call.shapes.commit(call.repository, found))
