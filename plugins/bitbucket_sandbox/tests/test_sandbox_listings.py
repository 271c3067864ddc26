"""`/commits`: which commits, and in what order, with `git rev-list` as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_default_set_is_all_branches_and_tags(api, repository, forked):
    """Without revision and include, everything reachable from all branches and tags is listed."""
    lost = repository.commit("Tagged only\n", branch="gone", parents=[forked["a"]])
    repository.set_ref("refs/tags/v1", lost)
    repository.drop_ref("refs/heads/gone")
    repository.commit("Neither\n", branch="other", parents=[forked["a"]])
    repository.git("update-ref", "refs/pull/1/head", repository.lines("rev-parse", "other")[0])
    repository.drop_ref("refs/heads/other")

    assert set(api.hashes()) == set(repository.lines("rev-list", "--branches", "--tags"))
    assert lost in api.hashes()


def test_revision_gives_its_history(api, repository, forked):
    """A revision in the path gives all that is reachable from it, not just one commit."""
    assert api.hashes("commits/main") == repository.lines("rev-list", "main")
    assert api.hashes(f"commits/{forked['b']}") == [forked["b"], forked["a"]]


def test_include_adds_to_revision(api, forked):
    """`include` adds to the revision in the path, and `exclude` takes away from both."""
    found = api.hashes("commits/main", include="topic/side", exclude=forked["a"])

    assert set(found) == {forked[name] for name in "bcxy"}


def test_exclude_alone_takes_from_everything(api, forked):
    """`exclude` without `include` takes away from all branches and tags."""
    assert set(api.hashes(exclude="main")) == {forked["x"], forked["y"]}


def test_repeated_include_and_exclude(api, forked):
    """Both parameters can be repeated."""
    found = api.hashes(include=["main", "topic/side"], exclude=[forked["b"], forked["x"]])

    assert set(found) == {forked["c"], forked["y"]}


def test_everything_excluded_is_an_empty_page(api, forked):
    """A listing from which all is excluded is a page without values and without next."""
    assert api.json("commits", include="main", exclude="main") == {"values": [], "pagelen": 30}


def test_annotated_tag_is_peeled(api, repository, forked):
    """An annotated tag stands for the commit that it points to."""
    repository.git("-c", "user.name=A", "-c", "user.email=a@b.c", "tag", "-a", "-m", "One", "v1", forked["b"])

    assert api.hashes("commits/v1") == [forked["b"], forked["a"]]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_sets_equal_rev_list(data, new_repository, api):
    """For any history, sets and page length, GET and POST give what git lists, and a child before its parents."""
    slug = f"r{len(api.sandbox.repositories)}"
    repository = new_repository(slug)
    shas = drawn_history(data, repository)
    some = st.lists(st.sampled_from(shas), max_size=4)
    sets = {"include": data.draw(some), "exclude": data.draw(some)}

    path = f"/repositories/acme/{slug}/commits"
    values = api.values(path, **sets, pagelen=data.draw(st.integers(1, 5)))
    by_post = api.post(path, params={"pagelen": 100}, data=sets).json()["values"]

    found = [value["hash"] for value in values]
    assert sorted(found) == sorted(
        repository.lines("rev-list", *(sets["include"] or ["--branches"]), "--not", *sets["exclude"])
    )
    assert by_post == values
    for place, value in enumerate(values):
        assert {parent["hash"] for parent in value["parents"]}.isdisjoint(found[:place])


def drawn_history(data, repository):
    """Write a small history with merges of up to three parents, equal dates and dates that go backwards."""
    count = data.draw(st.integers(1, 8))
    stream = []
    for number in range(count):
        above = data.draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        stamp = f"A <a@b.example> {1_700_000_000 + number * 7 % 5} +0000"
        head = f"reset refs/heads/b{number}\ncommit refs/heads/b{number}\nmark :{number + 1}\n"
        stream.append(f"{head}committer {stamp}\ndata 2\n{number}\n")
        stream += [f"{'merge' if place else 'from'} :{parent + 1}\n" for place, parent in enumerate(above)]
        stream.append("\n")
    stream += [f"get-mark :{number + 1}\n" for number in range(count)]
    shas = repository.git("fast-import", "--quiet", "--cat-blob-fd=1", given="".join(stream).encode()).split()
    for number in data.draw(st.lists(st.integers(0, count - 2), max_size=3)) if count > 1 else []:
        repository.drop_ref(f"refs/heads/b{number}")
    return shas


# --- order -------------------------------------------------------------------------------------------------------


def test_children_come_before_parents_whatever_their_dates(api, repository):
    """A child that is dated before its parent is listed before it nonetheless."""
    first = repository.commit("First\n", date="1700009000 +0000")
    second = repository.commit("Second\n", date="1700000000 +0000")

    assert api.hashes() == [second, first]


@pytest.mark.parametrize("order", ["topo-order", "date-order"])
def test_order_can_be_chosen(api, repository, forked, order):
    """The fault `order` decides how branches that run side by side are mixed."""
    later = repository.commit("D\n")
    api.sandbox.set_fault("order", order)

    assert api.hashes() == repository.lines("rev-list", f"--{order}", "--all")
    assert later in api.hashes()


def test_pages_may_be_shorter_than_asked_for(api, repository):
    """The fault `short-pages` cuts them; what is asked for is still checked, and `next` leads to the rest."""
    shas = [repository.commit(f"{n}\n") for n in range(7)]
    api.sandbox.set_fault("short-pages", "3")

    body = api.json("commits", pagelen="100")

    assert ([value["hash"] for value in body["values"]], body["pagelen"]) == (shas[:3:-1], 3)
    assert api.hashes(pagelen="100") == shas[::-1]
    assert api.get("commits", params={"pagelen": "101"}).status_code == 400


# --- path --------------------------------------------------------------------------------------------------------


def test_path_leaves_out_what_does_not_touch_it(api, repository, forked):
    """With `path` only commits that touch the file are listed."""
    assert api.hashes("commits/main", path="a") == [forked["c"], forked["a"]]


def test_path_of_a_folder(api, repository):
    """A folder stands for all files below it."""
    inside = repository.commit("Inside\n", {"src/deep/a": "1\n"})
    repository.commit("Outside\n", {"b": "1\n"})

    assert api.hashes(path="src") == [inside]
    assert api.hashes(path="src/deep/") == [inside]


@pytest.mark.parametrize("path", [":(bad)x", "*", "a b\tc", "größe.md", "-x"])
def test_path_is_a_name_and_not_a_pattern(api, repository, path):
    """Odd characters in a path mean themselves."""
    repository.commit("Other\n", {"other": "1\n"})
    touched = repository.commit("Odd\n", {path: "1\n"})

    assert api.hashes(path=path) == [touched]


@pytest.mark.parametrize("path", ["../outside", "nothing/here"])
def test_path_that_is_nowhere(api, repository, path):
    """A path that the repository does not have gives no commits, or an error in Bitbucket's form."""
    repository.commit("A\n", {"a": "1\n"})

    answer = api.get("commits", params={"path": path})

    assert answer.json().get("values") == [] or answer.json()["type"] == "error"
