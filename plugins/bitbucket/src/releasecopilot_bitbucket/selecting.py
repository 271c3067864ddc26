"""Choose repositories and branches by name or glob; `*` crosses `/`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import attrs

from releasecopilot_core import Repository
from releasecopilot_core.errors import SourceError, UnknownNameError
from releasecopilot_core.selecting import is_glob

from .api import Api, segment
from .payloads import branch_of, repository_of

SOURCE = "bitbucket"

#: Up to so many plain names are asked for one by one; more cost less as pages of the workspace's list.
ASKED_SINGLY = 5

REPOSITORY_FIELDS = "uuid,full_name,mainbranch.name,updated_on"


@attrs.frozen
class Selection:
    """Repositories to scan, in the workspace's order, and those named that could not be had (name -> error)."""

    repositories: tuple[Repository, ...]
    failed: Mapping[str, SourceError]


def select_repositories(api: Api, workspace: str, patterns: Sequence[str], *, asked: bool) -> Selection:
    """Return the repositories that patterns choose; none at all means the whole workspace.

    With `asked` the patterns come from the command line: a name that is not there is the caller's mistake.

    Raises:
        UnknownNameError: a repository that was asked for does not exist.
        SourceError: the workspace cannot be listed.
    """
    names = [_slug(workspace, pattern) for pattern in patterns]
    plain = [name for name in names if not is_glob(name)]
    globs = [name for name in names if is_glob(name)] if names else ["*"]
    listed: dict[str, Repository] = {}
    if globs or len(plain) > ASKED_SINGLY:
        listed = {repository.full_name.split("/", 1)[-1]: repository for repository in _workspace(api, workspace)}
    failed: dict[str, SourceError] = {}
    chosen: dict[str, Repository] = {}
    for name in plain:
        try:
            repository = listed.get(name.lower()) or _one(api, workspace, name)
        except SourceError as error:
            if error.kind not in ("not-found", "forbidden"):
                raise
            if asked and error.kind == "not-found":
                raise UnknownNameError(_unknown(workspace, name, listed or _names(api, workspace))) from error
            failed[f"{workspace}/{name}"] = error
        else:
            chosen[repository.uuid] = repository
    for slug, repository in listed.items():
        if any(fnmatchcase(slug, glob.lower()) for glob in globs):
            chosen[repository.uuid] = repository
    return Selection(tuple(sorted(chosen.values(), key=lambda r: r.full_name)), failed)


def _slug(workspace: str, pattern: str) -> str:
    """Return a repository's name without the workspace: `acme/api` and `api` are the same."""
    owner, slash, name = pattern.partition("/")
    return name if slash and owner.lower() == workspace.lower() else pattern


def _names(api: Api, workspace: str) -> list[str]:
    """Return the workspace's repositories, to suggest one; it is no second fault if they cannot be had."""
    try:
        return [repository.full_name.split("/", 1)[-1] for repository in _workspace(api, workspace)]
    except SourceError:
        return []


def _unknown(workspace: str, name: str, listed: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(listed), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; check the name, and that the credential may see it"
    return f"--repos: no repository {name!r} in workspace {workspace!r}{hint}"


def _workspace(api: Api, workspace: str) -> Iterable[Repository]:
    fields = ",".join([f"values.{field}" for field in REPOSITORY_FIELDS.split(",")] + ["next"])
    try:
        for values, _ in api.pages(f"repositories/{segment(workspace)}", [("pagelen", "100"), ("fields", fields)]):
            for value in values:
                yield repository_of(value, SOURCE)
    except SourceError as error:
        if error.kind != "not-found":
            raise
        message = f"no workspace {workspace!r}, or the credential may not see it; check bitbucket.workspace"
        raise SourceError(message, kind=error.kind) from error


def _one(api: Api, workspace: str, name: str) -> Repository:
    address = f"repositories/{segment(workspace)}/{segment(name)}"
    return repository_of(api.get(address, [("fields", REPOSITORY_FIELDS)]), SOURCE)


def list_branches(api: Api, path: str) -> dict[str, str]:
    """Return branch name -> head of all branches of the repository at `path`."""
    parameters = [("pagelen", "100"), ("fields", "values.name,values.target.hash,next")]
    tips: dict[str, str] = {}
    try:
        for values, _ in api.pages(f"{path}/refs/branches", parameters):
            tips.update(branch_of(value) for value in values)
    except SourceError as error:
        if error.kind != "not-found":
            raise
        # An empty repository may answer 404; one that is really out of reach refuses to be looked at, too.
        if repository_of(api.get(path), SOURCE).main_branch is not None:
            raise
        return {}
    return tips
