"""The WSGI application: who asks, what is asked, which fault happens, and the answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import endpoints
from .answers import Answer, Refused, lacks_scope, no_access, no_api, removed, unauthorized
from .faults import Faults, UnknownFault
from .fields import partial
from .git import GitRepository
from .paging import Contexts
from .shapes import Shapes

PREFIX = "/2.0"
_REPOSITORY = "/repositories/<workspace>/<slug>"

# (rule, kind of request, endpoint)
_RULES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("/user", "user", endpoints.user),
    ("/user/workspaces", "user", endpoints.user_workspaces),
    ("/repositories", "repositories", endpoints.gone),
    ("/repositories/", "repositories", endpoints.gone),
    ("/workspaces", "repositories", endpoints.gone),
    ("/repositories/<workspace>", "repositories", endpoints.repositories),
    (_REPOSITORY, "repository", endpoints.repository),
    (f"{_REPOSITORY}/commits", "commits", endpoints.commits),
    (f"{_REPOSITORY}/commits/<path:revision>", "commits", endpoints.commits),
    (f"{_REPOSITORY}/commit/<revision>", "commit", endpoints.commit),
    (f"{_REPOSITORY}/refs", "branches", endpoints.all_refs),
    (f"{_REPOSITORY}/refs/branches", "branches", endpoints.branches),
    (f"{_REPOSITORY}/refs/branches/<path:name>", "branches", endpoints.branch),
    (f"{_REPOSITORY}/refs/tags", "tags", endpoints.tags),
    (f"{_REPOSITORY}/diffstat/<path:spec>", "diffstat", endpoints.diffstat),
    (f"{_REPOSITORY}/merge-base/<path:spec>", "merge-base", endpoints.merge_base),
)


@attrs.frozen
class Served:
    """One request that was answered: method, path, query, what kind it was, and the status (0: cut off)."""

    method: str
    path: str
    query: str
    kind: str
    status: int
    time: float


@attrs.define
class Sandbox:
    """The application's state; `server.Sandbox` serves it over HTTP."""

    workspace: str
    folders: list[Path]
    users: Mapping[str, str]
    tokens: Sequence[str]
    faults: Faults = attrs.field(factory=Faults)
    contexts: Contexts = attrs.field(factory=Contexts)
    served: list[Served] = attrs.field(factory=list)
    on_request: Callable[[Served], None] | None = None
    _known: dict[str, GitRepository] = attrs.field(factory=dict)

    def repositories(self) -> list[GitRepository]:
        """Return what is there now: folders may come, go and be renamed while we serve."""
        found: dict[str, GitRepository] = {}
        for folder in self.folders:
            itself = GitRepository.at(folder)
            children = [itself] if itself else [GitRepository.at(child) for child in _children(folder)]
            for repository in filter(None, children):
                kept = self._known.get(str(repository.path))
                found.setdefault(repository.slug, kept if kept and kept.slug == repository.slug else repository)
        self._known = {str(repository.path): repository for repository in found.values()}
        return list(found.values())

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        if request.path.startswith("/_sandbox/"):
            return self._admin(request)(environ, start_response)
        record = Served(request.method, request.path, request.query_string.decode(), "unknown", 0, time.time())
        try:
            kind, slug, answer = self._answered(request)
        except Refused as refused:
            kind, slug, answer = getattr(refused, "kind", "unknown"), getattr(refused, "slug", None), refused.answer
        return self._sent(environ, start_response, attrs.evolve(record, kind=kind), slug, answer)

    # --- routing ---------------------------------------------------------------------------------------------

    def _answered(self, request: Request) -> tuple[str, str | None, Answer]:
        kind, endpoint, values = _route(request)
        workspace, slug = values.pop("workspace", None), values.pop("slug", None)
        found = self._found(workspace, slug) if workspace is not None else None
        slug = found.slug if found else slug
        try:
            user = self._user(request)
            self._refused(kind, slug)
            if workspace is not None and unquote(workspace) not in self._workspaces():
                raise no_access()
            if slug is not None and found is None:
                raise no_access()
            call = endpoints.Call(
                arguments=MultiDict([*request.args.items(multi=True), *request.form.items(multi=True)]),
                address=request.base_url,
                shapes=Shapes(request.host_url.rstrip("/") + PREFIX, self.workspace),
                faults=self.faults,
                contexts=self.contexts,
                kind=kind,
                repositories=self.repositories,
                found=found,
                user=user,
            )
            answer = endpoint(call, **values)
        except Refused as refused:
            refused.kind, refused.slug = kind, slug  # type: ignore[attr-defined]
            raise
        return kind, slug, attrs.evolve(answer, body=partial(answer.body, request.args.get("fields")))

    def _workspaces(self) -> tuple[str, ...]:
        uuid = Shapes("", self.workspace).workspace_object()["uuid"]
        return (self.workspace, uuid, "{}")

    def _found(self, workspace: str, slug: str | None) -> GitRepository | None:
        """Return the repository of a slug or a uuid in braces (facts 5)."""
        if slug is None:
            return None
        for repository in self.repositories():
            if slug.lower() == repository.slug or slug == repository.uuid:
                return repository
        return None

    def _user(self, request: Request) -> str | None:
        """Return who asks: Basic with e-mail and API token, or Bearer (facts 6.1)."""
        if not self.users and not self.tokens:
            return None
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for token in self.tokens:
                if hmac.compare_digest(token.encode(), rest.strip().encode()):
                    return "token"
        if scheme.lower() == "basic":
            email, _, token = _decoded(rest).partition(":")
            expected = self.users.get(email)
            if expected is not None and hmac.compare_digest(expected.encode(), token.encode()):
                return email
        raise unauthorized()

    def _refused(self, kind: str, slug: str | None) -> None:
        """Let faults happen that need no look at the repository."""
        faults = self.faults
        if slow := faults.get("slow", kind, slug):
            time.sleep(float(slow))
        if status := faults.take("status", kind, slug):
            raise Refused(_broken(int(status)))
        wait = faults.over_limit(kind, slug)
        if wait is not None:
            raise Refused(_limited(wait, faults.get("retry-after", kind, slug) or "absent"))
        for name, refuse in (("unauthorized", unauthorized), ("missing", no_access), ("removed", removed)):
            if faults.get(name, kind, slug):
                raise refuse()
        if faults.get("forbidden", kind, slug):
            raise lacks_scope(["read:repository:bitbucket"], ["read:user:bitbucket"])

    # --- sending ---------------------------------------------------------------------------------------------

    def _sent(
        self, environ: dict[str, Any], start_response: Any, record: Served, slug: str | None, answer: Answer
    ) -> Iterable[bytes]:
        body, content_type = answer.encoded()
        status = answer.status
        response = Response(body, status=status, headers=answer.headers, content_type=content_type)
        if status < 300 and self.faults.take("bad-json", record.kind, slug):
            response.set_data(b'{"values": [' + body[:20] + b"oops")
        elif status < 300 and self.faults.take("truncate", record.kind, slug):
            # The length is right and the body is not: what a proxy leaves when it gives up.
            response.headers["Connection"] = "close"
            response.response = [body[: len(body) // 2]]
            response.automatically_set_content_length = False
            response.headers["Content-Length"] = str(len(body))
        elif self.faults.take("reset", record.kind, slug):
            _reset(environ)
            status = 0
        response.headers["X-Accepted-OAuth-Scopes"] = "repository"
        done = attrs.evolve(record, status=status)
        self.served.append(done)
        return _Told(response(environ, start_response), lambda: self.on_request and self.on_request(done))

    def _admin(self, request: Request) -> Response:
        """`/_sandbox/requests` and `/_sandbox/faults`: look and switch from another process."""
        _, _, what, *rest = unquote(request.path).split("/", 3)
        try:
            if what == "requests":
                if request.method == "DELETE":
                    self.served.clear()
                return _json([attrs.asdict(served) for served in list(self.served)])
            if what == "faults":
                if request.method == "PUT":
                    self.faults.set(rest[0], request.get_data(as_text=True).strip())
                elif request.method == "DELETE":
                    self.faults.clear(rest[0] if rest else None)
                return _json(self.faults.all())
        except (UnknownFault, IndexError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"error": "there are: /_sandbox/requests, /_sandbox/faults"}, 404)


class _Told:
    """Hands on a body, and tells when all of it was taken."""

    def __init__(self, parts: Iterable[bytes], done: Callable[[], object]) -> None:
        self._parts = parts
        self._done = done

    def __iter__(self) -> Any:
        yield from self._parts

    def close(self) -> None:
        """Be told by the server that the answer is out."""
        self._done()


_MAP = Map(
    [Rule(PREFIX + rule, endpoint=(kind, endpoint), strict_slashes=True) for rule, kind, endpoint in _RULES],
    merge_slashes=False,
)


def _route(request: Request) -> tuple[str, Callable[..., Answer], dict[str, Any]]:
    try:
        (kind, endpoint), values = _MAP.bind_to_environ(request.environ).match()
    except HTTPException:
        raise no_api() from None
    if request.method != "GET" and not (kind == "commits" and request.method == "POST"):
        raise Refused(Answer(405, {"type": "error", "error": {"message": f"{request.method} is not allowed"}}))
    return kind, endpoint, dict(values)


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _broken(status: int) -> Answer:
    if status >= 500:  # a gateway speaks HTML (facts 9, number 7)
        return Answer(status, f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>")
    return Answer(status, {"type": "error", "error": {"message": "Something went wrong"}})


def _limited(wait: float, retry_after: str) -> Answer:
    """Return a 429: plain text, usually without Retry-After; the reset header counts seconds to go (facts 7)."""
    headers = {
        "X-RateLimit-Limit": "1000, 1000;w=3600",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(wait) + 1),
    }
    kind, _, number = retry_after.partition(":")
    if kind == "seconds":
        headers["Retry-After"] = number
    elif kind == "date":
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=int(number)), usegmt=True)
    return Answer(429, "Rate limit for this resource has been exceeded", headers)


def _reset(environ: dict[str, Any]) -> None:
    connection = environ["werkzeug.socket"]
    # Without lingering, closing sends a reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)
    connection.close()


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")
