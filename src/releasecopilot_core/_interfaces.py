"""The verbs: what a source, a webhook decoder, a store and a sink must be able to do.

These are Protocols: a plugin's class need not inherit from them. `releasecopilot_core.testing` has a contract test for
each, which says in code what the docstrings here say in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from ._batch import Batch, Stale, Walk
from ._model import Commit, Repository, RepositoryState, StoryKey, Window
from ._run import Applied, Delivery, DeliveryRecord, DeliveryStatus, Plan, Run, ScanRequest


class Memory(Protocol):
    """What a source may ask of the store. All methods may be called from any thread.

    Only leases and budgets are written through it; all else is stored by batches.
    """

    def repository(self, source: str, uuid: str) -> RepositoryState | None:
        """Return what is remembered of a repository, `None` at first contact."""

    def repositories(self, source: str) -> Sequence[RepositoryState]:
        """Return all repositories of a source, sorted by full name."""

    def heads(self, repository: Repository) -> Mapping[str, str]:
        """Return branch name -> sha of the heads behind which all is stored or lies behind a boundary.

        Deleted branches are left out.
        """

    def walks(self, repository: Repository) -> Sequence[Walk]:
        """Return unfinished walks (to be resumed) and bounded ones (to be deepened), oldest first."""

    def stale_branches(self, repository: Repository) -> Mapping[str, Stale]:
        """Return branch name -> mark for branches of which something was announced but not fetched."""

    def stale_pull_requests(self, repository: Repository) -> Mapping[int, Stale]:
        """Return number -> mark for pull requests whose commits were announced but not fetched."""

    def to_repair(self, source: str) -> Sequence[Repository]:
        """Return the repositories of a source of which something is stale, or commits of webhooks owe their files."""

    def pull_request_updates(self, repository: Repository) -> Mapping[int, datetime | None]:
        """Return number -> when it was last updated, for all pull requests that are stored."""

    def pull_request_commits(self, repository: Repository, number: int) -> Sequence[str]:
        """Return the shas of the commits that were seen in a pull request, in order."""

    def owed_files(self, repository: Repository, limit: int, after: str = "") -> Sequence[str]:
        """Return up to `limit` shas greater than `after`, in order, of commits whose file lists are to be fetched."""

    def owed_count(self, repository: Repository) -> int:
        """Return how many commits of a repository still wait for their file lists."""

    def reached_elsewhere(self, repository: Repository, branch: str, shas: Sequence[str]) -> frozenset[str]:
        """Return those of `shas` that are, or are ancestors of, the stored head of another live branch."""

    def known_elsewhere(self, repository: Repository, branch: str, shas: Sequence[str]) -> frozenset[str]:
        """Return those of `shas` that were seen on another branch, or that the head of another live branch reaches."""

    def first_parents(self, repository: Repository, sha: str, distances: Sequence[int]) -> Sequence[str]:
        """Return the stored first-parent ancestors of `sha` at these distances (commits), nearest first."""

    def resolve(self, repository: Repository, prefix: str) -> Sequence[str]:
        """Return the stored shas of a repository that begin with `prefix` (pull requests abbreviate hashes)."""

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a lease; false when another holder has it.

        It names its process: one whose process is dead on this host is taken over at once, others when they expire.
        """

    def release(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens when somebody else holds it by now."""

    def spend(self, account: str, limit: int) -> datetime | None:
        """Count one request against a budget of so many in any hour, kept across processes.

        Returns `None` when there was room, else the time when there is some again; then nothing was counted.
        """

    def spent(self, account: str) -> int:
        """Return how many requests were counted in the last hour."""


class Store(Memory, Protocol):
    """Keeps everything. Thread-safe; several processes may work on one store at once.

    Every method that writes is one transaction. Errors: `StoreBusyError` when another process holds the store for too
    long, `StoreError` when it is out of reach; then nothing of that call is stored.
    """

    def apply(self, batch: Batch, *, run_id: str | None = None) -> Applied:
        """Merge a batch into what is stored, in one transaction.

        Commits merge by `Commit.merge`; `Batch` says what happens to walks and heads. With `run_id` the commits count
        as sighted in that run.
        """

    def refresh(self, repository: Repository, branches: Sequence[str], window: Window, *, run_id: str) -> int:
        """Mark the stored commits dated in the window and still on these branches' heads as seen now.

        Returns how many (commit, repository) pairs there were that this run had not sighted already.
        """

    def begin_run(self, run: Run) -> Sequence[str]:
        """Record a run that starts.

        Runs that never ended, of processes that are dead on this host, become `abandoned`; their ids are returned.
        """

    def finish_run(self, run: Run) -> None:
        """Record how a run ended and forget its list of sightings."""

    def runs(self, *, limit: int = 20, run_id: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the latest runs, newest first, or the one of an id: plain values of the columns of the `runs` table."""

    def sighted(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yield one artifact payload entry for each (commit, repository) of a run, oldest commit first.

        Entries have all keys of the payload but `in_window`, and `branch` is left to the caller. Memory stays flat.
        """

    def key_rules(self) -> frozenset[str]:
        """Return the fingerprints of all story-key rules by which stored keys were derived."""

    def commits_for_keys(self) -> Iterator[tuple[Commit, frozenset[StoryKey]]]:
        """Yield every stored commit with its texts (message, own branches, titles) and its present keys."""

    def replace_keys(self, changes: Iterable[tuple[str, frozenset[StoryKey]]], run: Run) -> None:
        """Replace the keys of the named commits, all in one transaction, and record that `run` derived all keys."""

    # --- deliveries ------------------------------------------------------------------------------------------

    def deliver_all(self, told: Sequence[tuple[DeliveryRecord, Sequence[Batch]]]) -> Sequence[tuple[str, bool]]:
        """Store deliveries with what they tell: all of them, or none, in one transaction that survives a power cut.

        They are stored in their order; each is given as its record and batches, and returned as the id of its record and
        whether it is a duplicate. With a request id or a body that is there already it is one, and the id is that of the
        first: its commits are seen again, and nothing else changes.
        """

    def redeliver(self, delivery_id: str, batches: Sequence[Batch], status: DeliveryStatus, reason: str | None) -> None:
        """Store what a kept delivery tells when it is decoded anew, and how that went."""

    def deliveries(self, *, status: DeliveryStatus | None = None, limit: int | None = None) -> Iterator[DeliveryRecord]:
        """Yield deliveries without their bodies, newest first."""

    def delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return one delivery with its body, `None` if there is none of that id."""

    def prune_deliveries(self, before: datetime) -> int:
        """Drop the raw bodies of deliveries that came before; returns of how many. What they told stays."""

    # --- questions -------------------------------------------------------------------------------------------

    def stories(self, *, since: datetime | None = None, repositories: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yield `story_key`, `commits`, `repositories`, `first`, `last` (dates) a story; key `None`: no story at all."""

    def commits(
        self,
        *,
        since: datetime | None = None,
        repositories: Sequence[str] = (),
        story: str | None = None,
        unassigned: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield the columns of `commit_summary` with date and message, newest first."""

    def close(self) -> None:
        """Give everything back; further calls are errors."""


class Source(Protocol):
    """Turns a service, or a clone, into batches of commits."""

    def scan(self, request: ScanRequest, memory: Memory) -> Iterator[Batch]:
        """Yield batches; when the next one is asked for, the one before has been stored.

        The order of batches is the caller's only guarantee of completeness: a head moves in the batch that ends its
        walk, and never before. A repository that fails is reported in its last batch (`scanned`) and the others go on.
        Closing the generator (Ctrl-C) must end all threads and requests promptly.

        Raises:
            UnknownNameError: a repository that was named in the request does not exist; nothing was yielded.
            SourceError: nothing at all could be scanned.
        """

    def plan(self, request: ScanRequest, memory: Memory) -> Plan:
        """Return what `scan` would do, with as few requests as that takes, writing nothing."""

    @property
    def requests(self) -> int:
        """How many requests were sent to the service so far, retries included."""

    def close(self) -> None:
        """Close connections; a second time does nothing. Called from another thread it ends a scan, within a second."""


class WebhookDecoder(Protocol):
    """Knows one service's deliveries. Needs no credentials: it asks the service nothing."""

    @property
    def secrets(self) -> Sequence[str]:
        """The secrets that the settings name, revealed; none if there are none. Two while rotating."""

    @property
    def can_repair(self) -> bool:
        """Whether the settings have what the source of the same name needs to fetch what a delivery lacks."""

    @property
    def kept_headers(self) -> Sequence[str]:
        """Names, in lower case, of the headers that are kept with a delivery; none of them may hold a secret."""

    def verify(self, delivery: Delivery, secrets: Sequence[str]) -> bool:
        """Return whether the delivery proves that the sender knows one of the secrets, in constant time.

        Of several proofs each one that is there must be right. The payload is not read yet.
        """

    def identify(self, delivery: Delivery) -> tuple[str | None, str | None]:
        """Return the event's name and the request's id; never fails, whatever was sent."""

    def decode(self, delivery: Delivery) -> Sequence[Batch]:
        """Return what the body tells: commits, pull requests, and what is stale; empty for events that are not used.

        It is pure and asks nobody: what it cannot know (files, further commits) it marks as stale or owed.

        Raises:
            ValueError: the body is not what the service sends; the message says where.
        """


class Sink(Protocol):
    """Publishes one document a run, streamed, all of it or nothing."""

    def publish(self, run: Run, entries: Iterator[dict[str, Any]], problems: list[Any]) -> str:
        """Write the run's artifact and return where it is (a path or URL).

        Entries are written as they come. One that is not valid is left out and a `Problem` is appended to `problems`,
        which the document's end carries. Under its final name a document is whole and valid, or absent.

        Raises:
            ArtifactError: it cannot be written.
        """

    def discard(self, run_id: str) -> None:
        """Remove what an abandoned run left half-written; nothing there is no error."""
