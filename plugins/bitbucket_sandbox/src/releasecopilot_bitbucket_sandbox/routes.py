"""Which address leads where, by which method, and which scope it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request

from . import commits, diffstat, hooks, pullrequests, refs, workspace
from .answers import Answer, error, no_api

PREFIX = "/2.0"
_REPOSITORY = "/repositories/<workspace>/<slug>"

Endpoint = Callable[..., Answer]


@attrs.frozen(eq=False)
class Route:
    """What an address stands for: the kind of request that faults go by, and an endpoint and its scope per method."""

    kind: str
    methods: Mapping[str, tuple[Endpoint, str]]


@attrs.frozen
class Routed:
    """A request's route and what its address says; `workspace` and `slug` are `None` where it names none."""

    kind: str
    endpoint: Endpoint
    scope: str
    values: dict[str, Any]
    workspace: str | None
    slug: str | None


def _get(kind: str, endpoint: Endpoint, scope: str = "repository") -> Route:
    return Route(kind, {"GET": (endpoint, scope)})


_LISTING = Route("commits", {"GET": (commits.commits, "repository"), "POST": (commits.commits, "repository")})
_PULL = f"{_REPOSITORY}/pullrequests/<number>"
_READ, _WRITE = "pullrequest", "pullrequest:write"
_PULLS = {"GET": (pullrequests.pull_requests, _READ), "POST": (pullrequests.create, _WRITE)}
_HOOK = Route(
    "hooks",
    {"GET": (hooks.one, "webhook"), "PUT": (hooks.update, "webhook"), "DELETE": (hooks.delete, "webhook")},
)
_HOOKS = Route("hooks", {"GET": (hooks.hooks, "webhook"), "POST": (hooks.create, "webhook")})
_ROUTES: dict[str, Route] = {
    "/user": _get("user", workspace.user, "account"),
    "/user/workspaces": _get("user", workspace.user_workspaces, "account"),
    "/user/permissions/workspaces": _get("user", workspace.gone, "account"),
    "/user/permissions/repositories": _get("user", workspace.gone, "account"),
    "/repositories": _get("repositories", workspace.gone),
    "/repositories/": _get("repositories", workspace.gone),
    "/workspaces": _get("repositories", workspace.gone),
    "/workspaces/": _get("repositories", workspace.gone),
    "/workspaces/<workspace>": _get("repositories", workspace.workspace),
    "/repositories/<workspace>": _get("repositories", workspace.repositories),
    _REPOSITORY: _get("repository", workspace.repository),
    f"{_REPOSITORY}/commits": _LISTING,
    f"{_REPOSITORY}/commits/": _LISTING,
    f"{_REPOSITORY}/commits/<path:revision>": _LISTING,
    f"{_REPOSITORY}/commit/<revision>": _get("commit", commits.commit),
    f"{_REPOSITORY}/refs": _get("branches", refs.all_refs),
    f"{_REPOSITORY}/refs/branches": _get("branches", refs.branches),
    f"{_REPOSITORY}/refs/branches/<path:name>": _get("branches", refs.branch),
    f"{_REPOSITORY}/refs/tags": _get("tags", refs.tags),
    f"{_REPOSITORY}/refs/tags/<path:name>": _get("tags", refs.tag),
    f"{_REPOSITORY}/diffstat/<path:spec>": _get("diffstat", diffstat.diffstat),
    f"{_REPOSITORY}/merge-base/<path:spec>": _get("merge-base", diffstat.merge_base),
    f"{_REPOSITORY}/pullrequests": Route("pullrequests", _PULLS),
    f"{_REPOSITORY}/pullrequests/": Route("pullrequests", _PULLS),
    _PULL: Route("pullrequest", {"GET": (pullrequests.one, _READ), "PUT": (pullrequests.update, _WRITE)}),
    f"{_PULL}/commits": _get("pullrequest-commits", pullrequests.commits, _READ),
    f"{_PULL}/diffstat": _get("pullrequest", pullrequests.changed_files, _READ),
    f"{_PULL}/merge": Route("pullrequest", {"POST": (pullrequests.merge_it, _WRITE)}),
    f"{_PULL}/decline": Route("pullrequest", {"POST": (pullrequests.decline, _WRITE)}),
    f"{_REPOSITORY}/hooks": _HOOKS,
    f"{_REPOSITORY}/hooks/<uid>": _HOOK,
    "/workspaces/<workspace>/hooks": _HOOKS,
    "/workspaces/<workspace>/hooks/<uid>": _HOOK,
}
#: All addresses, below `PREFIX`.
ADDRESSES = tuple(_ROUTES)
_MAP = Map(
    [Rule(PREFIX + rule, endpoint=route, strict_slashes=True) for rule, route in _ROUTES.items()], merge_slashes=False
)


def routed(request: Request) -> Routed:
    """Return where a request leads.

    Raises:
        Refused: 404 for an address that nothing answers to, 405 for a method that does not go with it.
    """
    try:
        route, values = _MAP.bind_to_environ(request.environ).match(method="GET")
    except HTTPException:
        raise no_api() from None
    found = route.methods.get("GET" if request.method == "HEAD" else request.method)
    if found is None:
        raise error(405, f"{request.method} is not allowed here")
    endpoint, scope = found
    rest = dict(values)
    name, slug = rest.pop("workspace", None), rest.pop("slug", None)
    return Routed(route.kind, endpoint, scope, rest, name, slug)
