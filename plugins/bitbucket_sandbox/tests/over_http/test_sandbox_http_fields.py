"""`fields`: answers cut down to what is wanted."""

from __future__ import annotations

import pytest


@pytest.fixture
def filled(api, repository):
    """Serve a repository of three commits."""
    for number in range(3):
        repository.commit(f"{number}\n")
    return api


def test_only(filled):
    """A list of paths keeps these and nothing else."""
    page = filled.json("commits", fields="values.hash,values.parents.hash,pagelen")

    assert set(page) == {"values", "pagelen"}
    assert set(page["values"][0]) == {"hash", "parents"}
    assert set(page["values"][0]["parents"][0]) == {"hash"}


def test_only_without_next_ends_the_paging(filled):
    """Who does not ask for next gets no second page."""
    assert "next" not in filled.json("commits", pagelen=1, fields="values.hash")
    assert "next" in filled.json("commits", pagelen=1, fields="values.hash,next")


def test_next_keeps_fields(filled):
    """Each further page is cut down in the same way."""
    values = filled.values("commits", pagelen=1, fields="values.hash,next")

    assert [set(value) for value in values] == [{"hash"}] * 3


def test_next_of_a_numbered_list_keeps_fields(filled, repository):
    """On numbered lists next repeats the fields."""
    repository.commit(branch="side")

    values = filled.values("refs/branches", pagelen=1, fields="values.name,next")

    assert values == [{"name": "main"}, {"name": "side"}]


def test_drop(filled):
    """A minus drops one path and keeps the rest."""
    whole = filled.json("commits/main")
    page = filled.json("commits/main", fields="-values.message,-values.author.user")

    assert set(whole["values"][0]) - set(page["values"][0]) == {"message"}
    assert set(page["values"][0]["author"]) == {"type", "raw"}


def test_add(filled):
    """An encoded plus adds, and so keeps everything that is there."""
    assert filled.json("commits/main", fields="+values.participants") == filled.json("commits/main")


def test_star(filled):
    """A star stands for all names at its place."""
    whole = filled.json("commits/main")

    assert filled.json("commits/main", fields="*") == whole
    assert filled.json("commits/main", fields="values.*,pagelen") == whole


def test_star_and_drop(filled):
    """All but one can be had."""
    page = filled.json("commits/main", fields="values.*,-values.links")

    assert set(page) == {"values"}
    assert "hash" in page["values"][0]
    assert "links" not in page["values"][0]


@pytest.mark.parametrize("fields", ["values,values.hash", "values.hash,values"])
def test_whole_wins_over_part(filled, fields):
    """A path that is asked for as a whole is kept as a whole."""
    assert "message" in filled.json("commits", fields=fields)["values"][0]


@pytest.mark.parametrize("fields", ["", ",", " "])
def test_no_fields(filled, fields):
    """Empty fields change nothing."""
    assert filled.json("commits/main", fields=fields) == filled.json("commits/main")


@pytest.mark.parametrize(
    "fields", ["nothing", "values.nothing", "-", "-nothing.at.all", "values.hash.deeper", "...", "*.*", "-*"]
)
def test_names_that_are_not_there(filled, fields):
    """Names that nothing has are no error."""
    assert filled.get("commits", params={"fields": fields}).status_code == 200


def test_errors_are_not_cut_down(filled):
    """An error is told in full."""
    answer = filled.get("commits/nowhere", params={"fields": "values.hash"})

    assert answer.json()["error"]["message"] == "Commit not found"


def test_single_objects(filled):
    """Fields apply to single objects as well, without `values.`."""
    assert set(filled.json("", fields="uuid,mainbranch.name")) == {"uuid", "mainbranch"}


def test_post_takes_fields_in_its_address(filled):
    """A POST is cut down by the fields of its query."""
    page = filled.post("commits?fields=values.hash", data={"include": "main"}).json()

    assert set(page["values"][0]) == {"hash"}
