"""The WSGI application: what is asked, by whom, which fault happens, and the answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from typing import Any

import attrs
from werkzeug.wrappers import Request, Response

from . import smart_http, wire
from .answers import Answer, Refused, as_text, broken, error, no_access, no_workspace, removed, unauthorized
from .auth import Accounts, Caller, scopes
from .call import Call
from .control import ADDRESS as CONTROL
from .control import Control
from .faults import Faults
from .fields import partial
from .git import GitError
from .limits import limited, quota_headers
from .paging import Contexts
from .repositories import Repository, Shelf
from .routes import PREFIX, routed
from .served import Record, Served
from .shapes import Shapes, account
from .state import State
from .watching import Watch


@attrs.define
class _Target:
    """What a request turned out to be about; filled in while it is looked at."""

    kind: str = "unknown"
    slug: str | None = None
    #: Headers that the answer gets, whatever it is.
    headers: dict[str, str] = attrs.field(factory=dict)
    found: Repository | None = None
    uuid: str | None = None

    @property
    def has_moved(self) -> bool:
        """Say whether the folder is another repository's by now, or nobody's."""
        try:
            return self.found is not None and self.found.uuid != self.uuid
        except OSError:
            return True


@attrs.define
class Application:
    """A workspace as a WSGI application. Thread-safe."""

    workspace: str
    shelf: Shelf
    accounts: Accounts
    state: State
    faults: Faults
    events: Watch
    control: Control
    record: Record
    contexts: Contexts = attrs.field(factory=Contexts)
    #: Set when the server is about to stop: nobody waits for a slow answer then.
    stopping: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        if request.path.startswith(CONTROL + "/"):
            return self.control.answer(request)(environ, start_response)
        target = _Target()
        began = time.time()
        asked = smart_http.requested(request.path, request.args)
        try:
            answer = self._answered(request, target) if asked is None else self._to_git(request, target, asked)
        except Refused as refused:
            answer = refused.answer if asked is None else as_text(refused)
        except GitError as gone:
            # Between two questions somebody collected garbage, or took the folder away.
            answer = error(404, "Commit not found", detail=str(gone)).answer
        except FileNotFoundError:
            answer = broken(503).answer
        if asked is None and request.method == "GET" and target.has_moved:
            # What was read may be another repository's, which has its name by now.
            answer = broken(503).answer
        answer.headers = {**target.headers, **answer.headers}
        response, delivery = self._response(answer, target)
        environ[wire.DELIVERY] = delivery
        status = 0 if delivery == wire.RESET else response.status_code
        done = Served(request.method, request.path, request.query_string.decode(), target.kind, status, began)
        self.record.add(done)
        return _Told(response(environ, start_response), lambda: self.record.tell(done))

    # --- what is asked, and by whom --------------------------------------------------------------------------

    def _answered(self, request: Request, target: _Target) -> Answer:
        route = routed(request)
        target.kind = route.kind
        found = self._found(target, route.slug)
        caller = self._with_scopes(self.accounts.caller(request.headers.get("Authorization", "")), target)
        target.headers.update({"X-Accepted-OAuth-Scopes": ", ".join(caller.named([route.scope])), **caller.headers})
        self._let_faults_happen(target, caller, route.scope)
        caller.must_have(route.scope)
        if route.workspace not in (None, self.workspace, account("workspace", self.workspace)[0], "{}"):
            raise no_access() if route.slug is not None else no_workspace(route.workspace)
        if route.slug is not None and found is None:
            raise no_access()
        answer = route.endpoint(self._call(request, target.kind, caller, found), **route.values)
        answer.body = partial(answer.body, request.args.get("fields", answer.fields), answer.held_back)
        return answer

    def _to_git(self, request: Request, target: _Target, asked: smart_http.GitRequest) -> Answer:
        target.kind = "git"
        found = self._found(target, asked.slug)
        caller = self._with_scopes(self.accounts.git_caller(request.headers.get("Authorization", "")), target)
        self._let_faults_happen(target, caller, asked.scope)
        caller.must_have(asked.scope)
        if asked.workspace != self.workspace or found is None:
            raise no_access()
        pushing = contextlib.ExitStack()
        if asked.pushes:
            pushing.enter_context(self.events.push(found, caller.email))
        try:
            return smart_http.answer(
                found.git,
                asked,
                request.environ,
                who=caller.email or self.workspace,
                filters=not self.faults.get("no-filter", target.kind, target.slug),
                done=pushing.close,
            )
        except BaseException:
            pushing.close()
            raise

    def _found(self, target: _Target, slug: str | None) -> Repository | None:
        found = self.shelf.find(slug) if slug is not None else None
        target.slug = found.slug if found else slug
        if found is not None:
            target.found, target.uuid = found, slug if slug and slug.startswith("{") else found.uuid
        return found

    def _with_scopes(self, caller: Caller, target: _Target) -> Caller:
        granted = self.faults.get("scopes", target.kind, target.slug)
        return caller if granted is None else attrs.evolve(caller, scopes=scopes(granted.split(",")))

    def _call(self, request: Request, kind: str, caller: Caller, found: Repository | None) -> Call:
        return Call(
            method=request.method,
            arguments=request.args,
            form=request.form,
            body=request.get_data,
            address=request.base_url,
            kind=kind,
            caller=caller,
            shapes=Shapes(request.host_url.rstrip("/") + PREFIX, self.workspace, self.accounts.users),
            shelf=self.shelf,
            faults=self.faults,
            contexts=self.contexts,
            pull_requests=self.state.pull_requests,
            hooks=self.state.hooks,
            events=self.events,
            found=found,
        )

    # --- what goes wrong -------------------------------------------------------------------------------------

    def _let_faults_happen(self, target: _Target, caller: Caller, scope: str) -> None:
        """Let those faults happen that need no look at the repository.

        Raises:
            Refused: with what a fault says.
        """
        where = (target.kind, target.slug)
        if clock := self.faults.get("clock", *where):
            target.headers["Date"] = formatdate(time.time() + float(clock), usegmt=True)
        if slow := self.faults.get("slow", *where):
            self.stopping.wait(float(slow))
        if status := self.faults.take("status", *where):
            raise broken(int(status))
        if (quota := self.faults.quota(*where)) is not None:
            variant = self.faults.get("rate-headers", *where)
            if quota.wait is not None:
                raise Refused(limited(quota, variant, self.faults.get("retry-after", *where)))
            target.headers.update(quota_headers(quota, variant))
        for name, refuse in (("unauthorized", unauthorized), ("missing", no_access), ("removed", removed)):
            if self.faults.get(name, *where):
                raise refuse()
        if self.faults.get("forbidden", *where):
            attrs.evolve(caller, scopes=caller.scopes - {scope}).must_have(scope)

    def _response(self, answer: Answer, target: _Target) -> tuple[Response, str]:
        """Return what leaves, and how."""
        delivery, where = wire.WHOLE, (target.kind, target.slug)
        body, content_type = (answer.body, None) if answer.streamed else answer.encoded()
        if isinstance(body, bytes) and answer.status < 300 and self.faults.take("bad-json", *where):
            body = b'{"values": [' + body[:20] + b"oops"
        elif answer.status < 300 and self.faults.take("truncate", *where):
            delivery = wire.CUT
        elif self.faults.take("reset", *where):
            delivery = wire.RESET
        return Response(body, status=answer.status, headers=answer.headers, content_type=content_type), delivery


class _Told:
    """Hands on a body, and tells when the server is done with it."""

    def __init__(self, parts: Iterable[bytes], done: Callable[[], object]) -> None:
        self._parts = parts
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Be told by the server that the answer is out."""
        if close := getattr(self._parts, "close", None):
            close()
        self._done()
