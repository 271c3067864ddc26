"""Pull requests as they are kept: by repository, with their heads while they are open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

OPEN, MERGED, DECLINED, SUPERSEDED = STATES = ("OPEN", "MERGED", "DECLINED", "SUPERSEDED")


@attrs.frozen
class PullRequest:
    """One pull request; people are e-mail addresses, `None` for the bot behind an access token.

    While it is open, the shas follow its branches. Once it is closed they stay as they were, that of the destination as
    it was before the merge (as in a recorded payload, woodpecker-ci/woodpecker, `HookPullRequestMerged.json`).
    """

    id: int
    title: str
    source: str
    source_sha: str
    destination: str
    destination_sha: str
    created_on: datetime
    updated_on: datetime
    description: str = ""
    state: str = OPEN
    author: str | None = None
    closed_by: str | None = None
    merge_sha: str | None = None
    close_source_branch: bool = False
    draft: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still be changed."""
        return self.state == OPEN


def now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


class PullRequests:
    """The pull requests of all repositories, by the repository's uuid. Thread-safe; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._kept: dict[str, dict[int, PullRequest]] = {}
        self._lock = threading.Lock()
        self._changed = changed

    def of(self, uuid: str, heads: Mapping[str, str]) -> list[PullRequest]:
        """Return a repository's pull requests, the youngest first; open ones are moved to the heads of their branches.

        A branch that is gone leaves them where they were. Only a move of the source counts as an update.
        """
        moved = False
        with self._lock:
            kept = self._kept.get(uuid, {})
            for pull in list(kept.values()):
                followed = _followed(pull, heads)
                if followed is not pull:
                    kept[pull.id] = followed
                    moved = True
            found = sorted(kept.values(), key=lambda pull: -pull.id)
        if moved:
            self._changed()
        return found

    def open(self, uuid: str, **fields: Any) -> PullRequest:
        """Keep a new one, under the repository's next number."""
        moment = now()
        with self._lock:
            kept = self._kept.setdefault(uuid, {})
            pull = PullRequest(id=len(kept) + 1, created_on=moment, updated_on=moment, **fields)
            kept[pull.id] = pull
        self._changed()
        return pull

    def change(self, uuid: str, pull: PullRequest, **fields: Any) -> PullRequest | None:
        """Change an open one, `None` if it is open no more."""
        with self._lock:
            kept = self._kept[uuid]
            if not kept[pull.id].is_open:
                return None
            kept[pull.id] = changed = attrs.evolve(kept[pull.id], updated_on=now(), **fields)
        self._changed()
        return changed

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Return all of them as plain values."""
        with self._lock:
            return {uuid: [_plain(pull) for pull in kept.values()] for uuid, kept in self._kept.items()}

    def load(self, found: Mapping[str, list[dict[str, Any]]]) -> None:
        """Take over what `dump` returned.

        Raises:
            TypeError, ValueError, KeyError: it is something else.
        """
        with self._lock:
            self._kept = {uuid: {value["id"]: _pull(value) for value in values} for uuid, values in found.items()}


def _followed(pull: PullRequest, heads: Mapping[str, str]) -> PullRequest:
    if not pull.is_open:
        return pull
    source = heads.get(pull.source, pull.source_sha)
    destination = heads.get(pull.destination, pull.destination_sha)
    if (source, destination) == (pull.source_sha, pull.destination_sha):
        return pull
    updated = pull.updated_on if source == pull.source_sha else now()
    return attrs.evolve(pull, source_sha=source, destination_sha=destination, updated_on=updated)


def _plain(pull: PullRequest) -> dict[str, Any]:
    times = {"created_on": pull.created_on.isoformat(), "updated_on": pull.updated_on.isoformat()}
    return attrs.asdict(pull) | times


def _pull(value: Mapping[str, Any]) -> PullRequest:
    times = {name: datetime.fromisoformat(value[name]) for name in ("created_on", "updated_on")}
    return PullRequest(**{**value, **times})
