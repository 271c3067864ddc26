"""Hypothesis strategies for the model: few names and many collisions, so that merging has something to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from releasecopilot_core import FILES_STATUSES, Batch, Commit, FileChange, PullRequest, Repository, Sighting, StoryKey

REPOSITORY = Repository(
    source="test", uuid="{11111111-1111-1111-1111-111111111111}", full_name="acme/api", main_branch="main"
)

SHAS = tuple(f"{number:040x}" for number in range(1, 9))

_START = datetime(2026, 11, 23, tzinfo=UTC)
moments = st.integers(0, 7 * 24 * 3600).map(lambda seconds: _START + timedelta(seconds=seconds))
texts = st.text(max_size=8) | st.sampled_from(["RC-12 fix", "MOB-7", "ünï", "a\x00b", "\ud800"])
branches = st.sampled_from(["main", "release/1.4", "feature/RC-12_fix"])


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def file_changes() -> st.SearchStrategy[FileChange]:
    """Draw one changed path."""
    return st.builds(
        FileChange,
        path=st.sampled_from(["README.md", "src/a.py", "ü.txt"]),
        status=st.sampled_from(["added", "removed", "modified"]),
        lines_added=_maybe(st.integers(0, 3)),
        lines_removed=_maybe(st.integers(0, 3)),
    )


def sightings(repository: str = REPOSITORY.uuid, *, pull_requests: bool = True) -> st.SearchStrategy[Sighting]:
    """Draw a sighting on a branch, or in a pull request."""
    on_branch = st.builds(
        Sighting,
        repository=st.just(repository),
        seen_at=moments,
        branch=branches,
        via=st.sampled_from(["scan", "webhook"]),
        own=st.booleans(),
    )
    if not pull_requests:
        return on_branch
    in_request = st.builds(
        Sighting, repository=st.just(repository), seen_at=moments, pull_request=st.integers(1, 2), title=_maybe(texts)
    )
    return on_branch | in_request


@st.composite
def commits(draw: st.DrawFn, *, sha: str | None = None, pull_requests: bool = True) -> Commit:
    """Draw what one sighting might tell about a commit: some of it, with or without files."""
    files = draw(_maybe(st.lists(file_changes(), max_size=3).map(tuple)))
    return Commit(
        sha=sha or draw(st.sampled_from(SHAS)),
        author=draw(_maybe(texts)),
        author_name=draw(_maybe(texts)),
        author_email=draw(_maybe(texts)),
        date=draw(_maybe(moments)),
        author_date=draw(_maybe(moments)),
        message=draw(_maybe(texts)),
        parents=draw(_maybe(st.lists(st.sampled_from(SHAS), max_size=2, unique=True).map(tuple))),
        files=files,
        files_status="known" if files is not None else draw(st.sampled_from(FILES_STATUSES[:3])),
        sightings=draw(st.frozensets(sightings(pull_requests=pull_requests), min_size=1, max_size=3)),
        story_keys=draw(st.frozensets(story_keys(), max_size=2)),
    )


def story_keys() -> st.SearchStrategy[StoryKey]:
    """Draw a story key with its origin and plugin."""
    return st.builds(
        StoryKey,
        key=st.sampled_from(["RC-12", "RC-13", "MOB-7"]),
        origin=st.sampled_from(["message", "branch", "pr_title", "other"]),
        plugin=st.sampled_from(["jira-keys", "acme"]),
    )


def pull_requests() -> st.SearchStrategy[PullRequest]:
    """Draw one of two pull requests as seen at some time."""
    return st.builds(
        PullRequest,
        id=st.integers(1, 2),
        title=_maybe(st.text(alphabet="ab", max_size=2)),
        state=_maybe(st.sampled_from(["OPEN", "MERGED"])),
        updated_on=_maybe(moments),
    )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw commits and pull requests of one repository; nothing that depends on the order of batches."""
    requests = draw(st.lists(pull_requests(), max_size=2))
    drawn = draw(st.lists(commits(), max_size=4))
    needed = {seen.pull_request for commit in drawn for seen in commit.sightings if seen.pull_request}
    requests += [PullRequest(id=number) for number in sorted(needed - {request.id for request in requests})]
    return Batch(repository=REPOSITORY, commits=tuple(drawn), pull_requests=tuple(requests))
