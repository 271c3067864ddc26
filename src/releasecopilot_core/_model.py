"""The nouns that travel between sources, extractors, stores and sinks, and the law by which sightings merge.

All are frozen. `None` means not known; empty means known to be empty. Times are aware and in UTC.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

if TYPE_CHECKING:
    from attrs import Attribute

FilesStatus = Literal["skipped", "owed", "unobtainable", "known"]
FilesMode = Literal["auto", "api", "git", "none"]
Origin = Literal["message", "branch", "pr_title", "other"]
Via = Literal["scan", "webhook"]
RunStatus = Literal["running", "complete", "partial", "failed", "interrupted", "abandoned"]
RepositoryStatus = Literal["complete", "partial", "failed"]

#: From "knows least" to "knows most"; a merge keeps the later one.
FILES_STATUSES: tuple[FilesStatus, ...] = ("skipped", "owed", "unobtainable", "known")
ORIGINS: tuple[Origin, ...] = ("message", "branch", "pr_title", "other")

T = TypeVar("T")


def utc(moment: datetime) -> datetime:
    """Return `moment` in UTC, in whole seconds; a naive one is an error, since it names no moment.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is UTC:
        return moment if not moment.microsecond else moment.replace(microsecond=0)
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).replace(microsecond=0)


def well_formed(text: str) -> str:
    """Return `text` with lone surrogates (JSON and odd file names can carry them) replaced, so that it can be stored."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_shas(shas: Iterable[str]) -> frozenset[str]:
    """Return the shas as a frozen set."""
    return frozenset(shas)


def _text_or_none(text: str | None) -> str | None:
    return None if text is None else well_formed(text)


def utc_or_none(moment: datetime | None) -> datetime | None:
    """Return `utc(moment)`, or `None` for a time that is not known."""
    return None if moment is None else utc(moment)


def _one_of(*allowed: str) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(allowed)}, not {value!r}")

    return check


# --- merging -------------------------------------------------------------------------------------------------


def _greater(ours: str | None, theirs: str | None) -> str | None:
    """Known beats unknown; of two known texts the bytewise greater wins, so that order never matters."""
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return max(ours, theirs, key=str.encode)


def _latest(ours: datetime | None, theirs: datetime | None) -> datetime | None:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return max(ours, theirs)


@attrs.frozen(order=True)
class FileChange:
    """One path that a commit changed, against its first parent.

    `status` is `added`, `removed`, `modified` or `renamed`; `old_path` is set for a rename only. Line counts are
    `None` where they were not asked for, and 0/0 for a binary file.
    """

    path: str = attrs.field(converter=well_formed)
    status: str
    old_path: str | None = attrs.field(default=None, converter=_text_or_none)
    lines_added: int | None = None
    lines_removed: int | None = None

    def _rank(self) -> tuple[object, ...]:
        counts = (-1 if n is None else n for n in (self.lines_added, self.lines_removed))
        texts = (self.path, self.status, self.old_path or "")
        return (*map(str.encode, texts), *counts)


class _Files(tuple[FileChange, ...]):
    """A list that is sorted and has one entry a path: what was in order once is not sorted again."""

    __slots__ = ()


def _as_files(files: Iterable[FileChange] | None) -> tuple[FileChange, ...] | None:
    """Return the list sorted by path with one entry a path, so that equal lists are equal tuples."""
    if files is None or type(files) is _Files:
        return files
    files = tuple(files)
    # The order of characters is that of their UTF-8.
    if all(one.path < other.path for one, other in itertools.pairwise(files)):
        return _Files(files)
    by_path: dict[str, FileChange] = {}
    for change in files:
        other = by_path.get(change.path)
        by_path[change.path] = change if other is None else max(change, other, key=FileChange._rank)
    return _Files(sorted(by_path.values(), key=FileChange._rank))


def files_rank(files: tuple[FileChange, ...] | None) -> tuple[object, ...]:
    """Order file lists by how much they tell: unknown, paths only, with line counts; then bytewise.

    The greater one replaces the other whole. Two lists are never united: that would invent a commit.
    """
    if files is None:
        return ()
    return (any(c.lines_added is not None for c in files), tuple(c._rank() for c in files))


@attrs.frozen
class Sighting:
    """Where a commit was seen: on a branch, or in a pull request, of a repository.

    `repository` is the service's lasting id, which a rename does not change. `own` is true when the commit lies on the branch's
    first-parent line and no other head reached it: only then does the branch's name say anything about its story.
    `title` is the pull request's title, for extractors. Seen-at times are of the first and the last sighting.
    """

    repository: str
    seen_at: datetime = attrs.field(converter=utc)
    branch: str | None = attrs.field(default=None, converter=_text_or_none)
    pull_request: int | None = None
    title: str | None = attrs.field(default=None, converter=_text_or_none)
    via: Via = attrs.field(default="scan", validator=_one_of("scan", "webhook"))
    own: bool = False
    last_seen_at: datetime = attrs.field(
        converter=utc, default=attrs.Factory(lambda self: self.seen_at, takes_self=True)
    )

    @property
    def place(self) -> tuple[object, ...]:
        """What makes two sightings the same one."""
        return (self.repository, self.branch, self.pull_request, self.title, self.via)

    def merge(self, other: Sighting) -> Sighting:
        """Return one sighting for both, which must share their `place`."""
        return attrs.evolve(
            self,
            own=self.own or other.own,
            seen_at=min(self.seen_at, other.seen_at),
            last_seen_at=max(self.last_seen_at, other.last_seen_at),
        )


def _as_sightings(sightings: Iterable[Sighting]) -> frozenset[Sighting]:
    if type(sightings) is frozenset and len(sightings) < 2:
        return sightings
    by_place: dict[tuple[object, ...], Sighting] = {}
    for sighting in sightings:
        other = by_place.get(sighting.place)
        by_place[sighting.place] = sighting if other is None else other.merge(sighting)
    return frozenset(by_place.values())


# Commits of one page share their sightings.
@lru_cache(maxsize=64)
def _names(sightings: frozenset[Sighting]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the branches whose own a commit is, and the titles of its pull requests; both sorted."""
    branches = {s.branch for s in sightings if s.branch is not None and s.own}
    titles = {s.title for s in sightings if s.title is not None}
    return tuple(sorted(branches)), tuple(sorted(titles))


@attrs.frozen(order=True)
class StoryKey:
    """A story that a commit belongs to: the key, where it was found, and which plugin found it."""

    key: str
    origin: Origin = attrs.field(default="other", validator=_one_of(*ORIGINS))
    plugin: str = ""

    def __str__(self) -> str:
        return self.key


def _as_keys(keys: Iterable[StoryKey]) -> frozenset[StoryKey]:
    return frozenset(keys)


@attrs.frozen(kw_only=True)
class Commit:
    """What one or many sightings tell about a commit.

    Anything but `sha` may be unknown (`None`). `date` is the committer date, which is often the one date that a service's
    API gives; `author_date` comes from git only. `author` is the raw `Name <mail>` text.
    """

    sha: str
    author: str | None = attrs.field(default=None, converter=_text_or_none)
    author_name: str | None = attrs.field(default=None, converter=_text_or_none)
    author_email: str | None = attrs.field(default=None, converter=_text_or_none)
    date: datetime | None = attrs.field(default=None, converter=utc_or_none)
    author_date: datetime | None = attrs.field(default=None, converter=utc_or_none)
    message: str | None = attrs.field(default=None, converter=_text_or_none)
    parents: tuple[str, ...] | None = None
    files: tuple[FileChange, ...] | None = attrs.field(default=None, converter=_as_files)
    files_status: FilesStatus = attrs.field(
        default=attrs.Factory(lambda self: "owed" if self.files is None else "known", takes_self=True),
        validator=_one_of(*FILES_STATUSES),
    )
    sightings: frozenset[Sighting] = attrs.field(default=frozenset(), converter=_as_sightings)
    story_keys: frozenset[StoryKey] = attrs.field(default=frozenset(), converter=_as_keys)

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches whose own commit this is, sorted: those that say something about its story."""
        return _names(self.sightings)[0]

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of the pull requests that carry it, sorted."""
        return _names(self.sightings)[1]

    @property
    def texts(self) -> tuple[str, ...]:
        """All that may name a story: the message, then branch names, then pull-request titles."""
        message = () if self.message is None else (self.message,)
        return (*message, *self.branches, *self.titles)

    def but(self, **changes: Any) -> Commit:
        """Return the commit with other values; faster than `attrs.evolve`, which converts every value once more.

        They must be of the kinds that they are kept in: frozen sets, UTC times, well-formed texts.
        """
        copy = object.__new__(Commit)
        put = object.__setattr__
        for name in _COMMIT_FIELDS:
            put(copy, name, changes[name] if name in changes else getattr(self, name))
        return copy

    def merge(self, other: Commit) -> Commit:
        """Return what both sightings of the same commit tell together.

        Idempotent, and neither order nor grouping matters: known beats unknown, sets grow, a file list is replaced
        whole by the more detailed one.

        Raises:
            ValueError: the two are different commits.
        """
        if self.sha != other.sha:
            raise ValueError(f"cannot merge commit {self.sha!r} with {other.sha!r}")
        return Commit(
            sha=self.sha,
            author=_greater(self.author, other.author),
            author_name=_greater(self.author_name, other.author_name),
            author_email=_greater(self.author_email, other.author_email),
            date=_latest(self.date, other.date),
            author_date=_latest(self.author_date, other.author_date),
            message=_greater(self.message, other.message),
            parents=max((self.parents, other.parents), key=lambda p: (p is not None, p or ())),
            files=max((self.files, other.files), key=files_rank),
            files_status=max((self.files_status, other.files_status), key=FILES_STATUSES.index),
            sightings=self.sightings | other.sightings,
            story_keys=self.story_keys | other.story_keys,
        )


_COMMIT_FIELDS = tuple(field.name for field in attrs.fields(Commit))


@attrs.frozen(kw_only=True)
class PullRequest:
    """A pull request as last seen; the sighting with the latest `updated_on` wins.

    `merge_commit` may be an abbreviated hash; some services give 12 characters.
    """

    id: int
    title: str | None = None
    state: str | None = None
    author: str | None = None
    source_branch: str | None = None
    destination_branch: str | None = None
    merge_commit: str | None = None
    updated_on: datetime | None = None


@attrs.frozen(kw_only=True)
class Repository:
    """A repository of a source: `uuid` stays through renames and transfers, `full_name` (`workspace/slug`) does not.

    `updated_on` is the service's own text, kept as it came: it is compared, never calculated with.
    """

    source: str
    uuid: str
    full_name: str
    main_branch: str | None = None
    updated_on: str | None = None


@attrs.frozen(kw_only=True)
class RepositoryState:
    """What the store remembers of the last complete scan of a repository.

    `selection` is the source's own text for the branch patterns in force then; `swept_at` the last full look.
    `pull_requests_to`: all pull requests that were updated before are stored; `None` if none was ever asked for.
    """

    repository: Repository
    swept_at: datetime | None = None
    selection: str | None = None
    status: RepositoryStatus | None = None
    pull_requests_to: datetime | None = None


@attrs.frozen(kw_only=True)
class Problem:
    """Something that is missing from a run's result: whose, of what kind, and one line that says what to do."""

    kind: str
    message: str
    repository: str | None = None


@attrs.frozen
class Window:
    """The span of commit dates that a run labels as its own; it selects and labels, it never decides what is missed."""

    start: datetime = attrs.field(converter=utc)
    end: datetime = attrs.field(converter=utc)

    @classmethod
    def last(cls, hours: float, *, until: datetime | None = None) -> Window:
        """Return the window of the last `hours` hours before `until` (default: now)."""
        end = utc(until or datetime.now(UTC))
        return cls(end - timedelta(hours=hours), end)

    @property
    def hours(self) -> float:
        """Its length in hours."""
        return (self.end - self.start).total_seconds() / 3600

    def __contains__(self, moment: datetime | None) -> bool:
        return moment is not None and self.start <= moment <= self.end
