"""Pull requests that are closed: declined, or merged in the real repository."""

from __future__ import annotations

import subprocess

import pytest


def test_decline(api, send, opened):
    """A declined one is closed by whoever did so, and cannot be changed any more."""
    opened()

    value = send("POST", "pullrequests/1/decline").json()

    assert (value["state"], value["merge_commit"], value["closed_by"]["type"]) == ("DECLINED", None, "user")
    for method, path in (("PUT", ""), ("POST", "/decline"), ("POST", "/merge")):
        assert send(method, f"pullrequests/1{path}", {"title": "x"}).status_code == 400


def test_merge_by_commit(api, send, repository, opened, feature):
    """A merge commit of both heads is made in the repository, in Bitbucket's words; files of both are there."""
    opened()

    value = send("POST", "pullrequests/1/merge").json()

    head = repository.lines("rev-parse", "main")[0]
    assert repository.lines("rev-parse", "main^1", "main^2") == [feature["main"], feature["tip"]]
    assert repository.lines("ls-tree", "--name-only", "main") == ["a", "m", "x"]
    assert repository.git("log", "-1", "--format=%B", "main").strip() == (
        "Merged in feature/x (pull request #1)\n\nRC-1 Round taxes"
    )
    assert (value["state"], value["merge_commit"]["hash"]) == ("MERGED", head[:12])
    assert value["destination"]["commit"]["hash"] == feature["main"][:12]
    assert api.hashes("pullrequests/1/commits") == [feature["tip"], feature["first"]]
    assert api.hashes()[0] == head


def test_merge_by_squash(send, repository, opened, feature):
    """A squash is one commit with one parent, a message of one's own, and the source branch may go."""
    opened()
    wish = {"merge_strategy": "squash", "message": "RC-1 Squashed\n", "close_source_branch": True}

    value = send("POST", "pullrequests/1/merge", wish).json()

    assert repository.lines("rev-list", "--parents", "-1", "main")[0].split()[1:] == [feature["main"]]
    assert repository.lines("log", "-1", "--format=%s", "main") == ["RC-1 Squashed"]
    assert repository.lines("for-each-ref", "--format=%(refname)", "refs/heads") == ["refs/heads/main"]
    assert value["close_source_branch"] is True


def test_merge_by_fast_forward(send, repository, opened, feature):
    """A fast-forward moves the branch, and is refused where it is none."""
    opened()
    wish = {"merge_strategy": "fast_forward"}
    refused = send("POST", "pullrequests/1/merge", wish)
    repository.set_ref("refs/heads/main", feature["base"])

    done = send("POST", "pullrequests/1/merge", wish)

    assert (refused.status_code, done.status_code) == (400, 200)
    assert repository.lines("rev-parse", "main") == [feature["tip"]]
    assert done.json()["merge_commit"]["hash"] == feature["tip"][:12]


def test_merge_with_a_conflict(api, send, repository, opened, feature):
    """A conflict is a 400, and nothing has changed."""
    opened()
    head = repository.commit("Same file\n", {"x": "other\n"})

    answer = send("POST", "pullrequests/1/merge")

    assert answer.status_code == 400
    assert "conflicts" in answer.json()["error"]["message"]
    assert repository.lines("rev-parse", "main") == [head]
    assert api.json("pullrequests/1")["state"] == "OPEN"


@pytest.mark.parametrize("wish", [{"merge_strategy": "rebase"}, {"message": 1}, {"close_source_branch": 1}])
def test_merges_that_are_none(send, opened, wish):
    """An unknown strategy and values of the wrong type are a 400."""
    opened()

    assert send("POST", "pullrequests/1/merge", wish).status_code == 400


def test_branch_that_somebody_works_on(serve, tmp_path, git_environment):
    """A branch that is checked out in the served folder is not merged into: its files would be out of step."""
    work = tmp_path / "work"
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.example")
    for command in (
        ("init", "-q", "-b", "main"),
        ("commit", "-q", "--allow-empty", "-m", "One"),
        ("switch", "-q", "-c", "x"),
        ("commit", "-q", "--allow-empty", "-m", "Two"),
        ("switch", "-q", "main"),
    ):
        work.mkdir(exist_ok=True)
        subprocess.run(["git", *identity, *command], cwd=work, check=True, env=git_environment)  # fmt: skip
    api = serve(work)
    address = api.address("/repositories/acme/work/pullrequests")
    api.client.post(address, json={"title": "x", "source": {"branch": {"name": "x"}}})

    answer = api.client.post(f"{address}/1/merge")

    assert answer.status_code == 400
    assert "checked out" in answer.json()["error"]["message"]
