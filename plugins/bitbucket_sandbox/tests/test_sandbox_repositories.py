"""The workspace: its repositories, their identity, and the addresses that are gone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest


def slugs(api: Any, **params: Any) -> list[str]:
    """Return the slugs of all pages."""
    return [value["slug"] for value in api.values("/repositories/acme", **params)]


def test_repositories_are_paged(new_repository: Callable[..., Any], api: Any) -> None:
    """Ten a page by default; the envelope tells size and page, and next keeps the parameters."""
    names = sorted(f"repository-{n:02}" for n in range(12))
    for name in names:
        new_repository(name)
    first = api.get("/repositories/acme", params={"sort": "slug"}).json()
    assert (first["size"], first["page"], first["pagelen"]) == (12, 1, 10)
    assert "sort=slug" in first["next"]
    assert "previous" not in first
    last = api.client.get(first["next"]).json()
    assert "next" not in last
    assert api.client.get(last["previous"]).json()["values"] == first["values"]
    assert [value["slug"] for value in first["values"] + last["values"]] == names


@pytest.mark.parametrize("query", ["pagelen=101", "pagelen=0", "page=0", "page=x", "sort=shoe_size", "q=name ~", "q=x=1",
                                   'q=updated_on > "soon"', 'q=name = "a" name = "b"'])  # fmt: skip
def test_bad_parameters_are_refused(new_repository: Callable[..., Any], api: Any, query: str) -> None:
    """What is out of range or not understood is a 400 with an error body."""
    new_repository("api")
    answer = api.get(f"/repositories/acme?{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "error")


def test_repository_object(repository: Any, api: Any) -> None:
    """A repository tells its names, identity, main branch and times with microseconds."""
    repository.commit()
    value = api.get("/repositories/acme/api").json()
    assert (value["type"], value["full_name"], value["slug"], value["scm"]) == ("repository", "acme/api", "api", "git")
    assert value["mainbranch"] == {"type": "branch", "name": "main"}
    assert re.fullmatch(r"\{[0-9a-f-]{36}\}", value["uuid"])
    for key in ("created_on", "updated_on"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", value[key])
    assert value["workspace"]["slug"] == "acme"
    assert {item["name"] for item in value["links"]["clone"]} == {"https", "ssh"}


def test_clone_address_names_the_caller(repository: Any, serve: Callable[..., Any]) -> None:
    """The clone address carries the caller's name, which a client has to strip."""
    api = serve(users={"bot@acme.example": "t"})
    answer = api.get("/repositories/acme/api", auth=("bot@acme.example", "t"))
    assert answer.json()["links"]["clone"][0]["href"].startswith("https://bot@")


def test_main_branch_is_that_of_head(repository: Any, api: Any) -> None:
    """The main branch is null without commits, what HEAD names, packed or not, else the first branch."""

    def main() -> Any:
        return api.get("/repositories/acme/api").json()["mainbranch"]

    assert main() is None
    repository.commit(branch="trunk")
    assert main()["name"] == "trunk"
    repository.commit(branch="main")
    assert main()["name"] == "main"
    repository.git("pack-refs", "--all")
    assert main()["name"] == "main"
    repository.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    assert main()["name"] == "trunk"


def test_uuid_in_place_of_names(repository: Any, api: Any) -> None:
    """Repository and workspace may be given as uuids in braces, encoded or not, and the workspace as empty braces."""
    value = api.get("/repositories/acme/api").json()
    workspace = value["workspace"]["uuid"]
    for address in (
        f"/repositories/acme/{value['uuid']}",
        f"/repositories/%7B%7D/%7B{value['uuid'].strip('{}')}%7D",
        f"/repositories/{workspace}/API",
    ):
        assert api.get(address).json()["slug"] == "api"


def test_renamed_repository_keeps_its_uuid(repository: Any, api: Any) -> None:
    """A folder that is renamed shows under its new slug at once, with the same uuid; the old slug is a 404."""
    repository.commit()
    before = api.get("/repositories/acme/api").json()["uuid"]
    repository.path.rename(repository.path.with_name("Core API.git"))
    assert slugs(api) == ["core-api"]
    assert api.get("/repositories/acme/core-api").json()["uuid"] == before
    assert api.get("/repositories/acme/api").status_code == 404


def test_new_repository_in_the_same_place_is_another(
    repository: Any, new_repository: Callable[..., Any], api: Any
) -> None:
    """A repository that is deleted and made anew gets a new uuid."""
    (repository.path / "description").write_text("first\n")
    before = api.get("/repositories/acme/api").json()["uuid"]
    shutil.rmtree(repository.path)
    assert slugs(api) == []
    (new_repository("api").path / "description").write_text("second\n")
    assert api.get("/repositories/acme/api").json()["uuid"] != before


def test_uuid_can_be_set(repository: Any, api: Any) -> None:
    """`git config sandbox.uuid` wins, also while serving."""
    api.get("/repositories/acme/api")
    repository.git("config", "sandbox.uuid", "12345678-9abc-def0-1234-56789abcdef0")
    assert api.get("/repositories/acme/api").json()["uuid"] == "{12345678-9abc-def0-1234-56789abcdef0}"


def test_updated_on_moves_with_every_ref(repository: Any, api: Any) -> None:
    """A push, a new tag, packing and a deletion each move updated_on; reading does not."""
    import time

    seen = []

    def look() -> None:
        seen.append(api.get("/repositories/acme/api").json()["updated_on"])
        time.sleep(0.02)  # file times advance by ticks of the kernel's clock

    sha = repository.commit()
    look()
    repository.commit()
    look()
    repository.git("tag", "v1", sha)
    look()
    repository.git("pack-refs", "--all")
    look()
    repository.git("tag", "-d", "v1")
    look()
    assert seen == sorted(set(seen))
    look()
    assert seen[-1] == seen[-2]


def test_query_and_sort(new_repository: Callable[..., Any], api: Any) -> None:
    """Names, slugs and times can be asked for and sorted by; terms are joined with AND."""
    import time

    for name in ("web-10", "api", "web-9"):
        new_repository(name).commit()
        time.sleep(0.02)
    times = {value["slug"]: value["updated_on"] for value in api.values("/repositories/acme")}
    assert slugs(api, q='name ~ "WEB"', sort="name") == ["web-9", "web-10"]
    assert slugs(api, q=f'updated_on > "{times["web-10"]}"', sort="-updated_on") == ["web-9", "api"]
    assert slugs(api, q=f"updated_on >= {times['api']}", sort="updated_on") == ["api", "web-9"]
    assert slugs(api, q=f'updated_on>"{times["web-10"]}" AND name!="api"') == ["web-9"]
    assert slugs(api, q='slug="api"') == ["api"]
    phoenix = datetime.fromisoformat(times["api"]).isoformat().replace("+00:00", "Z")
    assert slugs(api, q=f'updated_on = "{phoenix}"') == ["api"]


def test_ordinary_clones_and_single_repositories(tmp_path: Path, serve: Callable[..., Any], repository: Any) -> None:
    """Working trees are served as well as bare repositories, by their own path or by that of their folder."""
    repository.commit()
    clone = tmp_path / "work" / "My Clone"
    subprocess.run(["git", "clone", "-q", str(repository.path), str(clone)], check=True)
    assert slugs(serve(clone)) == ["my-clone"]
    assert slugs(serve(tmp_path / "work", repository.path)) == ["api", "my-clone"]


def test_workspaces(repository: Any, api: Any) -> None:
    """The caller's workspaces can be listed, one can be read, and another one is a 404."""
    (value,) = api.values("/user/workspaces")
    assert (value["type"], value["workspace"]["type"], value["workspace"]["slug"]) == (
        "workspace_access",
        "workspace_base",
        "acme",
    )
    assert "name" not in value["workspace"]
    assert api.get("/workspaces/acme").json()["slug"] == "acme"
    for address in ("/repositories/other", "/repositories/other/api", "/workspaces/other"):
        assert api.get(address).status_code == 404
    assert api.get("/user").json()["type"] == "user"


@pytest.mark.parametrize("address", ["/repositories", "/repositories/", "/workspaces"])
def test_removed_addresses(api: Any, address: str) -> None:
    """The cross-workspace addresses are a 410 that names the change, also with an empty workspace."""
    answer = api.get(address)
    assert answer.status_code == 410
    assert answer.json()["error"]["message"].startswith("CHANGE-2770")
    assert answer.json()["data"] == answer.json()["error"]["data"]


@pytest.mark.parametrize("address", ["", "/nothing", "/repositories/acme/api/issues", "/repositories//api", "/../2.0x"])
def test_unknown_addresses(repository: Any, api: Any, address: str) -> None:
    """What no API answers to is a 404 in Bitbucket's words."""
    answer = api.get(address or "/")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Resource not found")


def test_unknown_repository(api: Any) -> None:
    """What does not exist looks like what may not be seen."""
    answer = api.get("/repositories/acme/secret/commits")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("You may not have access to this repository or it no longer")


def test_writing_is_refused(repository: Any, api: Any) -> None:
    """Only listings of commits take a POST."""
    assert api.post("/repositories/acme/api").status_code == 405
    assert api.client.delete(api.address("refs/branches/main")).status_code == 405
