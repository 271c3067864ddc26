"""The WSGI application: what is asked, by whom, which fault happens, and the answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import attrs
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import commits, diffstat, refs, wire, workspace
from .answers import Answer, Refused, broken, error, lacks_scope, no_access, no_api, no_workspace, removed, unauthorized
from .auth import ACCOUNT_SCOPE, REPOSITORY_SCOPE, Accounts
from .call import Call
from .faults import Faults, Quota, UnknownFault
from .fields import partial
from .git import GitError
from .paging import Contexts
from .repositories import Repository, Shelf
from .shapes import Shapes, account

PREFIX = "/2.0"
ADMIN = "/_sandbox"
_REPOSITORY = "/repositories/<workspace>/<slug>"

# (rule, kind of request, endpoint)
_RULES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("/user", "user", workspace.user),
    ("/user/workspaces", "user", workspace.user_workspaces),
    ("/repositories", "repositories", workspace.gone),
    ("/repositories/", "repositories", workspace.gone),
    ("/workspaces", "repositories", workspace.gone),
    ("/workspaces/", "repositories", workspace.gone),
    ("/workspaces/<workspace>", "repositories", workspace.workspace),
    ("/repositories/<workspace>", "repositories", workspace.repositories),
    (_REPOSITORY, "repository", workspace.repository),
    (f"{_REPOSITORY}/commits", "commits", commits.commits),
    (f"{_REPOSITORY}/commits/", "commits", commits.commits),
    (f"{_REPOSITORY}/commits/<path:revision>", "commits", commits.commits),
    (f"{_REPOSITORY}/commit/<revision>", "commit", commits.commit),
    (f"{_REPOSITORY}/refs", "branches", refs.all_refs),
    (f"{_REPOSITORY}/refs/branches", "branches", refs.branches),
    (f"{_REPOSITORY}/refs/branches/<path:name>", "branches", refs.branch),
    (f"{_REPOSITORY}/refs/tags", "tags", refs.tags),
    (f"{_REPOSITORY}/refs/tags/<path:name>", "tags", refs.tag),
    (f"{_REPOSITORY}/diffstat/<path:spec>", "diffstat", diffstat.diffstat),
    (f"{_REPOSITORY}/merge-base/<path:spec>", "merge-base", diffstat.merge_base),
)
_MAP = Map(
    [Rule(PREFIX + rule, endpoint=(kind, endpoint), strict_slashes=True) for rule, kind, endpoint in _RULES],
    merge_slashes=False,
)


@attrs.frozen
class Served:
    """One request that was answered; `status` 0 if its connection was reset, `time` in seconds since the epoch."""

    method: str
    path: str
    query: str
    kind: str
    status: int
    time: float


@attrs.define
class _Target:
    """What a request turned out to be about; filled in while it is looked at."""

    kind: str = "unknown"
    slug: str | None = None


@attrs.define
class Application:
    """A workspace as a WSGI application. Thread-safe."""

    workspace: str
    shelf: Shelf
    accounts: Accounts
    faults: Faults = attrs.field(factory=Faults)
    contexts: Contexts = attrs.field(factory=Contexts)
    served: list[Served] = attrs.field(factory=list)
    on_request: Callable[[Served], object] | None = None
    #: Set when the server is about to stop: nobody waits for a slow answer then.
    stopping: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        if request.path.startswith(ADMIN + "/"):
            return self._admin(request)(environ, start_response)
        target = _Target()
        began = time.time()
        try:
            answer = self._answered(request, target)
        except Refused as refused:
            answer = refused.answer
        except GitError as gone:
            # Between two questions somebody collected garbage, or took the folder away.
            answer = error(404, "Commit not found", detail=str(gone)).answer
        response, delivery = self._response(answer, target)
        environ[wire.DELIVERY] = delivery
        status = 0 if delivery == wire.RESET else response.status_code
        done = Served(request.method, request.path, request.query_string.decode(), target.kind, status, began)
        self.served.append(done)
        return _Told(response(environ, start_response), lambda: self.on_request and self.on_request(done))

    # --- what is asked, and by whom --------------------------------------------------------------------------

    def _answered(self, request: Request, target: _Target) -> Answer:
        target.kind, endpoint, values = _route(request)
        name, slug = values.pop("workspace", None), values.pop("slug", None)
        found = self.shelf.find(slug) if slug is not None else None
        target.slug = found.slug if found else slug
        caller = self.accounts.caller(request.headers.get("Authorization", ""))
        headers = {"X-Accepted-OAuth-Scopes": _scope(target.kind), **caller.headers, **self._let_faults_happen(target)}
        if name is not None and name not in (self.workspace, account("workspace", self.workspace)[0], "{}"):
            raise no_access() if slug is not None else no_workspace(name)
        if slug is not None and found is None:
            raise no_access()
        answer = endpoint(self._call(request, target.kind, caller, found), **values)
        answer.body = partial(answer.body, request.args.get("fields", answer.fields))
        answer.headers.update(headers)
        return answer

    def _call(self, request: Request, kind: str, caller: Any, found: Repository | None) -> Call:
        return Call(
            method=request.method,
            arguments=request.args,
            form=request.form,
            address=request.base_url,
            kind=kind,
            caller=caller,
            shapes=Shapes(request.host_url.rstrip("/") + PREFIX, self.workspace, self.accounts.users),
            shelf=self.shelf,
            faults=self.faults,
            contexts=self.contexts,
            found=found,
        )

    # --- what goes wrong -------------------------------------------------------------------------------------

    def _let_faults_happen(self, target: _Target) -> dict[str, str]:
        """Let those faults happen that need no look at the repository; returns the headers of a rate limit."""
        where = (target.kind, target.slug)
        if slow := self.faults.get("slow", *where):
            self.stopping.wait(float(slow))
        if status := self.faults.take("status", *where):
            raise broken(int(status))
        quota = self.faults.quota(*where)
        if quota is not None and quota.wait is not None:
            raise Refused(_limited(quota, self.faults.get("retry-after", *where) or "absent"))
        for name, refuse in (("unauthorized", unauthorized), ("missing", no_access), ("removed", removed)):
            if self.faults.get(name, *where):
                raise refuse()
        if self.faults.get("forbidden", *where):
            granted, required = sorted(_API_SCOPES.values()), _API_SCOPES[_scope(target.kind)]
            raise lacks_scope([required], [scope for scope in granted if scope != required])
        return {} if quota is None else _quota_headers(quota)

    def _response(self, answer: Answer, target: _Target) -> tuple[Response, str]:
        """Return what leaves, and how."""
        body, content_type = answer.encoded()
        delivery, where = wire.WHOLE, (target.kind, target.slug)
        if answer.status < 300 and self.faults.take("bad-json", *where):
            body = b'{"values": [' + body[:20] + b"oops"
        elif answer.status < 300 and self.faults.take("truncate", *where):
            delivery = wire.CUT
        elif self.faults.take("reset", *where):
            delivery = wire.RESET
        return Response(body, status=answer.status, headers=answer.headers, content_type=content_type), delivery

    # --- administration --------------------------------------------------------------------------------------

    def _admin(self, request: Request) -> Response:
        """`/_sandbox/requests` and `/_sandbox/faults`: look and switch from another process on this machine."""
        if not (request.remote_addr or "").startswith(("127.", "::1", "::ffff:127.")):
            return _json({"error": "only from this machine"}, 403)
        what, _, name = unquote(request.path.removeprefix(ADMIN + "/")).partition("/")
        try:
            match request.method, what, bool(name):
                case "GET", "requests", False:
                    return _json([attrs.asdict(served) for served in list(self.served)])
                case "DELETE", "requests", False:
                    self.served.clear()
                    return _json([])
                case "PUT", "faults", True:
                    self.faults.set(name, request.get_data(as_text=True).strip() or "1")
                case "DELETE", "faults", _:
                    self.faults.clear(name or None)
                case "GET", "faults", _:
                    pass
                case _:
                    return _json({"error": "there are: GET, DELETE requests; GET, DELETE faults; PUT faults/NAME"}, 404)
        except UnknownFault as wrong:
            return _json({"error": str(wrong)}, 400)
        return _json(self.faults.all())


class _Told:
    """Hands on a body, and tells when the server is done with it."""

    def __init__(self, parts: Iterable[bytes], done: Callable[[], object]) -> None:
        self._parts = parts
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Be told by the server that the answer is out."""
        self._done()


def _route(request: Request) -> tuple[str, Callable[..., Answer], dict[str, Any]]:
    try:
        (kind, endpoint), values = _MAP.bind_to_environ(request.environ).match(method="GET")
    except HTTPException:
        raise no_api() from None
    if request.method not in ("GET", "HEAD") and not (kind == "commits" and request.method == "POST"):
        raise error(405, f"{request.method} is not allowed here")
    return kind, endpoint, dict(values)


#: Scope of OAuth and access tokens -> that of API tokens (Atlassian's OpenAPI text).
_API_SCOPES = {ACCOUNT_SCOPE: "read:user:bitbucket", REPOSITORY_SCOPE: "read:repository:bitbucket"}


def _scope(kind: str) -> str:
    return ACCOUNT_SCOPE if kind == "user" else REPOSITORY_SCOPE


def _limited(quota: Quota, retry_after: str) -> Answer:
    """Return a 429: plain text, usually without `Retry-After` (SharpBucket, issue 108).

    Of `Retry-After`, which no page of Atlassian's mentions, both forms are seen (constructorfabric/insight).
    """
    headers = _quota_headers(quota)
    kind, _, number = retry_after.partition(":")
    if kind == "seconds":
        headers["Retry-After"] = number
    elif kind == "date":
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=int(number)), usegmt=True)
    return Answer(429, "Rate limit for this resource has been exceeded", headers)


def _quota_headers(quota: Quota) -> dict[str, str]:
    """Return the headers of a rate limit as seen in August 2026: `reset` counts seconds to go, it is no time."""
    return {
        "X-RateLimit-Limit": f"{quota.limit}, {quota.limit};w={int(quota.window)}",
        "X-RateLimit-Remaining": str(quota.remaining),
        "X-RateLimit-Reset": str(int(quota.reset) + 1),
    }


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")
