"""Commits: one, and histories behind an opaque `ctx`."""

from __future__ import annotations

import re
from typing import Any

from .answers import Answer, bad_request, error, no_api
from .call import Call
from .git import Selection
from .paging import Context, page_number, whole, with_query

_SHA = re.compile(r"[0-9a-f]{7,64}")


def commits(call: Call, revision: str | None = None) -> Answer:
    """`GET|POST …/commits[/{revision}]`: what is reachable from `include` and the revision, and not from `exclude`.

    Without either, from all branches and tags. A POST carries the sets in a form, for they may be too long for an
    address, and `pagelen` in its query; its further pages are fetched with GET. `q`, `sort` and dates are ignored
    without a word (BCLOUD-13041, BCLOUD-22613; atlassian-api/atlassian-python-api, issue 1077). Default page length 30
    (codecov/shared, `test_get_ancestors_tree.yaml`). With `path`, parents that do not touch it are left out
    (Atlassian's OpenAPI text). Order: children before parents; whether siblings go by date or by line is not known, so
    the fault `order` offers both.

    Raises:
        Refused: 404 with some of the unknown revisions; 400 for a page length above 100, or a `ctx` that is not known
            (its status on the live service is not known).
    """
    name = call.arguments.get("ctx")
    if name is not None:
        return _continued(call, name)
    if revision is not None and "/" in revision:
        raise no_api()  # mantisbt-plugins/source-integration, issue 376
    length = call.length(default=30, most=100)
    selection = _selection(call, revision)
    if not selection.include:
        return _empty(call, length)
    return _page(call, Context(call.repository.uuid, selection, length, call.arguments.get("fields")), 1)


def _selection(call: Call, revision: str | None) -> Selection:
    sets = call.form if call.method == "POST" else call.arguments
    include, exclude = sets.getlist("include"), sets.getlist("exclude")
    wanted = [*([revision] if revision is not None else []), *include]
    shas = call.shas(*wanted, *exclude)
    included = shas[: len(wanted)] if wanted else [ref.sha for ref in call.repository.git.refs("heads", "tags")]
    order = call.fault("order") or "topo-order"
    return Selection(tuple(dict.fromkeys(included)), tuple(dict.fromkeys(shas[len(wanted) :])), sets.get("path"), order)


def _empty(call: Call, length: int) -> Answer:
    """Return the answer for a repository without commits; which of the two Bitbucket gives is not known."""
    if call.fault("empty-repository") == "404":
        raise error(404, "Commit not found")
    return Answer(200, {"values": [], "pagelen": length})


def _continued(call: Call, name: str) -> Answer:
    expiry = call.fault("ctx-expiry")
    context = call.contexts.follow(name, expiry=None if expiry is None else whole(expiry))
    if context is None or context.uuid != call.repository.uuid:
        raise bad_request("Invalid or expired ctx")
    return _page(call, context, page_number(call.arguments), name)


def _page(call: Call, context: Context, number: int, name: str | None = None) -> Answer:
    """Return a page: an iterator's envelope has no `size`, `page` or `previous` (codecov/shared, cassettes).

    `next` stands on the address that was called, and holds `ctx` and `page` only; the context keeps the rest.
    """
    start = (number - 1) * context.length
    shas, more = call.repository.git.listing(context.selection, start, context.length)
    author = "null" if call.fault("null-author") else "without user" if call.fault("no-author-user") else "as it is"
    found = call.repository.git.commits(shas)
    values = [call.shapes.commit(call.repository, commit, author=author) for commit in found]
    body: dict[str, Any] = {"values": values, "pagelen": context.length}
    if more:
        following = number if call.fault("next-loop") else number + 1
        address = call.fault("foreign-next") or f"{call.shapes.repository_link(call.repository)}/commits"
        name = name or call.contexts.keep(context)
        body["next"] = with_query(address, [("ctx", name), ("page", str(following))])
    return Answer(200, body, fields=context.fields)


def commit(call: Call, revision: str) -> Answer:
    """`GET …/commit/{sha}`: the first seven digits will do (atlassian-api/atlassian-python-api, pull request 924)."""
    if not _SHA.fullmatch(revision):
        raise error(404, "Commit not found", data={"shas": [revision]})
    (sha,) = call.shas(revision)
    author = "null" if call.fault("null-author") else "without user" if call.fault("no-author-user") else "as it is"
    value = call.shapes.commit(call.repository, call.repository.git.commit(sha), author=author)
    return Answer(200, {**value, "participants": []})
