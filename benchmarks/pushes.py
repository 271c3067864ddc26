"""Bodies of `repo:push` as Bitbucket sends them, one after the other, and the database that knows their repositories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from releasecopilot_bitbucket import testing

from releasecopilot_core import Batch, Commit, CommitStorage, Repository, Sighting, Walk

_NAMES = tuple(f"acme/service-{number}" for number in range(10))
_BRANCHES = ("main", "develop", "release/1", "feature/RC-9")
#: What a commit's links are called; recorded payloads have all of them.
_LINKS = ("self", "html", "diff", "approve", "comments", "statuses", "patch")


def know_repositories(database: Path) -> None:
    """Make a database that has scanned the repositories: four branches in each, all of them up to date."""
    with CommitStorage(database) as store:
        for name in _NAMES:
            uuid = testing.repository(name)["uuid"]
            repository = Repository(source="bitbucket", uuid=uuid, full_name=name, main_branch="main")
            for branch in _BRANCHES:
                sha = _head(name, branch)
                seen = Sighting(uuid, datetime.now(UTC), branch=branch, own=True)
                commit = Commit(sha=sha, message="RC-1 Begin", parents=(), files=(), sightings=frozenset({seen}))
                walk = Walk(branch=branch, target=sha, boundary=frozenset())
                store.apply(Batch(repository=repository, commits=(commit,), walk=walk, walk_ended="done"))


def bodies(commits: int, *, salt: str) -> Iterator[bytes]:
    """Yield pushes of so many commits each to the main branches of all repositories in turn, without end.

    Each goes on from the one before it. `salt` keeps the commits of one series apart from those of another.
    """
    heads = {name: _head(name, "main") for name in _NAMES}
    number = 0
    while True:
        for name in _NAMES:
            old, listed = heads[name], []
            for _ in range(commits):
                number += 1
                sha = testing.hexadecimal(f"{salt} {number}")
                listed.append(
                    _linked(testing.commit(sha, heads[name], message=f"RC-{number} Change the rounding"), name)
                )
                heads[name] = sha
            change = testing.updated("main", old, heads[name], listed[::-1])
            for side in ("old", "new"):
                change[side]["target"] = _linked(change[side]["target"], name)
            yield json.dumps(testing.push(name, change), separators=(",", ":")).encode()


def _head(name: str, branch: str) -> str:
    return testing.hexadecimal(f"{name} {branch}")


def _linked(commit: dict[str, Any], name: str) -> dict[str, Any]:
    address = f"https://api.bitbucket.org/2.0/repositories/{name}/commit/{commit['hash']}"
    return {**commit, "links": {link: {"href": f"{address}/{link}"} for link in _LINKS}}
