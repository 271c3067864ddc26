"""Branches and tags."""

from __future__ import annotations

from typing import Any

import pytest


def names(api: Any, path: str = "refs/branches", **params: Any) -> list[str]:
    """Return the names of all pages."""
    return [value["name"] for value in api.values(path, **params)]


def test_branch_object(repository: Any, api: Any) -> None:
    """A branch has its head as target, without the heavy parts of a commit; link addresses are not encoded."""
    sha = repository.commit(branch="feature/RC-1_größe")
    (value,) = api.values("refs/branches")
    assert (value["type"], value["name"], value["target"]["hash"]) == ("branch", "feature/RC-1_größe", sha)
    assert {"summary", "rendered", "participants"}.isdisjoint(value["target"])
    assert value["target"]["repository"]["full_name"] == "acme/api"
    assert value["links"]["self"]["href"].endswith("/refs/branches/feature/RC-1_größe")
    assert value["default_merge_strategy"] in value["merge_strategies"]


def test_branches_are_paged(repository: Any, api: Any) -> None:
    """Ten a page by default, a hundred at most, with size and page; the order is git's."""
    sha = repository.commit()
    for number in range(25):
        repository.git("update-ref", f"refs/heads/b{number}", sha)
    first = api.get("refs/branches").json()
    assert (first["size"], first["page"], first["pagelen"], len(first["values"])) == (26, 1, 10, 10)
    listed = repository.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()
    assert names(api) == names(api, pagelen=100) == listed
    assert api.get("refs/branches?pagelen=101").status_code == 400


def test_branches_are_sorted(repository: Any, api: Any) -> None:
    """By name naturally, or by their heads' dates; whatever else is a 400."""
    for name, seconds in (("v10", 3_000_000), ("v9", 1_000_000), ("main", 2_000_000)):
        repository.commit(branch=name, date=f"{seconds} +0000")
    assert names(api) == ["main", "v10", "v9"]
    assert names(api, sort="name") == ["main", "v9", "v10"]
    assert names(api, sort="-name") == ["v10", "v9", "main"]
    assert names(api, sort="target.date") == ["v9", "main", "v10"]
    assert names(api, sort="-target.date", pagelen=1) == ["v10", "main", "v9"]
    assert api.get("refs/branches?sort=age").status_code == 400


def test_branches_are_filtered(repository: Any, api: Any) -> None:
    """`q` asks for names, exact or in part, and for dates."""
    for number, name in enumerate(("main", "release/1.4", "release/1.5")):
        repository.commit(branch=name, date=f"{1_000_000 * (number + 1)} +0000")
    assert names(api, q='name = "main"') == ["main"]
    assert names(api, q='name ~ "RELEASE"') == ["release/1.4", "release/1.5"]
    assert names(api, q='name ~ "release" AND name != "release/1.4"') == ["release/1.5"]
    assert names(api, q='target.date > "1970-01-24T00:00:00Z"') == ["release/1.5"]
    assert api.get("refs/branches", params={"q": "color=red"}).status_code == 400


@pytest.mark.parametrize("name", ["feature/x", "feature%2Fx"])
def test_one_branch(repository: Any, api: Any, name: str) -> None:
    """A slash in a name may be encoded or not; a branch that is gone is a 404."""
    sha = repository.commit(branch="feature/x")
    assert api.get(f"refs/branches/{name}").json()["target"]["hash"] == sha
    repository.git("update-ref", "-d", "refs/heads/feature/x")
    assert api.get(f"refs/branches/{name}").status_code == 404


def test_pushes_show_at_once(repository: Any, api: Any) -> None:
    """Heads are read at each request: new, moved, packed and deleted branches."""
    repository.commit(branch="main")
    assert names(api) == ["main"]
    moved, other = repository.commit(branch="main"), repository.commit(branch="other")
    repository.git("pack-refs", "--all")
    heads = {value["name"]: value["target"]["hash"] for value in api.values("refs/branches")}
    assert heads == {"main": moved, "other": other}
    repository.git("update-ref", "-d", "refs/heads/main")
    assert names(api) == ["other"]


def test_tags(repository: Any, api: Any) -> None:
    """Annotated tags tell message, date and tagger; lightweight ones do not; tags of files are left out."""
    sha = repository.commit(files={"a": "1"})
    repository.git("tag", "light", sha)
    repository.git(
        "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "tag", "-a", "-m", "Release\n\nbody", "v1", sha
    )
    repository.git("tag", "file", repository.git("rev-parse", f"{sha}:a").strip())
    light, annotated = api.values("refs/tags")
    assert [(value["type"], value["name"], value["target"]["hash"]) for value in (light, annotated)] == [
        ("tag", "light", sha),
        ("tag", "v1", sha),
    ]
    assert (light["message"], light["tagger"], light["date"]) == (None, None, None)
    assert (annotated["message"], annotated["tagger"]["raw"]) == ("Release\n\nbody\n", "Ann <ann@acme.example>")
    assert api.get("refs/tags/v1").json()["target"]["hash"] == sha
    assert names(api, "refs") == ["main", "light", "v1"]
    assert names(api) == ["main"]


def test_empty_repository_has_no_refs(repository: Any, api: Any) -> None:
    """Without commits the lists are empty."""
    assert api.get("refs/branches").json() == {"values": [], "pagelen": 10, "size": 0, "page": 1}
    assert names(api, "refs/tags") == []
