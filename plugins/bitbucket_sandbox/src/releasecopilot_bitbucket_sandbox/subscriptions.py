"""Webhook subscriptions as they are kept: of a repository, or of the whole workspace."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

_REPO = (
    "push", "fork", "updated", "imported", "transfer", "created", "deleted", "commit_comment_created",
    "commit_status_created", "commit_status_updated",
)  # fmt: skip
_PULL = (
    "created", "updated", "push", "approved", "unapproved", "changes_request_created", "changes_request_removed",
    "fulfilled", "rejected", "comment_created", "comment_updated", "comment_deleted", "comment_resolved",
    "comment_reopened",
)  # fmt: skip
#: All that can be subscribed to (Atlassian's OpenAPI text).
EVENTS = (*(f"repo:{name}" for name in _REPO), *(f"pullrequest:{name}" for name in _PULL), "project:updated",
          "pipeline:span_created")  # fmt: skip


@attrs.frozen
class Subscription:
    """One webhook; `uuid` and `repository` in braces, `repository` is `None` for one of the workspace."""

    uuid: str
    repository: str | None
    url: str
    events: tuple[str, ...]
    created_at: str
    description: str = ""
    active: bool = True
    secret: str | None = attrs.field(default=None, repr=False)
    history_enabled: bool = False
    skip_cert_verification: bool = False


class Subscriptions:
    """All webhooks, oldest first. Thread-safe; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._kept: dict[str, Subscription] = {}
        self._lock = threading.Lock()
        self._changed = changed

    def of(self, repository: str | None) -> list[Subscription]:
        """Return those of a repository, or those of the workspace."""
        with self._lock:
            return [hook for hook in self._kept.values() if hook.repository == repository]

    def listening(self, repository: str, events: Sequence[str] = ()) -> list[Subscription]:
        """Return the active ones that hear of a repository, and of one of these events if any are named."""
        with self._lock:
            return [
                hook
                for hook in self._kept.values()
                if hook.active
                and hook.repository in (None, repository)
                and (not events or not set(events).isdisjoint(hook.events))
            ]

    def any(self) -> bool:
        """Return whether anybody listens at all."""
        with self._lock:
            return any(hook.active for hook in self._kept.values())

    def add(self, repository: str | None, **fields: Any) -> Subscription:
        """Keep a new one."""
        made = Subscription(f"{{{uuid.uuid4()}}}", repository, created_at=_now(), **fields)
        with self._lock:
            self._kept[made.uuid] = made
        self._changed()
        return made

    def replace(self, hook: Subscription, **fields: Any) -> Subscription:
        """Change one."""
        changed = attrs.evolve(hook, **fields)
        with self._lock:
            self._kept[hook.uuid] = changed
        self._changed()
        return changed

    def remove(self, hook: Subscription) -> None:
        """Forget one."""
        with self._lock:
            self._kept.pop(hook.uuid, None)
        self._changed()

    def dump(self) -> list[dict[str, Any]]:
        """Return all of them as plain values, secrets included."""
        with self._lock:
            return [attrs.asdict(hook) for hook in self._kept.values()]

    def load(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `dump` returned.

        Raises:
            TypeError, ValueError, KeyError: it is something else.
        """
        hooks = [Subscription(**{**value, "events": tuple(value["events"])}) for value in found]
        with self._lock:
            self._kept = {hook.uuid: hook for hook in hooks}


def _now() -> str:
    """Return the present as webhooks tell it: nanoseconds and `Z` (jenkinsci/…-branch-source-plugin, `hooks.json`)."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
