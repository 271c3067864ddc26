"""Revisions that do not exist, `/commit/{sha}`, and repositories that are empty or gone."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("parameter", ["include", "exclude"])
def test_unknown_sha_is_named_twice(api, repository, parameter):
    """An unknown revision is a 404 whose data stands inside and beside the error."""
    repository.commit()
    sha = "1234567890" * 4

    answer = api.get("commits", params={parameter: sha})

    assert answer.status_code == 404
    assert answer.json() == {
        "type": "error",
        "error": {"message": "Commit not found", "data": {"shas": [sha]}},
        "data": {"shas": [sha]},
    }


def test_unknown_revision_in_the_path(api, repository):
    """A branch that does not exist is named like an unknown sha."""
    repository.commit()

    assert api.get("commits/nowhere").json()["data"] == {"shas": ["nowhere"]}


def test_of_several_unknown_shas_only_some_are_named(api, repository):
    """The error names some but not all; leaving out the named ones leads to the end after a few rounds."""
    sha = repository.commit()
    unknown = {f"{number:040x}" for number in range(1, 8)}
    excluded, rounds = set(unknown), 0
    while (answer := api.get("commits", params={"include": sha, "exclude": sorted(excluded)})).status_code == 404:
        named = set(answer.json()["data"]["shas"])
        assert answer.json()["error"]["data"] == answer.json()["data"]
        assert named
        assert named <= excluded
        assert len(excluded) == 1 or named < excluded
        excluded -= named
        rounds += 1

    assert rounds > 1
    assert [value["hash"] for value in answer.json()["values"]] == [sha]


def test_force_pushed_and_collected_sha(api, repository):
    """A head that was rewritten resolves until its garbage is collected, and is a 404 after that."""
    base = repository.commit("Base\n")
    old = repository.commit("Old\n")
    repository.commit("New\n", parents=[base])
    before = api.get("commits", params={"exclude": old})

    repository.collect_garbage()
    after = api.get("commits", params={"exclude": old})

    assert before.status_code == 200
    assert after.status_code == 404
    assert after.json()["data"] == {"shas": [old]}
    assert api.get(f"commit/{old}").status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "main~1",
        "--all",
        "HEAD:f",
        "main^",
        "HEAD@{1}",
        "^main",
        "-main",
        "ma*",
        "a..main",
        ":/A",
        "x\ny",
        "x\ry",
        "é",
        "a\u2028b",
        "a\x0bb",
        "\x00",
        "",
    ],
)
def test_expressions_and_odd_names_are_no_revisions(api, repository, name):
    """What git would read as an expression, and what breaks lines, is an unknown revision and nothing worse."""
    repository.commit()
    repository.commit()

    assert api.get("commits", params={"include": name}).status_code == 404


def test_tree_is_no_revision(api, repository):
    """The sha of something that is no commit is unknown."""
    repository.commit("A\n", {"a": "1\n"})

    assert api.get("commits", params={"include": repository.lines("rev-parse", "main^{tree}")[0]}).status_code == 404


@pytest.mark.parametrize("encoded", ["topic/side", "topic%2Fside"])
def test_slash_in_a_branch_name(api, forked, encoded):
    """A branch name with a slash is no resource below commits; `include` takes it."""
    answer = api.get(f"commits/{encoded}")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Resource not found"
    assert api.hashes(include="topic/side")[0] == forked["y"]


# --- one commit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [7, 12, 39, 40])
def test_commit_by_its_beginning(api, repository, length):
    """A commit is found by seven digits or more, and always told with forty."""
    sha = repository.commit()

    assert api.json(f"commit/{sha[:length]}")["hash"] == sha


@pytest.mark.parametrize("name", ["main", "123456", "zzzzzzz", "0" * 40])
def test_commit_that_is_not_there(api, repository, name):
    """Names of branches, too few digits and unknown shas are a 404."""
    repository.commit()

    answer = api.get(f"commit/{name}")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Commit not found"


def test_merge_has_its_parents_in_order(api, repository, forked):
    """Parents are told with full shas, the first one first; a root has none."""
    merge = repository.commit("Merge\n", parents=[forked["c"], forked["y"]])

    assert [parent["hash"] for parent in api.json(f"commit/{merge}")["parents"]] == [forked["c"], forked["y"]]
    assert api.json(f"commit/{forked['a']}")["parents"] == []


# --- empty repositories ------------------------------------------------------------------------------------------


def test_empty_repository(api, repository):
    """A repository without commits has an empty listing, no branches and no main branch."""
    assert api.json("commits") == {"values": [], "pagelen": 30}
    assert api.json("refs/branches") == {"values": [], "pagelen": 10, "size": 0, "page": 1}
    assert api.json("refs/tags")["values"] == []
    assert api.json("")["mainbranch"] is None


def test_empty_repository_may_be_a_404(api, repository):
    """By fault the listing of an empty repository is a 404, and that of others is not."""
    api.sandbox.set_fault("empty-repository", "404")
    empty = api.get("commits")
    repository.commit()

    assert empty.status_code == 404
    assert api.get("commits").status_code == 200


def test_repository_that_leaves_while_it_is_served(api, repository, tmp_path):
    """A folder that is gone is a 404 of a repository without access, not a failure."""
    repository.commit()
    assert api.get("commits").status_code == 200

    repository.path.rename(tmp_path / "elsewhere.git")

    assert api.get("commits").status_code == 404


def test_objects_that_are_lost_on_a_walk(api, repository):
    """When garbage is collected between two pages, the next one is a 404."""
    base = repository.commit("Base\n")
    repository.line(3)
    following = api.json("commits", pagelen=1)["next"]
    repository.set_ref("refs/heads/main", base)
    repository.collect_garbage()

    assert api.get(following).status_code == 404
