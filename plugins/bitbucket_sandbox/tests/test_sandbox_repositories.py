"""Repositories of a workspace, who they are, and addresses that are gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest


def slugs(api, **params):
    """Return the slugs of the workspace's repositories."""
    return [value["slug"] for value in api.values("/repositories/acme", **params)]


def at(repository, moment):
    """Set the times of all that holds refs, as if they had last changed then."""
    for path in [repository.path / "HEAD", *(repository.path / "refs").rglob("*"), repository.path / "refs"]:
        os.utime(path, (moment, moment))


@pytest.fixture
def three(new_repository):
    """Give three repositories that changed at different times; name -> repository."""
    found = {name: new_repository(name) for name in ("beta", "alpha", "gamma")}
    for number, repository in enumerate(found.values()):
        repository.commit()
        at(repository, 1_700_000_000 + number * 3600)
    return found


def test_listing_pages(serve, new_repository):
    """Ten repositories a page, by name, with size, page and next."""
    for number in range(11):
        new_repository(f"r{number:02}")
    api = serve()

    first = api.json("/repositories/acme")

    assert (first["pagelen"], first["size"], first["page"]) == (10, 11, 1)
    assert slugs(api) == [f"r{number:02}" for number in range(11)]
    assert api.get("/repositories/acme", params={"pagelen": 101}).status_code == 400


def test_sort(serve, three):
    """`sort` goes by time and by name, either way."""
    api = serve()

    assert slugs(api, sort="updated_on") == ["beta", "alpha", "gamma"]
    assert slugs(api, sort="-updated_on") == ["gamma", "alpha", "beta"]
    assert slugs(api, sort="-name") == ["gamma", "beta", "alpha"]
    assert api.get("/repositories/acme", params={"sort": "shoe_size"}).status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("updated_on >= 2023-11-14T23:13:20+00:00", ["alpha", "gamma"]),
        ('updated_on >= "2023-11-14T23:13:20.000000+00:00"', ["alpha", "gamma"]),
        ('updated_on > "2023-11-14T23:13:20Z"', ["gamma"]),
        ('updated_on >= "2023-11-14T16:13:20-07:00"', ["alpha", "gamma"]),
        ('updated_on < "2023-11-14T23:13:20+00:00"', ["beta"]),
        ('updated_on > "2023-11-14T22:30:00Z" AND name ~ "AMM"', ["gamma"]),
        ('slug != "alpha"', ["beta", "gamma"]),
        ('name !~ "a"', []),
    ],
)
def test_query(serve, three, query, expected):
    """`q` compares times in any zone, quoted or not, and names; AND joins."""
    assert slugs(serve(), q=query) == expected


@pytest.mark.parametrize(
    "query", ["updated_on", 'updated_on > "soon"', "(name = 1", "nothing = 1", 'name = "a" name = "b"']
)
def test_query_that_is_none(serve, three, query):
    """What is not understood is a 400, and never a list that was not filtered."""
    answer = serve().get("/repositories/acme", params={"q": query})

    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


@pytest.mark.parametrize("change", ["commit", "branch", "deletion", "packed deletion"])
def test_updated_on_moves(serve, three, change):
    """A push, a new branch and a deletion move `updated_on`, and only that of their repository."""
    api = serve()
    repository = three["beta"]
    sha = repository.lines("rev-parse", "main")[0]
    repository.set_ref("refs/heads/old", sha)
    if change == "packed deletion":
        repository.git("pack-refs", "--all")
        os.utime(repository.path / "packed-refs", (1_700_000_000, 1_700_000_000))
    at(repository, 1_700_000_000)
    before = {value["slug"]: value["updated_on"] for value in api.values("/repositories/acme")}

    if change == "commit":
        repository.commit()
    elif change == "branch":
        repository.set_ref("refs/heads/new/one", sha)
    else:
        repository.drop_ref("refs/heads/old")

    after = {value["slug"]: value["updated_on"] for value in api.values("/repositories/acme")}
    assert {slug for slug in after if after[slug] != before[slug]} == {"beta"}
    assert after["beta"] > before["beta"]


def test_updated_on_has_microseconds(serve, three):
    """Times of repositories have microseconds and +00:00."""
    moment = datetime.fromisoformat(text := serve().json("/repositories/acme/alpha")["updated_on"])

    assert moment.utcoffset() == timedelta(0)
    assert len(text) == len("2023-11-14T22:13:20.000000+00:00")


def test_uuid_outlives_a_new_name(serve, three):
    """A folder that is renamed keeps its uuid under the new slug; the old slug is a 404."""
    api = serve()
    before = api.json("/repositories/acme/alpha")

    three["alpha"].path.rename(three["alpha"].path.with_name("delta.git"))

    after = api.json("/repositories/acme/delta")
    assert after["uuid"] == before["uuid"]
    assert (after["slug"], after["full_name"]) == ("delta", "acme/delta")
    assert api.get("/repositories/acme/alpha").status_code == 404


def test_uuid_addresses(serve, three):
    """A repository answers to its uuid in encoded braces, also with the workspace's uuid and with empty braces."""
    api = serve()
    value = api.json("/repositories/acme/alpha")
    workspace = quote(value["workspace"]["uuid"])

    for address in ("acme", workspace, "%7B%7D"):
        assert api.json(f"/repositories/{address}/{quote(value['uuid'])}") == value
    assert api.json(f"/repositories/acme/{quote(value['uuid'])}/commits")["values"]


def test_uuid_addresses_while_another_one_is_deleted(serve, three):
    """A folder that is half gone is in nobody's way."""
    api = serve()
    uuids = {value["slug"]: value["uuid"] for value in api.values("/repositories/acme")}
    shutil.rmtree(three["alpha"].path / "objects")
    for slug, status in (("gamma", 200), ("alpha", 404)):
        assert api.get(f"/repositories/acme/{quote(uuids[slug])}").status_code == status


def test_uuid_can_be_set(api, repository):
    """A repository's settings may say which uuid it has, also while it is served."""
    uuid = "12345678-9abc-4def-8123-456789abcdef"
    before = api.json("")["uuid"]
    repository.git("config", "sandbox.uuid", uuid)

    assert (before, api.json("")["uuid"]) == (before, f"{{{uuid}}}")
    assert before != f"{{{uuid}}}"


def test_new_repository_in_the_same_place_is_another(api, repository, new_repository):
    """A repository that is deleted and made anew gets a new uuid."""
    (repository.path / "description").write_text("first\n")
    before = api.json("")["uuid"]
    shutil.rmtree(repository.path)
    assert slugs(api) == []

    (new_repository("api").path / "description").write_text("second\n")

    assert api.json("")["uuid"] != before


def test_clone_address_names_the_caller(repository, serve):
    """The clone address leads to the sandbox and carries the caller's name, which a client has to strip."""
    api = serve(users={"bot@acme.example": "t"})

    value = api.get("", auth=("bot@acme.example", "t")).json()

    assert {item["name"] for item in value["links"]["clone"]} == {"https", "ssh"}
    assert value["links"]["clone"][0]["href"] == f"{api.sandbox.git_url.replace('://', '://bot@')}/acme/api.git"


@pytest.mark.parametrize("kind", ["clone", "work tree", "submodule"])
def test_repositories_with_files_beside_them(api, serve, repository, tmp_path, kind):
    """Clones are served as well as bare repositories; further work trees and submodules stand for theirs."""
    sha = repository.commit()
    place = tmp_path / "work" / "My Place"
    allowed = ("-c", "protocol.file.allow=always")
    if kind == "clone":
        subprocess.run(["git", "clone", "-q", repository.path, place], check=True)
    elif kind == "work tree":
        repository.git("worktree", "add", "-q", "--detach", str(place), "main")
    else:
        subprocess.run(["git", "init", "-q", place.parent], check=True)
        command = ["git", *allowed, "-C", place.parent, "submodule", "--quiet", "add", repository.path, place.name]
        subprocess.run(command, check=True)

    other = serve(place)

    assert slugs(other) == ["my-place"]
    assert other.hashes("/repositories/acme/my-place/commits") == [sha]


def test_uuids_differ(serve, three):
    """No two repositories share a uuid."""
    assert len({value["uuid"] for value in serve().values("/repositories/acme")}) == 3


def test_repositories_come_and_go(serve, three, new_repository):
    """What is added to the folder or taken away shows at the next request."""
    api = serve()
    assert slugs(api) == ["alpha", "beta", "gamma"]

    new_repository("delta")
    three["beta"].path.rename(three["beta"].path.parent.parent / "away.git")

    assert slugs(api) == ["alpha", "delta", "gamma"]


def test_main_branch(api, repository):
    """The main branch is what HEAD names, also when its name has a slash; failing that, the first one."""
    sha = repository.commit(branch="trunk")
    assert api.json("")["mainbranch"] == {"type": "branch", "name": "trunk"}
    repository.set_ref("refs/heads/main", sha)
    assert api.json("")["mainbranch"]["name"] == "main"

    repository.set_ref("refs/heads/release/1", sha)
    repository.git("symbolic-ref", "HEAD", "refs/heads/release/1")

    assert api.json("")["mainbranch"]["name"] == "release/1"


@pytest.mark.parametrize(
    "path",
    [
        "/repositories",
        "/repositories/",
        "/workspaces",
        "/user/permissions/workspaces",
        "/user/permissions/repositories",
    ],
)
def test_endpoints_that_were_removed(api, path):
    """What crossed workspaces is a 410 with its announcement, also when the workspace was left empty by mistake."""
    answer = api.get(path)

    assert answer.status_code == 410
    assert answer.json()["error"]["message"].startswith("CHANGE-2770")
    assert answer.json()["data"] == answer.json()["error"]["data"]


def test_user_workspaces(api):
    """The workspaces of a user are told with slug and uuid and without name."""
    (value,) = api.json("/user/workspaces")["values"]

    assert value["type"] == "workspace_access"
    assert value["workspace"]["slug"] == "acme"
    assert value["workspace"]["uuid"] == api.json("")["workspace"]["uuid"]
    assert "name" not in value["workspace"]


def test_workspace_name_can_be_chosen(serve, three):
    """Another workspace answers under its own slug only; all else is a 404."""
    api = serve(workspace="umbrella")

    assert api.json("/repositories/umbrella/alpha")["full_name"] == "umbrella/alpha"
    for path in ("/repositories/acme/alpha", "/repositories/acme", "/workspaces/acme"):
        assert api.get(path).status_code == 404
    assert api.json("/workspaces/umbrella")["slug"] == "umbrella"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/repositories/acme/api/",
        "/repositories/acme/api/issues",
        "/repositories/acme/api/commit/a/b",
        "/repositories//api",
        "/../2.0x",
    ],
)
def test_unknown_address(api, path):
    """An address that nothing answers to is a 404 that says so."""
    answer = api.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Resource not found"
    assert "no API hosted" in answer.json()["error"]["detail"]


def test_repository_that_is_missing(api):
    """A repository that does not exist is told in the words for one without access."""
    answer = api.get("/repositories/acme/nowhere")

    assert answer.status_code == 404
    assert "may not have access" in answer.json()["error"]["message"]


def test_answers_while_two_change_names(serve, new_repository):
    """Who asks by uuid gets what belongs to it or is refused, and never what another repository has."""
    repositories = [new_repository(name) for name in ("one", "other")]
    for repository in repositories:
        repository.commit("Begin\n", branch=f"of-{repository.path.stem}")
    one, other = (repository.path for repository in repositories)
    api = serve()
    uuids = {value["slug"]: value["uuid"] for value in api.values("/repositories/acme")}

    def swap():
        for old, new in ((one, one.with_name("aside")), (other, one), (one.with_name("aside"), other)):
            old.rename(new)

    for number in range(100):
        # Once while a question is answered, sooner or later.
        swapping = threading.Timer(number % 10 / 1000, swap)
        swapping.start()
        for slug, uuid in uuids.items():
            answer = api.get(f"/repositories/acme/{quote(uuid)}/refs/branches")
            if answer.status_code == 200:
                assert {value["name"] for value in answer.json()["values"]} <= {f"of-{slug}"}
        swapping.join()
