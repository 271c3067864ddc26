"""`fields`: answers cut down to what is wanted."""

from __future__ import annotations

import pytest
from releasecopilot_bitbucket_sandbox.fields import partial

BODY = {
    "size": 2,
    "next": "n",
    "values": [{"name": "a", "target": {"hash": "1", "date": "d"}}, {"name": "b", "target": None}],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, BODY),
        ("", BODY),
        (" ", BODY),
        (",", BODY),
        ("*", BODY),
        ("values,values.name,*", BODY),
        ("size,next", {"size": 2, "next": "n"}),
        ("values.name", {"values": [{"name": "a"}, {"name": "b"}]}),
        ("values.target.hash", {"values": [{"target": {"hash": "1"}}, {"target": None}]}),
        ("values.target.hash,values.target", {"values": [{"target": {"hash": "1", "date": "d"}}, {"target": None}]}),
        ("values.*.hash", {"values": [{"name": "a", "target": {"hash": "1"}}, {"name": "b", "target": None}]}),
        ("-values", {"size": 2, "next": "n"}),
        ("-values.target,-next", {"size": 2, "values": [{"name": "a"}, {"name": "b"}]}),
        ("-*.target", {"size": 2, "next": "n", "values": [{"name": "a"}, {"name": "b"}]}),
        ("values.*,-values.target", {"values": [{"name": "a"}, {"name": "b"}]}),
        ("+values.participants", BODY),
        (" values.participants", {"values": [{}, {}]}),
        ("unknown", {}),
    ],
)
def test_partial(fields, expected):
    """A list keeps what it names, a minus drops, a plus adds, a star is any name; a plus that became a space names."""
    assert partial(BODY, fields) == expected


@pytest.mark.parametrize(
    ("fields", "shown"), [(None, False), ("+values.target", True), ("values.target", True), ("next", False)]
)
def test_held_back(fields, shown):
    """What is held back is there only when it is asked for by name."""
    body = partial(BODY, fields, ("values.target",))

    assert any("target" in value for value in body.get("values", [])) == shown


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


def test_add(filled):
    """An encoded plus adds, and so keeps everything that is there."""
    assert filled.json("commits/main", fields="+values.participants") == filled.json("commits/main")


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
