"""Pull requests: opened, read, updated, declined and merged over the API."""

from __future__ import annotations

import re

import pytest


def ids(api, **params):
    """Return the ids of all pages of the list."""
    return [value["id"] for value in api.values("pullrequests", **params)]


# --- open and read -----------------------------------------------------------------------------------------------


def test_open_and_read(api, send, feature):
    """A new one is open, from source to main branch, with hashes of twelve digits; its address is told."""
    answer = send("POST", "pullrequests", {"title": "RC-1", "source": {"branch": {"name": "feature/x"}}})

    value = answer.json()
    assert answer.status_code == 201
    assert api.json(answer.headers["Location"]) == value
    assert (value["id"], value["title"], value["state"], value["description"]) == (1, "RC-1", "OPEN", "")
    assert value["source"]["branch"]["name"] == "feature/x"
    assert value["source"]["commit"]["hash"] == feature["tip"][:12]
    assert value["destination"]["branch"]["name"] == "main"
    assert value["destination"]["commit"]["hash"] == feature["main"][:12]
    assert (value["merge_commit"], value["closed_by"]) == (None, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}\+00:00", value["updated_on"])
    assert api.json(f"commit/{value['source']['commit']['hash']}")["hash"] == feature["tip"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"source": {"branch": {"name": "feature/x"}}}, "title"),
        ({"title": " ", "source": {"branch": {"name": "feature/x"}}}, "title"),
        ({"title": 1, "source": {"branch": {"name": "feature/x"}}}, "title"),
        ({"title": "x"}, "source"),
        ({"title": "x", "source": "feature/x"}, "source"),
        ({"title": "x", "source": {"branch": {"name": ["feature/x"]}}}, "source"),
        ({"title": "x", "source": {"branch": {"name": "nowhere"}}}, "source"),
        ({"title": "x", "source": {"branch": {"name": "main"}}}, None),
        ({"title": "x", "source": {"branch": {"name": "feature/x"}}, "destination": {"branch": {"name": "no"}}}, "destination"),
        ({"title": "x", "source": {"branch": {"name": "feature/x"}}, "draft": "yes"}, "draft"),
        ([], "body"),
        ("x", "body"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened(api, send, feature, body, field):
    """What is missing, of the wrong type or not there is a 400 that names the key."""
    answer = send("POST", "pullrequests", body)

    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert set(answer.json()["error"].get("fields", {})) == ({field} if field else set())
    assert ids(api) == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_body_that_is_no_json(api, feature, body):
    """What is no JSON is a 400."""
    assert api.post("pullrequests", content=body).status_code == 400


@pytest.mark.parametrize("number", ["7", "x", "0", "01"])
def test_one_that_is_not_there(api, feature, opened, number):
    """An unknown id is a 404 in plain text."""
    opened()

    answer = api.get(f"pullrequests/{number}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/plain")


# --- list --------------------------------------------------------------------------------------------------------


def test_list_shows_open_ones(api, send, opened):
    """Without a state only open ones are listed; states can be repeated."""
    for number in range(3):
        opened(f"Number {number}")
    send("POST", "pullrequests/1/decline")
    send("POST", "pullrequests/2/merge")

    assert ids(api) == [3]
    assert ids(api, state="DECLINED") == [1]
    assert sorted(ids(api, state=["OPEN", "MERGED", "DECLINED", "SUPERSEDED"], pagelen=2)) == [1, 2, 3]
    assert api.get("pullrequests", params={"state": "CLOSED"}).status_code == 400


@pytest.mark.parametrize(("pagelen", "status"), [(50, 200), (51, 400), (100, 400)])
def test_cap_of_the_list(api, opened, pagelen, status):
    """Fifty a page is the most; more is refused and not clamped; ten is the default."""
    opened()

    assert api.get("pullrequests", params={"pagelen": pagelen}).status_code == status
    assert api.json("pullrequests")["pagelen"] == 10


def test_query_and_sort(api, send, opened):
    """`q` compares times and names, `sort` goes by time."""
    first, second = opened("One"), opened("Two")
    send("PUT", "pullrequests/1", {"title": "One, later"})

    later = api.json("pullrequests/1")["updated_on"]
    assert ids(api, q=f"updated_on >= {later}") == [1]
    assert ids(api, q=f'updated_on > "{first["updated_on"]}" AND title ~ "two"') == [second["id"]]
    assert ids(api, q='source.branch.name = "feature/x"', sort="created_on") == [1, 2]
    assert ids(api) == ids(api, sort="-updated_on") == [1, 2]


def test_participants_are_held_back(api, opened):
    """In the list, reviewers and participants stand only when a plus asks for them."""
    opened()

    listed = api.json("pullrequests")["values"][0]
    more = api.json("pullrequests", fields="+values.participants")["values"][0]

    assert not {"reviewers", "participants"} & set(listed)
    assert set(more) - set(listed) == {"participants"}
    assert {"reviewers", "participants"} <= set(api.json("pullrequests/1"))


def test_repositories_have_their_own(api, serve, new_repository, opened):
    """Each repository counts its own, whichever way it is addressed, and keeps them when it is renamed."""
    opened()
    other = new_repository("other")
    other.commit()
    uuid = api.json("")["uuid"]

    assert api.json("/repositories/acme/other/pullrequests")["values"] == []
    (api_folder,) = [served.git.folder for served in api.sandbox.repositories if served.slug == "api"]
    api_folder.rename(api_folder.with_name("renamed.git"))
    assert len(api.json(f"/repositories/acme/{uuid}/pullrequests")["values"]) == 1
    value = api.json("/repositories/acme/renamed/pullrequests/1")
    assert value["destination"]["repository"]["full_name"] == "acme/renamed"


# --- update ------------------------------------------------------------------------------------------------------


def test_title_and_destination_change(api, send, repository, opened, feature):
    """Title, description and destination can be changed; what is not sent stays; `updated_on` moves."""
    before = opened(description="Why")
    repository.set_ref("refs/heads/release/1", feature["base"])

    answer = send("PUT", "pullrequests/1", {"title": "New", "destination": {"branch": {"name": "release/1"}}})

    value = answer.json()
    assert (answer.status_code, value) == (200, api.json("pullrequests/1"))
    assert (value["title"], value["description"]) == ("New", "Why")
    assert value["destination"]["branch"]["name"] == "release/1"
    assert value["destination"]["commit"]["hash"] == feature["base"][:12]
    assert value["updated_on"] > before["updated_on"]
    assert value["created_on"] == before["created_on"]


@pytest.mark.parametrize("destination", ["nowhere", "feature/x"])
def test_destination_that_cannot_be(send, opened, destination):
    """A destination that is not there, or is the source, is a 400."""
    opened()

    assert send("PUT", "pullrequests/1", {"destination": {"branch": {"name": destination}}}).status_code == 400


def test_open_ones_follow_their_branches(api, repository, opened):
    """A push to the source is an update, one to the destination is none; `updated_on` of the repository ignores edits."""
    before = opened()
    source = repository.commit("Third\n", branch="feature/x")
    moved = api.json("pullrequests/1")
    destination = repository.commit("Other\n")
    again = api.json("pullrequests/1")

    assert moved["source"]["commit"]["hash"] == source[:12]
    assert moved["updated_on"] > before["updated_on"]
    assert again["destination"]["commit"]["hash"] == destination[:12]
    assert again["updated_on"] == moved["updated_on"]


def test_source_branch_that_is_gone(api, repository, opened, feature):
    """A pull request whose branch was deleted stays open, at its last commit."""
    opened()
    repository.drop_ref("refs/heads/feature/x")

    value = api.json("pullrequests/1")

    assert (value["state"], value["source"]["commit"]["hash"]) == ("OPEN", feature["tip"][:12])
    assert api.hashes("pullrequests/1/commits") == [feature["tip"], feature["first"]]


# --- children ----------------------------------------------------------------------------------------------------


def test_commits_have_opaque_pages(api, repository, opened, feature):
    """Commits come newest first with full hashes, in pages behind tokens that are no numbers."""
    shas = [repository.commit(f"{n}\n", branch="feature/x") for n in range(10)][::-1]
    opened()
    expected = [*shas, feature["tip"], feature["first"]]

    page = api.json("pullrequests/1/commits")

    assert page["pagelen"] == 10
    assert set(page) == {"pagelen", "page", "values", "next"}
    assert re.search(r"[?&]page=[A-Za-z]{3,6}$", page["next"])
    assert api.hashes("pullrequests/1/commits", pagelen=5) == expected
    assert api.values("pullrequests/1/commits", pagelen=5, fields="values.hash,next") == [{"hash": h} for h in expected]
    assert api.get("pullrequests/1/commits", params={"pagelen": 101}).status_code == 400


@pytest.mark.parametrize("token", ["1", "2", "", "zzz", "bcd", "x" * 40])
def test_pages_that_are_none(api, opened, token):
    """A page number, and whatever else is no token, is a 400 "Invalid page"."""
    opened()

    answer = api.get("pullrequests/1/commits", params={"page": token})

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Invalid page")


def test_diffstat_is_elsewhere(api, opened, feature):
    """The diffstat is a 302 to that of source and destination, which compares from the merge base."""
    value = opened()

    answer = api.get("pullrequests/1/diffstat", follow_redirects=False)

    sides = f"{feature['tip'][:12]}%0D{feature['main'][:12]}"
    expected = api.address(f"diffstat/acme/api:{sides}?from_pullrequest_id=1&topic=true")
    assert (answer.status_code, answer.headers["Location"]) == (302, expected)
    assert value["links"]["diffstat"]["href"] == expected
    assert [change["new"]["path"] for change in api.json(expected)["values"]] == ["x"]


def test_fork_that_is_gone(api, opened):
    """By fault the source has neither repository nor commit, and its commits are a 404."""
    opened()
    api.sandbox.set_fault("fork-gone")

    source = api.json("pullrequests")["values"][0]["source"]

    assert (source["repository"], source["commit"]) == (None, None)
    assert api.get("pullrequests/1/commits").status_code == 404


# --- who, and for how long ---------------------------------------------------------------------------------------


def test_scopes(repository, serve, feature):
    """Reading needs `pullrequest`, changing `pullrequest:write`; `repository` alone covers neither."""
    api = serve(users={"bot@acme.example": "t"})
    api.client.auth = ("bot@acme.example", "t")
    body = {"title": "x", "source": {"branch": {"name": "feature/x"}}}
    found = {}
    for scope in ("repository:write", "pullrequest", "pullrequest:write"):
        api.sandbox.set_fault("scopes", scope)
        answers = [api.get("pullrequests"), api.client.post(api.address("pullrequests"), json=body), api.get("commits")]
        found[scope] = [answer.status_code for answer in answers]

    assert found == {
        "repository:write": [403, 403, 200],
        "pullrequest": [200, 403, 200],
        "pullrequest:write": [200, 201, 200],
    }
    assert api.json("pullrequests/1")["author"]["display_name"] == "bot"


def test_state_outlives_the_process(repository, serve, feature, tmp_path):
    """With a folder for state, pull requests are there when the next sandbox starts; only the owner may read it."""
    folder = tmp_path / "state"
    body = {"title": "Größe", "source": {"branch": {"name": "feature/x"}}}
    first = serve(state=folder)
    value = first.client.post(first.address("pullrequests"), json=body).json()
    first.sandbox.stop()

    second = serve(state=folder)

    again = second.json("pullrequests/1")
    assert (again["title"], again["created_on"]) == (value["title"], value["created_on"])
    assert second.client.post(second.address("pullrequests"), json=body).json()["id"] == 2
    assert [path.stat().st_mode & 0o077 for path in folder.iterdir()] == [0]
