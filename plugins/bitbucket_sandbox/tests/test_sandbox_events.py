"""What pushes and pull requests tell those who listen."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[4] / "shared" / "payloads" / "webhooks"
PULLS = [f"pullrequest:{name}" for name in ("created", "updated", "fulfilled", "rejected")]


@pytest.fixture
def api(repository, serve):
    """Serve the repository `api`, and look for pushes only when told to."""
    return serve(webhook_poll=60)


@pytest.fixture
def heard(api, repository, receiver, subscribe):
    """Listen to the repository `api`; returns a function that waits, and returns the events since the last call."""
    subscribe(api, events=["repo:push", *PULLS])

    def heard():
        api.sandbox.flush(20)
        found = list(zip(receiver.keys, receiver.bodies, strict=True))
        receiver.heard.clear()
        return found

    return heard


@pytest.fixture
def change(heard):
    """Return a function that returns the only change of the only push since the last call."""

    def change():
        ((key, body),) = heard()
        assert key == "repo:push"
        (found,) = body["push"]["changes"]
        return found

    return change


def flags(change):
    """Return what a change says of its kind."""
    return {key for key in ("created", "closed", "forced", "truncated") if change[key]}


def hashes(change):
    """Return the commits that a change carries."""
    return [commit["hash"] for commit in change["commits"]]


# --- repo:push ---------------------------------------------------------------------------------------------------


def test_update(api, repository, change):
    """An update has old and new head, the new commits, and a link that lists just these."""
    base = repository.commit("Base\n")
    change()
    shas = [repository.commit(f"{number}\n") for number in range(2)][::-1]

    found = change()

    assert (found["old"]["target"]["hash"], found["new"]["target"]["hash"]) == (base, shas[0])
    assert (hashes(found), flags(found)) == (shas, set())
    assert [value["hash"] for value in api.values(found["links"]["commits"]["href"])] == shas
    assert (found["new"]["type"], found["new"]["name"]) == ("branch", "main")


def test_at_most_five_commits(repository, change):
    """Of more than five commits the newest five are told, and that there are more."""
    base = repository.commit()
    change()
    five = repository.line(5, start=base)
    exactly = change()
    six = repository.line(6, start=five[0])

    more = change()

    assert (hashes(exactly), flags(exactly)) == (five, set())
    assert (hashes(more), flags(more)) == (six[:5], {"truncated"})


def test_created_branch_shows_its_ancestry(api, repository, change):
    """A new branch shows old commits as if they were new, and its link excludes nothing."""
    old = [repository.commit(f"{number}\n") for number in range(6)][::-1]
    change()
    repository.set_ref("refs/heads/feature/x", old[0])

    found = change()

    assert (found["old"], found["new"]["name"]) == (None, "feature/x")
    assert (hashes(found), flags(found)) == (old[:5], {"created", "truncated"})
    assert found["links"]["commits"]["href"] == api.address(f"commits?include={old[0]}")
    assert "diff" not in found["links"]


def test_deleted_branch(repository, change):
    """A deletion has neither links nor commits."""
    sha = repository.commit()
    change()
    repository.set_ref("refs/heads/x", sha)
    change()
    repository.drop_ref("refs/heads/x")

    found = change()

    assert set(found) == {"old", "new", "created", "closed", "forced", "truncated"}
    assert (found["old"]["target"]["hash"], found["new"], flags(found)) == (sha, None, {"closed"})


@pytest.mark.parametrize("collected", [False, True])
def test_forced_push(repository, change, collected):
    """A rewrite is forced, with old and new head, also when the old one is collected already."""
    base = repository.commit("Base\n")
    old = repository.commit("Old\n")
    change()
    new = repository.commit("New\n", parents=[base])
    if collected:
        repository.collect_garbage()

    found = change()

    assert (found["old"]["target"]["hash"], found["new"]["target"]["hash"]) == (old, new)
    assert flags(found) == {"forced"}
    assert hashes(found) == ([new, base] if collected else [new])


def test_branch_that_is_set_back(repository, change):
    """A branch that is set back is forced and brings no commits."""
    base = repository.commit("Base\n")
    repository.commit("Gone\n")
    change()
    repository.set_ref("refs/heads/main", base)

    found = change()

    assert (hashes(found), flags(found)) == ([], {"forced"})


def test_tags(api, repository, change):
    """Tags are told without commits; annotated ones have message and tagger."""
    sha = repository.commit()
    change()
    repository.set_ref("refs/tags/light", sha)
    light = change()
    repository.tag("v1", sha, "Release")
    heavy = change()
    repository.drop_ref("refs/tags/v1")
    gone = change()

    assert "commits" not in light
    assert light["links"] == {"commits": {"href": api.address(f"commits?include={sha}")}}
    assert (light["new"]["type"], light["new"]["target"]["hash"], light["new"]["tagger"]) == ("tag", sha, None)
    assert (heavy["new"]["message"], heavy["new"]["tagger"]["raw"]) == ("Release\n", "Ann <ann@acme.example>")
    assert (gone["new"], flags(gone)) == (None, {"closed"})


def test_several_changes_are_one_push(repository, heard):
    """What was pushed at once is one event with several changes."""
    sha = repository.commit()
    for name in ("a", "b"):
        repository.set_ref(f"refs/heads/{name}", sha)
    repository.set_ref("refs/tags/v1", sha)

    ((_, body),) = heard()

    names = [(found["new"]["type"], found["new"]["name"]) for found in body["push"]["changes"]]
    assert names == [("branch", "a"), ("branch", "b"), ("branch", "main"), ("tag", "v1")]


def test_commits_of_an_event(repository, change):
    """Commits have their message whole and their parents, and no repository; targets have fewer links."""
    base = repository.commit()
    change()
    repository.commit("RC-1 Größe\n\nBody\n", author="Somebody <x@build.invalid>")

    found = change()

    (commit,) = found["commits"]
    assert (commit["message"], commit["author"]) == (
        "RC-1 Größe\n\nBody\n",
        {"type": "author", "raw": "Somebody <x@build.invalid>"},
    )
    assert [parent["hash"] for parent in commit["parents"]] == [base]
    assert "repository" not in commit
    assert set(commit["links"]) == {"self", "html", "diff", "approve", "comments", "statuses", "patch"}
    assert set(found["new"]["target"]["links"]) == {"self", "html"}


# --- who hears ---------------------------------------------------------------------------------------------------


def test_push_over_http_has_its_actor(repository, serve, receiver, subscribe, git, tmp_path):
    """A push by git is told in the name of whoever pushed, without being asked for."""
    repository.commit()
    api = serve(users={"ann@acme.example": "t"})
    api.client.auth = ("ann@acme.example", "t")
    subscribe(api)
    address = api.sandbox.git_url.replace("://", "://ann:t@")
    git("clone", "-q", f"{address}/acme/api.git", tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")
    git("push", "-q", folder=tmp_path / "c")

    while not receiver.heard:
        time.sleep(0.01)

    assert receiver.bodies[0]["actor"] == api.json("/user")
    assert receiver.bodies[0]["push"]["changes"][0]["commits"][0]["message"] == "Mine\n"


def test_push_into_the_folder_is_noticed(serve, repository, receiver, subscribe):
    """What changes in the folder is noticed by itself, soon, and told once; packing changes nothing."""
    api = serve(webhook_poll=0.02)
    subscribe(api)
    repository.commit()

    while not receiver.heard:
        time.sleep(0.01)
    repository.git("pack-refs", "--all")
    repository.git("gc", "--quiet")
    api.sandbox.flush(20)

    assert receiver.keys == ["repo:push"]


def test_first_push_into_a_new_repository(serve, new_repository, receiver, subscribe, git, tmp_path):
    """A hook of the workspace hears of repositories that came later, from their first push over HTTP on."""
    api = serve()
    subscribe(api, "/workspaces/acme/hooks")
    new_repository("later")
    git("clone", "-q", f"{api.sandbox.git_url}/acme/later.git", tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "First", folder=tmp_path / "c")
    git("push", "-q", "origin", "HEAD:main", folder=tmp_path / "c")

    api.sandbox.flush(20)

    (body,) = receiver.bodies
    assert body["repository"]["full_name"] == "acme/later"
    assert flags(body["push"]["changes"][0]) == {"created"}


def test_who_does_not_hear(api, repository, new_repository, receiver, subscribe):
    """Other events, other repositories, and hooks that are switched off or deleted stay silent."""
    other = new_repository("other")
    subscribe(api, events=["pullrequest:created"])
    subscribe(api, "/repositories/acme/other/hooks")
    subscribe(api, active=False)
    gone = subscribe(api)
    api.client.delete(api.address(f"hooks/{gone['uuid']}"))

    repository.commit()
    api.sandbox.flush(20)
    assert receiver.heard == []

    other.commit()
    api.sandbox.flush(20)
    assert [body["repository"]["name"] for body in receiver.bodies] == ["other"]


def test_old_pushes_are_not_told(api, repository, receiver, subscribe):
    """What happened before anybody listened, or while nobody did, is not told later."""
    repository.commit("Before\n")
    hook = subscribe(api)
    api.client.put(api.address(f"hooks/{hook['uuid']}"), json={"active": False})
    repository.commit("Meanwhile\n")
    api.client.put(api.address(f"hooks/{hook['uuid']}"), json={"active": True})
    sha = repository.commit("After\n")
    api.sandbox.flush(20)

    (body,) = receiver.bodies
    assert hashes(body["push"]["changes"][0]) == [sha]


# --- pull requests -----------------------------------------------------------------------------------------------


@pytest.fixture
def opened(api, repository, heard):
    """Open a pull request from `feature/x` to `main`; what that tells has been heard."""
    base = repository.commit("Base\n", {"a": "1\n"})
    repository.commit("Mine\n", {"x": "1\n"}, branch="feature/x", parents=[base])
    heard()
    body = {"title": "RC-1", "source": {"branch": {"name": "feature/x"}}}
    return api.client.post(api.address("pullrequests"), json=body).json()


def test_life_of_a_pull_request(api, repository, heard, opened):
    """Opening, changing, pushing and merging are told, each with the pull request as it is then."""
    created = heard()
    api.client.put(api.address("pullrequests/1"), json={"title": "RC-2"})
    updated = heard()
    tip = repository.commit("More\n", {"x": "2\n"}, branch="feature/x")
    pushed = heard()
    merged = api.client.post(api.address("pullrequests/1/merge"), json={"close_source_branch": True}).json()
    done = heard()

    assert [(key, body["pullrequest"]["title"]) for key, body in (*created, *updated)] == [
        ("pullrequest:created", "RC-1"),
        ("pullrequest:updated", "RC-2"),
    ]
    assert [key for key, _ in pushed] == ["repo:push", "pullrequest:updated"]
    assert pushed[1][1]["pullrequest"]["source"]["commit"]["hash"] == tip[:12]
    assert sorted(key for key, _ in done) == ["pullrequest:fulfilled", "repo:push"]
    told = dict(done)
    assert told["pullrequest:fulfilled"]["pullrequest"] == merged
    assert {found["new"] and found["new"]["name"] for found in told["repo:push"]["push"]["changes"]} == {"main", None}


def test_declined(api, heard, opened):
    """A declined one is told as rejected; pushes to its branch concern it no more."""
    heard()
    api.client.post(api.address("pullrequests/1/decline"))

    ((key, body),) = heard()

    assert (key, body["pullrequest"]["state"]) == ("pullrequest:rejected", "DECLINED")


# --- recorded ones -----------------------------------------------------------------------------------------------


def missing(ours, theirs, place="$"):
    """Yield where a key of theirs is not in ours, or where the types differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(theirs) - set(ours) - {"username", "branch.links"}):
            yield f"{place}.{key} is missing"
        for key in sorted(set(ours) & set(theirs)):
            yield from missing(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one in ours[:1]:
            for other in theirs[:1]:
                yield from missing(one, other, f"{place}[]")
    elif None not in (ours, theirs) and type(ours) is not type(theirs):
        yield f"{place} is {type(ours).__name__}, not {type(theirs).__name__}"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="there are no recorded events on this machine")
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("woodpecker_HookPush", "update"),
        ("go-scm_push", "update"),
        ("go-scm_push_branch_create", "create"),
        ("go-scm_push_branch_delete", "delete"),
        ("go-scm_push_tag_create", "tag"),
        ("go-scm_push_tag_delete", "untag"),
        ("go-scm_pr_created", "pullrequest:created"),
        ("go-scm_pr_updated", "pullrequest:updated"),
        ("woodpecker_HookPullRequestMerged", "pullrequest:fulfilled"),
        ("woodpecker_HookPullRequestDeclined", "pullrequest:rejected"),
    ],
)
def test_events_equal_the_recorded_ones(api, repository, heard, opened, name, key):
    """Every key of a recorded event is in ours, with the same type."""
    heard()
    sha = repository.commit("Next\n")
    told = {"update": heard()[0][1]}
    for kind, act in (
        ("create", lambda: repository.set_ref("refs/heads/y", sha)),
        ("delete", lambda: repository.drop_ref("refs/heads/y")),
        ("tag", lambda: repository.set_ref("refs/tags/v", sha)),
        ("untag", lambda: repository.drop_ref("refs/tags/v")),
    ):
        act()
        told[kind] = heard()[0][1]
    if key.startswith("pullrequest"):
        last = "decline" if key.endswith("rejected") else "merge"
        body = {"title": "A", "source": {"branch": {"name": "feature/x"}}}
        api.client.post(api.address("pullrequests"), json=body)
        api.client.put(api.address("pullrequests/2"), json={"title": "B"})
        api.client.post(api.address(f"pullrequests/2/{last}"))
        told.update(heard())
    theirs = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    theirs["repository"]["owner"] = told[key]["repository"]["owner"]  # theirs are people

    assert list(missing(told[key], theirs)) == []
