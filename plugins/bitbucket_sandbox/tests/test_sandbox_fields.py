"""Partial answers."""

from __future__ import annotations

from typing import Any

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
        ("size,next", {"size": 2, "next": "n"}),
        ("values.name", {"values": [{"name": "a"}, {"name": "b"}]}),
        ("values.target.hash", {"values": [{"target": {"hash": "1"}}, {"target": None}]}),
        ("values.target.hash,values.target", {"values": [{"target": {"hash": "1", "date": "d"}}, {"target": None}]}),
        (
            "values.*.hash,size",
            {"size": 2, "values": [{"name": "a", "target": {"hash": "1"}}, {"name": "b", "target": None}]},
        ),
        ("-values", {"size": 2, "next": "n"}),
        ("-values.target,-next", {"size": 2, "values": [{"name": "a"}, {"name": "b"}]}),
        ("-*.target", {"size": 2, "next": "n", "values": [{"name": "a"}, {"name": "b"}]}),
        ("+values.participants", BODY),
        (" values.participants", BODY),
        ("*", BODY),
        ("unknown", {}),
    ],
)
def test_fields(fields: str | None, expected: Any) -> None:
    """A list keeps only what it names, a minus drops, a plus (also as a space) adds, a star is any name."""
    assert partial(BODY, fields) == expected


def test_fields_without_next_end_the_paging(repository: Any, api: Any) -> None:
    """A list without next loses the link, here as there."""
    repository.line(3)
    assert set(api.get("commits?pagelen=1&fields=values.hash").json()) == {"values"}
    assert set(api.get("commits?pagelen=1&fields=values.hash,next").json()) == {"values", "next"}


def test_next_keeps_fields(repository: Any, api: Any) -> None:
    """Further pages are cut down in the same way, numbered or not."""
    shas = repository.line(3)
    for branch in ("b1", "b2"):
        repository.git("update-ref", f"refs/heads/{branch}", shas[0])
    assert api.values("commits", pagelen=1, fields="values.hash,next") == [{"hash": sha} for sha in shas]
    assert api.values("refs/branches", pagelen=1, fields="values.name,next") == [
        {"name": n} for n in ("b1", "b2", "main")
    ]


def test_errors_are_told_whole(api: Any) -> None:
    """Fields do not cut down errors."""
    assert api.get("/repositories/acme/none?fields=values.hash").json()["type"] == "error"
