"""`/commits` in pages: envelope, `next`, page lengths, and the POST that carries long sets."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest


def test_envelope_is_an_iterator(api, repository):
    """A page has no size, page or previous; the last one has no next either; 30 is the default."""
    expected = repository.line(35)

    first = api.json("commits")
    last = api.json(first["next"])

    assert set(first) == {"values", "pagelen", "next"}
    assert (first["pagelen"], len(first["values"])) == (30, 30)
    assert set(last) == {"values", "pagelen"}
    assert [value["hash"] for value in first["values"] + last["values"]] == expected


def test_next_is_opaque_and_mirrors_the_host(api, repository, forked):
    """`next` holds ctx and page and no set, and stands on the host that was called."""
    address = api.address("commits").replace("127.0.0.1", "localhost")

    page = api.json(address, include="main", exclude=forked["a"], pagelen=1)

    parts = urlsplit(page["next"])
    assert parts.hostname == "localhost"
    assert page["next"].startswith(address + "?")
    query = parse_qs(parts.query)
    assert set(query) == {"ctx", "page"}
    assert re.fullmatch("[0-9a-f]{32}", query["ctx"][0])
    assert query["page"] == ["2"]


def test_links_mirror_the_host_as_well(api, repository):
    """All links start with the address under which the API was called."""
    repository.commit()

    value = api.get("commits", headers={"Host": "bitbucket.test:8080"}).json()["values"][0]

    assert value["links"]["self"]["href"].startswith("http://bitbucket.test:8080/2.0/repositories/acme/api/commit/")


def test_next_keeps_page_length_and_sets(api, repository, forked):
    """Following next walks the same listing in pages of the same length."""
    pages = [api.json("commits", include="topic/side", exclude=forked["a"], pagelen=1)]
    pages.append(api.json(pages[0]["next"]))

    assert [[value["hash"] for value in page["values"]] for page in pages] == [[forked["y"]], [forked["x"]]]
    assert [page["pagelen"] for page in pages] == [1, 1]
    assert "next" not in pages[1]


def test_walk_is_not_moved_by_new_commits(api, repository):
    """What is pushed while a listing is walked does not shift its pages."""
    expected = repository.line(4)
    page = api.json("commits", pagelen=2)
    repository.commit("Meanwhile\n")

    rest = api.json(page["next"])

    assert [value["hash"] for value in page["values"] + rest["values"]] == expected


@pytest.mark.parametrize("pagelen", ["101", "0", "-1", "x", "", "²", "10000000000000"])
def test_wrong_page_length_is_refused(api, repository, pagelen):
    """A page length above the cap, or one that is none, is a 400 and not clamped."""
    repository.commit()

    answer = api.get("commits", params={"pagelen": pagelen})

    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


@pytest.mark.parametrize("pagelen", [1, 2, 100])
def test_page_length_within_the_cap(api, repository, pagelen):
    """Page lengths from 1 to 100 are kept to."""
    repository.line(3)

    page = api.json("commits", pagelen=pagelen)

    assert page["pagelen"] == pagelen
    assert len(page["values"]) == min(3, pagelen)


@pytest.mark.parametrize("page", ["x", "0", "-1", "²"])
def test_wrong_page_is_refused(api, repository, page):
    """A page that is no number from 1 is a 400."""
    repository.line(2)
    following = api.json("commits", pagelen=1)["next"]

    assert api.get(following.replace("page=2", f"page={page}")).status_code == 400


def test_unknown_ctx_is_refused(api, repository):
    """A ctx that was never given out is a 400."""
    repository.commit()

    assert api.get("commits", params={"ctx": "0" * 32, "page": 2}).status_code == 400


def test_page_behind_the_end_is_empty(api, repository):
    """A page that the listing does not reach has neither values nor next."""
    repository.line(2)
    following = api.json("commits", pagelen=1)["next"]

    assert api.json(following.replace("page=2", "page=9")) == {"values": [], "pagelen": 1}


def test_ctx_of_another_repository_is_refused(serve, new_repository):
    """A ctx continues the listing of its own repository only."""
    one, other = new_repository("one"), new_repository("other")
    one.line(2)
    other.line(2)
    api = serve()
    following = api.json("/repositories/acme/one/commits", pagelen=1)["next"]

    assert api.get(following.replace("/one/", "/other/")).status_code == 400


# --- what is ignored, and what is not ----------------------------------------------------------------------------


def test_query_and_sort_are_ignored(api, repository):
    """`q` and `sort` change nothing and raise no error, however odd."""
    expected = repository.line(3)

    assert api.hashes(q='date > "2099-01-01"', sort="date") == expected
    assert api.hashes(q="((", sort="-nothing", since="2099-01-01") == expected


def test_post_of_more_than_half_a_megabyte(api, repository, forked):
    """Eleven thousand excluded heads are answered like any other form; page length and fields stand in the address."""
    form = {"include": ["main"], "exclude": [forked["b"]] * 11_000}

    answer = api.post("commits?pagelen=5&fields=pagelen,values.hash", data=form)

    assert answer.status_code == 200
    assert answer.json()["pagelen"] == 5
    assert [value["hash"] for value in answer.json()["values"]] == [forked["c"]]


def test_post_is_continued_by_get(api, repository, forked):
    """The next of a POST is followed with GET and keeps the sets of the form."""
    first = api.post("commits?pagelen=1", data={"include": "main", "exclude": forked["a"]}).json()

    assert api.json(first["next"])["values"][0]["hash"] == forked["b"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(api, repository, method):
    """Nothing can be changed through the API."""
    assert api.client.request(method, api.address("commits")).status_code == 405
