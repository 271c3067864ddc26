"""Commits out of nothing: the same each time, of ordinary sizes, and never more than one batch at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from releasecopilot_core import Batch, Commit, FileChange, Repository, Sighting, StoryKey, Walk

REPOSITORY = Repository(source="fake", uuid="{fake}", full_name="acme/fake", main_branch="main")
BRANCH = "main"
PAGE = 100

_AUTHORS = 200
_STORY_LENGTH = 10
_BODY = "\n\nThe order of lines no longer matters, and a line without a price is refused where it is read.\n"


def sha(number: int) -> str:
    """Return the hash of a commit: spread like real ones, so that rows land all over the tables."""
    return hashlib.sha1(b"commit %d" % number, usedforsecurity=False).hexdigest()


def commit(number: int, newest: datetime, *, seen_at: datetime, key: bool = False) -> Commit:
    """Return a commit with one parent, three files, one branch and one story (with `key`, already found)."""
    author = f"Person {number % _AUTHORS}"
    email = f"person.{number % _AUTHORS}@acme.example"
    story = f"RC-{number // _STORY_LENGTH + 1}"
    return Commit(
        sha=sha(number),
        author=f"{author} <{email}>",
        author_name=author,
        author_email=email,
        date=newest - timedelta(minutes=number),
        message=f"{story} Change the rounding of invoices ({number}){_BODY}",
        parents=(sha(number + 1),),
        files=tuple(
            FileChange(
                f"src/part_{number * place % 97}/module_{number % 89}_{place}.py", "modified", None, place * 7, place
            )
            for place in (1, 2, 3)
        ),
        sightings=frozenset({Sighting(REPOSITORY.uuid, seen_at, branch=BRANCH)}),
        story_keys=frozenset({StoryKey(story, "message", "jira-keys")}) if key else frozenset(),
    )


def pages(count: int, newest: datetime, *, seen_at: datetime, key: bool = False) -> Iterator[tuple[Commit, ...]]:
    """Yield `count` commits, newest first, 100 at a time; the last one's parent is none of them."""
    for start in range(0, count, PAGE):
        numbers = range(start, min(start + PAGE, count))
        yield tuple(commit(number, newest, seen_at=seen_at, key=key) for number in numbers)


def walked(count: int, newest: datetime, *, seen_at: datetime) -> Iterator[Batch]:
    """Yield the batches of a walk down the branch, one a page, as a source would: the head moves with the last one."""
    listed = 0
    for commits in pages(count, newest, seen_at=seen_at):
        listed += len(commits)
        ended = listed == count
        boundary = frozenset() if ended else frozenset({sha(listed)})
        walk = Walk(branch=BRANCH, target=sha(0), boundary=boundary)
        yield Batch(
            repository=REPOSITORY,
            commits=commits,
            walk=walk,
            walk_ended="done" if ended else None,
            listed=len(commits),
        )
