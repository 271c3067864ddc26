"""Bitbucket's webhook deliveries: proof, event, and what their bodies tell."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from releasecopilot_core import Announced, Batch, Commit, Delivery, PullRequest, Repository, Settings, Sighting
from releasecopilot_core.errors import SettingsError

from .payloads import UnexpectedPayload, commit_of, full_sha, pull_request_of, repository_of
from .selecting import SOURCE
from .settings import bitbucket_settings, with_known_secrets

_log = logging.getLogger("releasecopilot_bitbucket")

SIGNATURE, SECRET = "x-hub-signature", "x-webhook-secret"
EVENT, REQUEST = "x-event-key", "x-request-uuid"

PUSH = "repo:push"
PULL_REQUESTS = frozenset(
    {"pullrequest:created", "pullrequest:updated", "pullrequest:push", "pullrequest:fulfilled", "pullrequest:rejected"}
)


@attrs.frozen
class BitbucketWebhooks:
    """Decodes deliveries of Bitbucket Cloud; implements `WebhookDecoder`. It asks Bitbucket nothing.

    Headers and bodies are those of Atlassian's pages "Event payloads" and "Manage webhooks", and of payloads recorded
    between 2018 and 2026.
    """

    secrets: Sequence[str] = attrs.field(default=(), repr=False)
    can_repair: bool = False
    kept_headers: Sequence[str] = (EVENT, REQUEST, "x-hook-uuid", "x-attempt-number")

    @classmethod
    def from_settings(cls, settings: Settings) -> BitbucketWebhooks:
        """Open by the `bitbucket` section of the settings, which may be absent.

        Raises:
            SettingsError: something in that section is wrong, or a webhook secret cannot be had.
        """
        if not settings.has_section(SOURCE):
            return cls()
        section = bitbucket_settings(settings)
        try:
            secrets = tuple(secret.reveal() for secret in section.webhook_secret)
        except SettingsError as error:
            raise SettingsError(f"{settings.origin}: bitbucket.webhook_secret: {error}") from None
        try:
            with_known_secrets(section, settings.origin)
        except SettingsError as error:
            _log.warning("repairs are left to the next scan: %s", error)
            return cls(secrets)
        return cls(secrets, can_repair=section.credentials.kind != "anonymous")

    def verify(self, delivery: Delivery, secrets: Sequence[str]) -> bool:
        """Return whether `X-Hub-Signature` (HMAC-SHA256 of the raw body) or `X-Webhook-Secret` is right, and neither wrong.

        All secrets are tried, whichever is right, and compared in constant time.
        """
        proofs = [
            (delivery.headers.get(SIGNATURE), [signature_of(delivery.body, secret) for secret in secrets]),
            (delivery.headers.get(SECRET), list(secrets)),
        ]
        given = [_is_one_of(proof, wanted) for proof, wanted in proofs if proof is not None]
        return bool(given) and all(given)

    def identify(self, delivery: Delivery) -> tuple[str | None, str | None]:
        """Return the event and the request's id; a relay may put `event_key` into the body instead of the header."""
        event = delivery.headers.get(EVENT) or delivery.payload.get("event_key")
        return (event[:100] if isinstance(event, str) else None), (delivery.headers.get(REQUEST) or "")[:100] or None

    def decode(self, delivery: Delivery) -> Sequence[Batch]:
        """Return what a push or a pull-request event tells; nothing for other events, and for pushes of tags only.

        Raises:
            ValueError: the body lacks what cannot be done without; the message says where.
        """
        event, _ = self.identify(delivery)
        try:
            if event == PUSH:
                return _push(delivery.payload)
            if event in PULL_REQUESTS:
                return _pull_request(delivery.payload, event)
        except UnexpectedPayload as error:
            raise ValueError(f"{event}: {error.what}") from error
        return ()


def signature_of(body: bytes, secret: str) -> str:
    """Return the value of `X-Hub-Signature`: `sha256=` and the lower-case hexadecimal HMAC of the raw bytes."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def _is_one_of(proof: str, wanted: Sequence[str]) -> bool:
    try:
        given = proof.encode("latin-1")  # as HTTP servers decode what was sent
    except UnicodeEncodeError:
        given = proof.encode("utf-8", "surrogateescape")
    # All are compared, without an early end: how long it takes must not tell which secret is right.
    return sum(hmac.compare_digest(given, secret.encode()) for secret in wanted) > 0


# --- pushes --------------------------------------------------------------------------------------------------


def _push(payload: Mapping[str, Any]) -> Sequence[Batch]:
    repository = repository_of(payload.get("repository"), SOURCE)
    push = payload.get("push")
    changes = push.get("changes") if isinstance(push, Mapping) else None
    if not isinstance(changes, list):
        raise UnexpectedPayload("push.changes: expected a list")
    now = datetime.now(UTC)
    commits: dict[str, Commit] = {}
    stale: dict[str, Announced] = {}
    for number, change in enumerate(changes):
        try:
            branch, announced, listed = _change(change, repository, now)
        except UnexpectedPayload as error:
            raise UnexpectedPayload(f"push.changes[{number}]: {error.what}") from error
        if branch is None:
            continue
        stale[branch] = announced
        for commit in listed:
            known = commits.get(commit.sha)
            commits[commit.sha] = commit if known is None else known.merge(commit)
    if not stale:
        return ()
    return (Batch(repository=repository, commits=tuple(commits.values()), stale_branches=stale),)


def _change(change: Any, repository: Repository, now: datetime) -> tuple[str | None, Announced, Sequence[Commit]]:
    """Return the branch, what was announced of it, and the commits that came along; no branch for a tag.

    Old captures call a ref's kind `named_branch` (Mercurial); `commits` is absent for deletions and tags, may be null,
    and holds at most five commits, newest first. For a new branch they are its tip's ancestry, old commits included.
    """
    if not isinstance(change, Mapping):
        raise UnexpectedPayload(f"expected an object, not {type(change).__name__}")
    old, new = _branch(change.get("old")), _branch(change.get("new"))
    if new is None:
        name = old[0] if old is not None else None
        return name, Announced("deleted"), ()
    name, target = new
    base = old[1] if old is not None else None
    listed = change.get("commits")
    commits = [commit_of(value) for value in listed] if isinstance(listed, list) else []
    own = _first_parent_line(commits, target)
    seen = [
        commit.but(
            sightings=frozenset({Sighting(repository.uuid, now, branch=name, via="webhook", own=commit.sha in own)}),
            files_status="owed",
        )
        for commit in commits
    ]
    what = "created" if base is None else "rewritten" if change.get("forced") is True else "pushed"
    truncated = ", more than the body carries" if change.get("truncated") is True else ""
    return name, Announced(what + truncated, target=target, base=base), seen


def _branch(ref: Any) -> tuple[str, str] | None:
    """Return name and head of a branch, `None` for null and for tags."""
    if ref is None:
        return None
    if not isinstance(ref, Mapping):
        raise UnexpectedPayload(f"old/new: expected an object, not {type(ref).__name__}")
    if ref.get("type") not in ("branch", "named_branch"):
        return None
    name, target = ref.get("name"), ref.get("target")
    if not isinstance(name, str) or not name:
        raise UnexpectedPayload("a branch without a name")
    return name, full_sha(
        target.get("hash") if isinstance(target, Mapping) else None, f"target of branch {name[:80]!r}"
    )


def _first_parent_line(commits: Sequence[Commit], tip: str) -> frozenset[str]:
    by_sha = {commit.sha: commit for commit in commits}
    line: set[str] = set()
    sha: str | None = tip
    while sha is not None and sha in by_sha and sha not in line:
        line.add(sha)
        parents = by_sha[sha].parents
        sha = parents[0] if parents else None
    return frozenset(line)


# --- pull requests -------------------------------------------------------------------------------------------


def _pull_request(payload: Mapping[str, Any], event: str) -> Sequence[Batch]:
    repository = repository_of(payload.get("repository"), SOURCE)
    value = payload.get("pullrequest")
    request: PullRequest = pull_request_of(value)
    stale: dict[str, Announced] = {}
    if event == "pullrequest:fulfilled" and request.destination_branch is not None:
        # The merge is a push, too, whose own delivery may be lost.
        stale[request.destination_branch] = Announced(f"pull request {request.id} was merged")
    return (
        Batch(
            repository=repository,
            pull_requests=(request,),
            stale_branches=stale,
            stale_pull_requests={request.id: Announced(event, target=_source_head(value))},
        ),
    )


def _source_head(value: Any) -> str | None:
    """Return the head of the source branch: twelve digits, or none when its fork is gone."""
    source = value.get("source") if isinstance(value, Mapping) else None
    commit = source.get("commit") if isinstance(source, Mapping) else None
    sha = commit.get("hash") if isinstance(commit, Mapping) else None
    return sha if isinstance(sha, str) and 7 <= len(sha) <= 40 and set(sha) <= set("0123456789abcdef") else None
