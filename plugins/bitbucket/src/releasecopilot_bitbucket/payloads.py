"""Bitbucket's JSON, as it really comes, into the core's nouns.

Tolerant of what is missing or new (keys come without notice), strict about what everything hangs on: hashes.
Shapes: commit objects of `/commits` and of webhooks, `/refs/branches`, `/diffstat`, repositories.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from releasecopilot_core import Commit, FileChange, PullRequest, Repository
from releasecopilot_core.errors import SourceError

_SHA = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"[^\s@<>()]+@[^\s@<>()]+")

#: Shows a value in a message, however long or deeply nested it came.
_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_shown = _brief.repr


class UnexpectedPayload(SourceError, ValueError):
    """A body that lacks what cannot be done without; `what` says where, and what was expected there."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Bitbucket's answer is not understood: {what}"[:300], kind="bad-answer")
        self.what = what[:300]


def commit_of(payload: Any) -> Commit:
    """Return the commit of a commit object with its full 40-digit hash; no sightings, no files.

    The one `date` that the API gives is the committer's. `author.user` is absent for people without an account, and
    even `author` may be null; the e-mail address is in `author.raw` only.

    Raises:
        UnexpectedPayload: there is no full hash.
    """
    data = _mapping(payload, "commit")
    sha = full_sha(data.get("hash"), "commit.hash")
    author = data.get("author")
    raw = _text(author.get("raw")) if isinstance(author, Mapping) else None
    name, email = split_author(raw)
    parents = data.get("parents")
    return Commit(
        sha=sha,
        author=raw,
        author_name=name,
        author_email=email,
        date=moment_of(data.get("date")),
        message=_text(data.get("message")),
        parents=_parents(parents) if isinstance(parents, list) else None,
    )


def _parents(parents: list[Any]) -> tuple[str, ...]:
    shas = []
    for parent in parents:
        shas.append(full_sha(parent.get("hash") if isinstance(parent, Mapping) else None, "commit.parents.hash"))
    return tuple(shas)


def full_sha(value: Any, where: str) -> str:
    """Return a full hash.

    Raises:
        UnexpectedPayload: it is something else.
    """
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        raise UnexpectedPayload(f"{where}: expected 40 hexadecimal digits, not {_shown(value)}")
    return value


def split_author(raw: str | None) -> tuple[str | None, str | None]:
    """Return name and e-mail of `Name <mail>`; either is `None` when it is not there (`Jenkins`, `<>`)."""
    if raw is None:
        return None, None
    text = raw.strip()
    # No pattern for the whole: people write what they like here, and on long blanks one would take minutes.
    name, bracket, email = text.removesuffix(">").rpartition("<")
    if bracket and text.endswith(">") and ">" not in email:
        return name.strip() or None, email.strip() or None
    return (None, text) if _ADDRESS.fullmatch(text) else (text or None, None)


def moment_of(text: Any) -> datetime | None:
    """Return the time of an ISO 8601 text; `None` if there is none, or it is not a time that exists.

    Commits come in whole seconds with `+00:00`, pull requests in microseconds, hooks in nanoseconds with `Z`.
    """
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def file_of(payload: Any) -> FileChange:
    """Return one entry of a diffstat.

    `status` is open-ended: conflicts and the like are told as `modified`, since the path did change.

    Raises:
        UnexpectedPayload: there is neither an old nor a new path.
    """
    data = _mapping(payload, "diffstat")
    old, new = _path(data.get("old")), _path(data.get("new"))
    path = new or old
    if path is None:
        raise UnexpectedPayload("diffstat: neither old nor new has a path")
    status = data.get("status")
    if status not in ("added", "removed", "modified", "renamed"):
        status = "modified"
    return FileChange(
        path=path,
        status=status,
        old_path=old if status == "renamed" and old != path else None,
        lines_added=_count(data.get("lines_added")),
        lines_removed=_count(data.get("lines_removed")),
    )


def _path(side: Any) -> str | None:
    return (_text(side.get("path")) or None) if isinstance(side, Mapping) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def repository_of(payload: Any, source: str) -> Repository:
    """Return the repository of a repository object; `mainbranch` is null while it is empty.

    Raises:
        UnexpectedPayload: it has no uuid or full name.
    """
    data = _mapping(payload, "repository")
    uuid, full_name = _text(data.get("uuid")), _text(data.get("full_name"))
    if not uuid or not full_name:
        raise UnexpectedPayload(f"repository: expected uuid and full_name, not {_shown(uuid)} and {_shown(full_name)}")
    main = data.get("mainbranch")
    return Repository(
        source=source,
        # The API writes uuids in braces, webhook headers do not.
        uuid=uuid if uuid.startswith("{") else f"{{{uuid}}}",
        full_name=full_name,
        main_branch=_text(main.get("name")) if isinstance(main, Mapping) else None,
        updated_on=_text(data.get("updated_on")),
    )


def branch_of(payload: Any) -> tuple[str, str]:
    """Return name and full target hash of a branch object.

    Raises:
        UnexpectedPayload: one of them is missing.
    """
    data = _mapping(payload, "branch")
    name = _text(data.get("name"))
    sha = _mapping(data.get("target"), "branch.target").get("hash")
    if name is None or not isinstance(sha, str) or not _SHA.fullmatch(sha):
        raise UnexpectedPayload(f"branch: expected name and target hash, not {_shown(name)} and {_shown(sha)}")
    return name, sha


def pull_request_of(payload: Any) -> PullRequest:
    """Return a pull request; the hash of its merge commit has twelve digits.

    `source` and `destination` may lack their branch or be null when a fork is gone; `author` may be null.

    Raises:
        UnexpectedPayload: it has no number.
    """
    data = _mapping(payload, "pullrequest")
    number = data.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 53:
        raise UnexpectedPayload(f"pullrequest.id: expected a number, not {_shown(number)}")
    author, merged = data.get("author"), data.get("merge_commit")
    return PullRequest(
        id=number,
        title=_text(data.get("title")),
        state=_text(data.get("state")),
        author=_text(author.get("display_name")) if isinstance(author, Mapping) else None,
        source_branch=_branch_name(data.get("source")),
        destination_branch=_branch_name(data.get("destination")),
        merge_commit=_text(merged.get("hash")) if isinstance(merged, Mapping) else None,
        updated_on=moment_of(data.get("updated_on")),
    )


def _branch_name(side: Any) -> str | None:
    branch = side.get("branch") if isinstance(side, Mapping) else None
    return (_text(branch.get("name")) or None) if isinstance(branch, Mapping) else None


def _text(value: Any) -> str | None:
    """Return a text, `None` for anything else; halves of characters, which JSON can carry, cannot be stored or sent."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _mapping(payload: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(payload, Mapping):
        raise UnexpectedPayload(f"{what}: expected an object, not {type(payload).__name__}")
    return payload
