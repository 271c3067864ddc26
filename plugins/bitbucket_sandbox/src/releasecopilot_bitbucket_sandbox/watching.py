"""Notice what is pushed into the served repositories, whichever way, and tell those who listen."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from .deliveries import Sender
from .faults import Faults
from .git import GitError, Ref
from .pulls import PullRequest
from .push_shapes import Change, pull_request_event, push
from .repositories import Repository, Shelf
from .shapes import Shapes
from .state import State

# Times of files advance in ticks: what was written shortly before the last look may have been written again since.
_TICK = 1.0

Refs = dict[tuple[str, str], Ref]


class Watch:
    """Compares refs with those that it saw last, while anybody listens to the repository.

    It looks at the end of a push over HTTP, and every `interval` seconds for pushes straight into a folder. Whatever
    changed since the last look is one event. A repository is first looked at when a webhook is made for it, before a push
    over HTTP, or when it turns up: what it holds then is old. Thread-safe.
    """

    def __init__(
        self,
        shelf: Shelf,
        state: State,
        faults: Faults,
        sender: Sender,
        shapes: Callable[[], Shapes],
        *,
        interval: float,
    ) -> None:
        self._shelf = shelf
        self._state = state
        self._faults = faults
        self._sender = sender
        self._shapes = shapes
        self._interval = interval
        self._known: dict[str, Refs] = {}
        self._looked: dict[str, tuple[datetime, float]] = {}
        self._pushing: Counter[str] = Counter()
        self._pushed: deque[tuple[Repository, str | None]] = deque()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch in a thread of its own."""
        self._stopping = False
        self.listen()
        self._thread = threading.Thread(target=self._run, name="sandbox-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # --- what is said to it ----------------------------------------------------------------------------------

    def listen(self) -> None:
        """Look at what somebody listens to from now on, and forget what nobody listens to any more."""
        for repository in self._shelf.all():
            self._baseline(repository)
        self._wake.set()

    @contextlib.contextmanager
    def push(self, repository: Repository, actor: str | None) -> Iterator[None]:
        """Say that somebody pushes; that is told in their name when it is over, and never holds them up."""
        uuid = repository.uuid
        self._baseline(repository)
        with self._lock:
            self._pushing[uuid] += 1
        try:
            yield
        finally:
            with self._lock:
                self._pushing[uuid] -= 1
                self._pushed.append((repository, actor))
            self._wake.set()

    def pull_request(self, event: str, repository: Repository, pull: PullRequest, actor: str | None) -> None:
        """Say what happened to a pull request: `created`, `updated`, `fulfilled` or `rejected`."""
        name = f"pullrequest:{event}"
        self._tell(name, repository, lambda shapes: pull_request_event(shapes, repository, pull, actor))

    # --- looking ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._interval if self._state.hooks.any() else None)
            self._wake.clear()
            self._look(hurry=False)

    def look(self) -> None:
        """Look at all repositories now."""
        self._look(hurry=True)

    def _look(self, *, hurry: bool) -> None:
        with self._lock:
            while self._pushed:
                self._compare(*self._pushed.popleft())
        if not self._state.hooks.any():
            return
        for repository in self._shelf.all():
            try:
                uuid = repository.uuid
                if self._pushing[uuid] or not self._state.hooks.listening(uuid):
                    continue
                if hurry or self._has_moved(repository):
                    self._compare(repository, None)
            except OSError:
                continue  # taken away while we looked

    def _has_moved(self, repository: Repository) -> bool:
        updated, now = repository.updated_on, time.time()
        before, looked = self._looked.get(repository.uuid, (None, 0.0))
        if updated == before and looked > updated.timestamp() + _TICK:
            return False
        self._looked[repository.uuid] = (updated, now)
        return True

    def _baseline(self, repository: Repository) -> None:
        with self._lock, contextlib.suppress(GitError, OSError):
            if self._state.hooks.listening(repository.uuid):
                if repository.uuid not in self._known:
                    self._known[repository.uuid] = _refs(repository)
            else:
                self._known.pop(repository.uuid, None)

    def _compare(self, repository: Repository, actor: str | None) -> None:
        with self._lock, contextlib.suppress(GitError, OSError):
            uuid = repository.uuid
            self._baseline(repository)
            before, after = self._known.get(uuid), _refs(repository)
            if before is None or repository.uuid != uuid:
                return  # nobody listens, or it changed names with another one while we looked
            self._known[uuid] = after
            changes = [
                Change(before.get(key), after.get(key))
                for key in sorted(before.keys() | after.keys())
                if before.get(key) != after.get(key)
            ]
            if changes:
                self._tell_of(repository, changes, actor)

    def _tell_of(self, repository: Repository, changes: list[Change], actor: str | None) -> None:
        empty = self._faults.take("empty-changes", "deliveries", repository.slug)
        told = [] if empty else changes
        self._tell("repo:push", repository, lambda shapes: push(shapes, repository, told, actor))
        moved = {change.new.name for change in changes if change.new is not None and change.new.kind == "branch"}
        for pull in self._state.pull_requests.of(repository.uuid, repository.git.heads()):
            if pull.is_open and pull.source in moved:
                self.pull_request("updated", repository, pull, actor)

    def _tell(self, event: str, repository: Repository, body: Callable[[Shapes], dict[str, Any]]) -> None:
        hooks = self._state.hooks.listening(repository.uuid, [event])
        if hooks:
            value = body(self._shapes())
            for hook in hooks:
                self._sender.send(hook, event, value, repository.slug)


def _refs(repository: Repository) -> Refs:
    return {(ref.kind, ref.name): ref for ref in repository.git.refs("heads", "tags")}
