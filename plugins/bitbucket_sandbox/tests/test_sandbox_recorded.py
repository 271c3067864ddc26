"""Our answers beside recorded ones, which lie outside of this repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[4] / "shared" / "payloads" / "api"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="there are no recorded answers on this machine")

#: What we leave out, and say so in the README.
LEFT_OUT = {"override_settings", "username", "enforced_signed_commits"}


def recorded(name):
    """Return a recorded answer."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def differences(ours, theirs, place="$"):
    """Yield where the shapes differ: a key that is missing or of our own making, another type, another constant."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(theirs) - set(ours) - LEFT_OUT):
            yield f"{place}.{key} is missing"
        for key in sorted(set(ours) & set(theirs)):
            if key == "type" and ours[key] != theirs[key]:
                yield f"{place}.type is {ours[key]!r}, not {theirs[key]!r}"
            yield from differences(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one in ours[:1]:
            for other in theirs[:1]:
                yield from differences(one, other, f"{place}[]")
    elif None not in (ours, theirs) and type(ours) is not type(theirs):
        yield f"{place} is {type(ours).__name__}, not {type(theirs).__name__}"


@pytest.fixture
def filled(api, repository):
    """Serve a repository with a change of an existing file."""
    repository.commit("One\n", {"a": "1\n"})
    repository.commit("Two\n", {"a": "1\n2\n"})
    return api


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("jenkins_commits", "commits?pagelen=1"),
        ("jenkins_commit", "commit/{sha}"),
        ("jenkins_branches", "refs/branches"),
        ("jenkins_diffstat", "diffstat/{sha}"),
        ("jenkins_repository", ""),
    ],
)
def test_shape_equals_the_recorded_one(filled, repository, name, path):
    """Every key of a recorded answer is in ours, with the same type, but for those that are left out on purpose."""
    ours = filled.json(path.format(sha=repository.lines("rev-parse", "main")[0]))
    theirs = recorded(name)
    if name == "jenkins_repository":
        # An old recording; owners have had no user name since 2019, and these say "user" for "team".
        theirs["owner"] = ours["owner"]

    assert list(differences(ours, theirs)) == []


def test_pull_requests_equal_the_recorded_ones(filled, repository):
    """A list of pull requests has the recorded keys."""
    repository.commit("Three\n", branch="x")
    body = {"title": "A", "source": {"branch": {"name": "x"}}}
    filled.client.post(filled.address("pullrequests"), json=body)

    assert list(differences(filled.json("pullrequests"), recorded("jenkins_pullrequests"))) == []


def test_workspace_access_equals_the_recorded_one(filled):
    """A workspace of `/user/workspaces` has the recorded keys."""
    (ours,) = filled.json("/user/workspaces")["values"]

    assert list(differences(ours, recorded("gildas_workspace-access"))) == []


def test_unknown_address_equals_the_recorded_one(filled):
    """The 404 of an unknown address begins with the recorded words."""
    ours, theirs = filled.get("/nothing").json(), recorded("gildas_error-noapi")

    assert ours["error"]["message"] == theirs["error"]["message"]
    assert ours["error"]["detail"].startswith(theirs["error"]["detail"])


def test_forbidden_equals_the_recorded_one(filled):
    """The 403 for a missing scope has the recorded shape."""
    filled.sandbox.set_fault("forbidden")
    ours, theirs = filled.get("commits").json(), recorded("gildas_error-privileges")

    assert list(differences(ours, theirs)) == []
    assert ours["error"]["message"] == theirs["error"]["message"]


def test_bad_request_equals_the_recorded_one(filled):
    """A 400 that names fields has the recorded shape."""
    ours = filled.get("commits?pagelen=101").json()
    theirs = recorded("gildas_error-badrequest")

    assert set(ours["error"]) == set(theirs["error"])
    assert {type(value) for value in ours["error"]["fields"].values()} == {str}
