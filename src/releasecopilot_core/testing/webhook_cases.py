"""The table of deliveries that every web framework must answer alike; `WebhookContract` sends it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from releasecopilot_core import Store


class DeliveryKit(Protocol):
    """How a service's deliveries look; a module of functions will do.

    A repository is told by its full name, a commit by a sha, and a change of a push is what `updated` and its like
    return.
    """

    #: The service's name.
    SERVICE: str
    #: The event of a push.
    PUSH: str
    #: An event that the service sends and nobody here uses.
    UNUSED_EVENT: str
    #: The events of a pull request's life: created, updated, merged, declined.
    PULL_REQUEST_EVENTS: Sequence[str]

    def headers(self, event: str | None, *, request_id: str | None = None, **proofs: str) -> dict[str, str]:
        """Return the headers of a delivery without proof; without `event` they do not tell it."""

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Return the header that proves the knowledge of the secret by a signature of the raw body."""

    def proof(self, secret: str) -> dict[str, str]:
        """Return the header that proves it by the secret itself."""

    def relayed(self, payload: Mapping[str, Any], event: str) -> dict[str, Any]:
        """Return a body that tells the event, which no header tells."""

    def repository(self, full_name: str) -> dict[str, Any]:
        """Return the repository object of a body; it has a `uuid`."""

    def commit(self, sha: str, *parents: str, message: str = ...) -> dict[str, Any]:
        """Return a commit object."""

    def updated(
        self,
        name: str,
        old: str,
        new: str,
        commits: Sequence[Mapping[str, Any]] | None,
        *,
        forced: bool = False,
        truncated: bool = False,
    ) -> dict[str, Any]:
        """Return the change of a branch's head."""

    def created(self, name: str, new: str, commits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a new branch."""

    def deleted(self, name: str, old: str) -> dict[str, Any]:
        """Return the end of a branch."""

    def tagged(self, name: str, sha: str) -> dict[str, Any]:
        """Return a new tag."""

    def push(self, full_name: str, *changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a push."""

    def pull_request(self, full_name: str, event: str, number: int) -> dict[str, Any]:
        """Return the body of a pull-request event."""


@attrs.frozen(kw_only=True)
class Served:
    """A server that is up: its base URL, where deliveries go, what it was given, and an open store on its database."""

    url: str
    path: str
    secrets: tuple[str, str] = attrs.field(repr=False)
    body_limit: int
    store: Store


@attrs.frozen(kw_only=True)
class Box:
    """One case's own corner: a repository and commits that no other case has."""

    name: str
    kit: DeliveryKit
    served: Served

    @property
    def repository(self) -> str:
        """The full name of the case's repository."""
        return f"acme/{self.name.replace(' ', '-')}"

    def sha(self, letter: str) -> str:
        """Return the sha that a letter stands for here."""
        digits = f"{sum(self.name.encode()):x}{self.name.encode().hex()}{ord(letter):x}"
        return f"{digits[:8]}{digits[-32:]:0>32}"

    def commit(self, letter: str, *parents: str, message: str = "RC-1 work") -> dict[str, Any]:
        """Return a commit by letters."""
        return self.kit.commit(self.sha(letter), *map(self.sha, parents), message=message)

    def push(self, *changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return a push of these changes."""
        return self.kit.push(self.repository, *changes)


# --- what is sent, and what comes of it ----------------------------------------------------------------------


def one_commit(box: Box) -> Any:
    """Push commit b onto commit a."""
    return box.push(box.kit.updated("main", box.sha("a"), box.sha("b"), [box.commit("b", "a")]))


def signed(box: Box, body: bytes) -> dict[str, str]:
    """Sign with the first secret."""
    return box.kit.signature(body, box.served.secrets[0])


@attrs.frozen(kw_only=True)
class Expected:
    """An answer, and what is in the store afterwards: a record with that status, commits by letter, and marks."""

    status: int = 202
    answer: Literal["stored", "ignored", "duplicate", "rejected"]
    reason: str = ""
    kept: Literal["stored", "ignored", "failed"] | None = None
    commits: str = ""
    stale: Mapping[str, str] = attrs.field(factory=dict)
    pull_requests: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Case:
    """A request and what is expected of it. `body` may give bytes or JSON; `event` is a push when it is not told."""

    name: str
    expected: Expected
    body: Callable[[Box], Any] = one_commit
    proofs: Callable[[Box, bytes], Mapping[str, str]] = signed
    event: Callable[[DeliveryKit], str | None] = lambda kit: kit.PUSH
    request_id: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    spelling: Callable[[str], str] = str
    chunked: bool = False
    after: Case | None = None


STORED = Expected(answer="stored", kept="stored", commits="b", stale={"main": "pushed"})
IGNORED = Expected(answer="ignored", kept="ignored")
FAILED = Expected(answer="stored", kept="failed")
DUPLICATE = Expected(answer="duplicate", kept="stored", commits="b", stale={"main": "pushed"})
UNPROVEN = Expected(status=401, answer="rejected", reason="proof")
NOT_JSON = Expected(status=400, answer="rejected", reason="not JSON")
NO_OBJECT = Expected(status=400, answer="rejected", reason="not a JSON object")
TOO_LARGE = Expected(status=413, answer="rejected", reason="larger than")


def _proof(which: int, *, sign: bool) -> Callable[[Box, bytes], Mapping[str, str]]:
    def proofs(box: Box, body: bytes) -> Mapping[str, str]:
        secret = (*box.served.secrets, "wr0ng")[which]
        return box.kit.signature(body, secret) if sign else box.kit.proof(secret)

    return proofs


def _both(first: int, second: int) -> Callable[[Box, bytes], Mapping[str, str]]:
    return lambda box, body: {**_proof(first, sign=True)(box, body), **_proof(second, sign=False)(box, body)}


def _padded(beyond: int) -> Callable[[Box], bytes]:
    """Return a body that is so many bytes longer than the limit."""

    def body(box: Box) -> bytes:
        payload = json.dumps(one_commit(box)).encode()
        return payload + b" " * (box.served.body_limit + beyond - len(payload))

    return body


def _changes(*make: Callable[[Box], Any]) -> Callable[[Box], Any]:
    return lambda box: box.push(*(one(box) for one in make))


def _update(name: str, old: str, new: str, commits: str | None, **more: Any) -> Callable[[Box], Any]:
    def change(box: Box) -> Any:
        listed = None if commits is None else [box.commit(c, chr(ord(c) - 1)) for c in commits]
        return box.kit.updated(name, box.sha(old), box.sha(new), listed, **more)

    return change


def _without_repository(box: Box) -> Any:
    return {name: value for name, value in one_commit(box).items() if name != "repository"}


def _event(number: int) -> Callable[[DeliveryKit], str]:
    return lambda kit: kit.PULL_REQUEST_EVENTS[number]


def _request(number: int) -> Callable[[Box], Any]:
    return lambda box: box.kit.pull_request(box.repository, box.kit.PULL_REQUEST_EVENTS[number], 7)


FIRST = Case(name="-", expected=STORED, request_id="11111111-0000-0000-0000-000000000001")

CASES: tuple[Case, ...] = (
    # Proofs; a wrong one loses even beside a right one.
    Case(name="signature", expected=STORED),
    Case(name="secret header", expected=STORED, proofs=_proof(0, sign=False)),
    Case(name="both proofs", expected=STORED, proofs=_both(0, 0)),
    Case(name="both secrets", expected=STORED, proofs=_both(0, 1)),
    Case(name="signature of the second secret", expected=STORED, proofs=_proof(1, sign=True)),
    Case(name="header of the second secret", expected=STORED, proofs=_proof(1, sign=False)),
    Case(name="right signature and wrong header", expected=UNPROVEN, proofs=_both(0, 2)),
    Case(name="wrong signature and right header", expected=UNPROVEN, proofs=_both(2, 0)),
    Case(name="wrong signature", expected=UNPROVEN, proofs=_proof(2, sign=True)),
    Case(name="wrong header", expected=UNPROVEN, proofs=_proof(2, sign=False)),
    Case(name="no proof", expected=UNPROVEN, proofs=lambda box, body: {}),
    Case(name="signature of other bytes", expected=UNPROVEN, proofs=lambda box, body: signed(box, body + b"\n")),
    Case(name="no proof of no JSON", expected=UNPROVEN, body=lambda box: b"{", proofs=_proof(2, sign=True)),
    Case(name="upper case headers", expected=STORED, spelling=str.upper),
    Case(name="lower case headers", expected=STORED, spelling=str.lower),
    # Bodies that are none.
    Case(name="no JSON", expected=NOT_JSON, body=lambda box: b"payload={}"),
    Case(name="empty", expected=NOT_JSON, body=lambda box: b""),
    Case(name="compressed", expected=NOT_JSON, body=lambda box: gzip.compress(json.dumps(one_commit(box)).encode()),
         headers={"Content-Encoding": "gzip"}),
    Case(name="compressed, says it wrongly", expected=STORED, headers={"Content-Encoding": "gzip"}),
    Case(name="a form, by its label", expected=STORED, headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Case(name="several parts, by its label", expected=STORED, headers={"Content-Type": "multipart/form-data; boundary=x"}),
    Case(name="array", expected=NO_OBJECT, body=lambda box: [one_commit(box)]),
    Case(name="null", expected=NO_OBJECT, body=lambda box: b"null"),
    Case(name="deep nesting", expected=NOT_JSON, body=lambda box: b'{"push":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    Case(name="not UTF-8", expected=NOT_JSON, body=lambda box: '{"push": "caf\u00e9"}'.encode("latin-1")),
    Case(name="UTF-16", expected=NOT_JSON, body=lambda box: '{"push": {}}'.encode("utf-16")),
    Case(name="not a number", expected=NOT_JSON, body=lambda box: b'{"push": NaN}'),
    Case(name="thousands of digits", expected=NOT_JSON, body=lambda box: b'{"push": ' + b"9" * 5_000 + b"}"),
    Case(name="at the limit", expected=STORED, body=_padded(0)),
    Case(name="at the limit in chunks", expected=STORED, body=_padded(0), chunked=True),
    Case(name="beyond the limit", expected=TOO_LARGE, body=_padded(1)),
    Case(name="beyond the limit in chunks", expected=TOO_LARGE, body=_padded(1), chunked=True),
    Case(name="in chunks", expected=STORED, chunked=True),
    # Bodies that are JSON, and not what the service sends: kept, for a replay.
    Case(name="no repository", expected=FAILED, body=_without_repository),
    Case(name="no changes", expected=FAILED, body=lambda box: {**one_commit(box), "push": {}}),
    Case(name="huge number", expected=FAILED, event=_event(0),
         body=lambda box: box.kit.pull_request(box.repository, box.kit.PULL_REQUEST_EVENTS[0], 10**30)),
    # Events.
    Case(name="unused event", expected=IGNORED, event=lambda kit: kit.UNUSED_EVENT),
    Case(name="no event", expected=IGNORED, event=lambda kit: None),
    Case(name="relay", expected=STORED, event=lambda kit: None, proofs=_proof(0, sign=False),
         body=lambda box: box.kit.relayed(one_commit(box), box.kit.PUSH)),
    # Pushes.
    Case(name="tag", expected=IGNORED, body=_changes(lambda box: box.kit.tagged("v1", box.sha("b")))),
    Case(name="nothing pushed", expected=IGNORED, body=_changes()),
    Case(name="deleted branch", body=_changes(lambda box: box.kit.deleted("old", box.sha("b"))),
         expected=Expected(answer="stored", kept="stored", stale={"old": "deleted"})),
    Case(name="created branch", body=_changes(lambda box: box.kit.created("new", box.sha("c"), [box.commit("c", "b")])),
         expected=Expected(answer="stored", kept="stored", commits="c", stale={"new": "created"})),
    Case(name="forced", body=_changes(_update("main", "x", "b", "b", forced=True)),
         expected=Expected(answer="stored", kept="stored", commits="b", stale={"main": "rewritten"})),
    Case(name="truncated", body=_changes(_update("main", "a", "h", "hgfed", truncated=True)),
         expected=Expected(answer="stored", kept="stored", commits="defgh", stale={"main": "pushed, more"})),
    Case(name="commits are null", body=_changes(_update("main", "a", "b", None)),
         expected=Expected(answer="stored", kept="stored", stale={"main": "pushed"})),
    Case(name="several changes", body=_changes(_update("main", "a", "b", "b"), _update("feature/RC-9", "b", "d", "dc"),
                                               lambda box: box.kit.tagged("v1", box.sha("b"))),
         expected=Expected(answer="stored", kept="stored", commits="bcd", stale={"main": "p", "feature/RC-9": "p"})),
    # Pull requests.
    *(Case(name=f"pull request event {number}", body=_request(number), event=_event(number),
           expected=Expected(answer="stored", kept="stored", pull_requests=(7,),
                             stale={"main": "pull request"} if number == 2 else {}))
      for number in range(4)),
    # Once more.
    Case(name="same request", expected=DUPLICATE, after=FIRST, request_id=FIRST.request_id),
    Case(name="same body", expected=DUPLICATE, after=attrs.evolve(FIRST, request_id=None)),
)  # fmt: skip
