"""The verbs: what a source, a webhook decoder, a store and a sink must be able to do.

These are Protocols: a plugin's class need not inherit from them. `releasecopilot_core.testing` has a contract test for
each, which says in code what the docstrings here say in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from ._model import Batch, Commit, Repository, RepositoryState, StoryKey, Walk, Window
from ._run import Applied, Delivery, PlanEntry, Run, ScanRequest


class Memory(Protocol):
    """What a source may ask of the store. All methods may be called from any thread."""

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

    def stale_branches(self, repository: Repository) -> Mapping[str, str]:
        """Return branch name -> reason for branches of which something was announced but not fetched."""

    def owed_files(self, repository: Repository, limit: int, after: str = "") -> Sequence[str]:
        """Return up to `limit` shas greater than `after`, in order, of commits whose file lists are to be fetched."""

    def reached_elsewhere(self, repository: Repository, branch: str, shas: Sequence[str]) -> frozenset[str]:
        """Return those of `shas` that are, or are ancestors of, the stored head of another live branch."""

    def first_parents(self, repository: Repository, sha: str, distances: Sequence[int]) -> Sequence[str]:
        """Return the stored first-parent ancestors of `sha` at these distances (commits), nearest first."""

    def resolve(self, repository: Repository, prefix: str) -> Sequence[str]:
        """Return the stored shas of a repository that begin with `prefix` (pull requests abbreviate hashes)."""


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

    def runs(self, *, limit: int = 20) -> Sequence[Mapping[str, Any]]:
        """Return the latest runs, newest first, as plain values of the columns of the `runs` table."""

    def sighted(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yield one artifact payload entry for each (commit, repository) of a run, oldest commit first.

        Entries have all keys of the payload but `in_window`, and `branch` is left to the caller. Memory stays flat.
        """

    def owed_count(self, repository: Repository) -> int:
        """Return how many commits of a repository still wait for their file lists."""

    def key_rules(self) -> frozenset[str]:
        """Return the fingerprints of all story-key rules by which stored keys were derived."""

    def commits_for_keys(self) -> Iterator[tuple[Commit, frozenset[StoryKey]]]:
        """Yield every stored commit with its texts (message, own branches, titles) and its present keys."""

    def replace_keys(self, changes: Iterable[tuple[str, frozenset[StoryKey]]], run: Run) -> None:
        """Replace the keys of the named commits, all in one transaction, and record that `run` derived all keys."""

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

    def plan(self, request: ScanRequest, memory: Memory) -> Iterator[PlanEntry]:
        """Yield what `scan` would do, with as few requests as that takes, writing nothing."""

    @property
    def requests(self) -> int:
        """How many requests were sent to the service so far, retries included."""

    def close(self) -> None:
        """Close connections."""


class WebhookDecoder(Protocol):
    """Knows one service's deliveries. Needs no credentials: it asks the service nothing."""

    def verify(self, delivery: Delivery, secrets: Sequence[str]) -> bool:
        """Return whether the delivery proves that the sender knows one of the secrets, in constant time.

        Of several proofs each one that is there must be right.
        """

    def decode(self, delivery: Delivery) -> Sequence[Batch]:
        """Return what the body tells: commits, pull requests, and which branches are stale; empty for other events.

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
