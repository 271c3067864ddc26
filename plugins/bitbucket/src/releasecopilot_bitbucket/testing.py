"""Deliveries as Bitbucket Cloud sends them, for tests: bodies written by hand after real ones, and their headers.

The shapes are those of Atlassian's page "Event payloads" and of payloads recorded until 2026, with the keys that clients
read and some that they do not. This module is a `releasecopilot_core.testing.DeliveryKit`.
"""

from __future__ import annotations

import hashlib
import uuid as uuids
from collections.abc import Mapping, Sequence
from typing import Any

from .webhooks import signature_of

__all__ = [
    "PULL_REQUEST_EVENTS",
    "PUSH",
    "SERVICE",
    "UNUSED_EVENT",
    "branch",
    "commit",
    "created",
    "deleted",
    "headers",
    "hexadecimal",
    "proof",
    "pull_request",
    "push",
    "relayed",
    "repository",
    "signature",
    "tag",
    "tagged",
    "updated",
]

SERVICE = "bitbucket"
PUSH = "repo:push"
UNUSED_EVENT = "repo:commit_status_created"
PULL_REQUEST_EVENTS: Sequence[str] = (
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
)

_STATES = {"pullrequest:fulfilled": "MERGED", "pullrequest:rejected": "DECLINED"}
_WHEN = "2026-11-23T17:00:00"
_API, _SITE = "https://api.bitbucket.org/2.0/repositories", "https://bitbucket.org"


def hexadecimal(text: str) -> str:
    """Return a sha of 40 digits that stands for a text."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


# --- headers -------------------------------------------------------------------------------------------------


def headers(event: str | None, *, request_id: str | None = None, **proofs: str) -> dict[str, str]:
    """Return the headers of a delivery; without `event` it is not told, as by a relay. `proofs` are added."""
    found = {
        "Content-Type": "application/json",
        "User-Agent": "Bitbucket-Webhooks/2.0",
        "X-Hook-UUID": "6b2b3a5c-6f0a-4f0b-9f5e-3b8d3f0c9a11",
        "X-Request-UUID": request_id or str(uuids.uuid4()),
        "X-Attempt-Number": "1",
    }
    if event is not None:
        found["X-Event-Key"] = event
    return found | proofs


def signature(body: bytes, secret: str) -> dict[str, str]:
    """Return the header by which Bitbucket proves that it knows the secret."""
    return {"X-Hub-Signature": signature_of(body, secret)}


def proof(secret: str) -> dict[str, str]:
    """Return the header by which relays prove it."""
    return {"X-Webhook-Secret": secret}


def relayed(payload: Mapping[str, Any], event: str) -> dict[str, Any]:
    """Return a body that a relay has told the event."""
    return {**payload, "event_key": event}


# --- pushes --------------------------------------------------------------------------------------------------


def repository(full_name: str, *, uuid: str | None = None) -> dict[str, Any]:
    """Return a repository; its uuid follows from its name, in braces."""
    workspace, _, slug = full_name.partition("/")
    return {
        "type": "repository",
        "uuid": uuid or f"{{{uuids.uuid5(uuids.NAMESPACE_URL, full_name)}}}",
        "full_name": full_name,
        "name": slug,
        "scm": "git",
        "website": None,
        "is_private": True,
        "owner": {"type": "team", "display_name": workspace},
        "workspace": {"type": "workspace", "slug": workspace, "name": workspace},
        "parent": None,
        "links": {"self": {"href": f"{_API}/{full_name}"}, "html": {"href": f"{_SITE}/{full_name}"}},
    }


def commit(
    sha: str, *parents: str, message: str = "RC-1 work", author: str = "Ann <ann@acme.example>"
) -> dict[str, Any]:
    """Return a commit without an account behind its author."""
    return {
        "type": "commit",
        "hash": sha,
        "date": f"{_WHEN}+00:00",
        "author": {"type": "author", "raw": author},
        "committer": {},
        "message": f"{message}\n",
        "summary": {"type": "rendered", "raw": message, "markup": "markdown", "html": f"<p>{message}</p>"},
        "rendered": {},
        "properties": {},
        "parents": [{"type": "commit", "hash": parent, "links": {}} for parent in parents],
        "links": {},
    }


def branch(name: str, sha: str) -> dict[str, Any]:
    """Return a branch with its head."""
    return {
        "type": "branch",
        "name": name,
        "target": commit(sha),
        "links": {},
        "merge_strategies": ["merge_commit", "squash", "fast_forward"],
        "sync_strategies": ["merge_commit", "rebase"],
        "default_merge_strategy": "merge_commit",
    }


def tag(name: str, sha: str) -> dict[str, Any]:
    """Return a tag that is not annotated."""
    return {
        "type": "tag",
        "name": name,
        "message": None,
        "date": None,
        "tagger": {},
        "target": commit(sha),
        "links": {},
    }


def updated(
    name: str,
    old: str,
    new: str,
    commits: Sequence[Mapping[str, Any]] | None,
    *,
    forced: bool = False,
    truncated: bool = False,
) -> dict[str, Any]:
    """Return a change of a branch's head; `commits`, newest first, are at most five when Bitbucket sends them."""
    return {**_change(branch(name, old), branch(name, new), forced, truncated), "commits": commits}


def created(name: str, new: str, commits: Sequence[Mapping[str, Any]], *, truncated: bool = False) -> dict[str, Any]:
    """Return a new branch; `commits` are its tip's ancestry, also what other branches have."""
    return {**_change(None, branch(name, new), False, truncated), "commits": commits}


def deleted(name: str, old: str) -> dict[str, Any]:
    """Return the end of a branch, which carries no commits."""
    return _change(branch(name, old), None, False, False)


def tagged(name: str, sha: str) -> dict[str, Any]:
    """Return a new tag, which carries no commits."""
    return _change(None, tag(name, sha), False, False)


def _change(old: Any, new: Any, forced: bool, truncated: bool) -> dict[str, Any]:
    flags = {"created": old is None, "closed": new is None, "forced": forced, "truncated": truncated}
    return {"old": old, "new": new, **flags}


def push(full_name: str, *changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of `repo:push`."""
    return {"push": {"changes": list(changes)}, "repository": repository(full_name), "actor": _actor()}


def _actor() -> dict[str, Any]:
    return {
        "type": "user",
        "display_name": "Ann",
        "nickname": "ann",
        "account_id": "557058:00000000-0000-0000-0000-000000000001",
        "uuid": "{00000000-0000-0000-0000-000000000001}",
        "links": {},
    }


# --- pull requests -------------------------------------------------------------------------------------------


def pull_request(
    full_name: str,
    event: str,
    number: int,
    *,
    title: str = "RC-2 review",
    source: tuple[str, str] = ("feature/RC-2", "0" * 40),
    destination: tuple[str, str] = ("main", "0" * 40),
    merged: str | None = None,
) -> dict[str, Any]:
    """Return the body of a pull-request event; `source` and `destination` are branch and head.

    Hashes have twelve digits in it, as Bitbucket abbreviates them.
    """
    request = {
        "type": "pullrequest",
        "id": number,
        "title": title,
        "description": "",
        "state": _STATES.get(event, "OPEN"),
        "draft": False,
        "author": _actor(),
        "closed_by": _actor() if event in _STATES else None,
        "reason": "",
        "created_on": f"{_WHEN}.000001+00:00",
        "updated_on": f"{_WHEN}.000002+00:00",
        "merge_commit": None if merged is None else {"type": "commit", "hash": merged[:12], "links": {}},
        "close_source_branch": True,
        "source": _side(full_name, *source),
        "destination": _side(full_name, *destination),
        "comment_count": 0,
        "task_count": 0,
        "reviewers": [],
        "participants": [],
        "links": {},
    }
    return {"actor": _actor(), "pullrequest": request, "repository": repository(full_name)}


def _side(full_name: str, name: str, sha: str) -> dict[str, Any]:
    short = {"type": "commit", "hash": sha[:12], "links": {}}
    return {"branch": {"name": name}, "commit": short, "repository": repository(full_name)}
