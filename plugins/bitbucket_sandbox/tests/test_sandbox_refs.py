"""Branches and tags, against `git for-each-ref`."""

from __future__ import annotations

import pytest


@pytest.fixture
def twelve(repository):
    """Give twelve branches of one commit; returns their names in order."""
    sha = repository.commit()
    for number in range(11):
        repository.set_ref(f"refs/heads/topic/{number:02}", sha)
    return repository.lines("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads")


def names(api, path="refs/branches", **params):
    """Return the names of all pages."""
    return [value["name"] for value in api.values(path, **params)]


def test_branches_are_numbered_pages(api, twelve):
    """Ten branches a page, with size and page; next and previous lead to and fro."""
    first = api.json("refs/branches")
    second = api.json(first["next"])

    assert (first["pagelen"], first["page"], first["size"], len(first["values"])) == (10, 1, 12, 10)
    assert "previous" not in first
    assert "next" not in second
    assert api.json(second["previous"]) == first
    assert [value["name"] for value in first["values"] + second["values"]] == twelve


def test_targets_equal_for_each_ref(api, repository, twelve):
    """Each branch's target is the full sha that git has."""
    found = {value["name"]: value["target"]["hash"] for value in api.values("refs/branches", pagelen=100)}

    lines = repository.lines("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
    assert found == dict(line.split() for line in lines)


@pytest.mark.parametrize(("params", "status"), [({"pagelen": 100}, 200), ({"pagelen": 101}, 400), ({"page": 0}, 400)])
def test_limits_of_pages(api, twelve, params, status):
    """A hundred branches a page is the most, and pages count from one."""
    assert api.get("refs/branches", params=params).status_code == status


def test_query_on_the_name(api, twelve):
    """`q` finds by name, equal or containing, and next keeps it."""
    assert names(api, q='name = "main"') == ["main"]
    assert names(api, q='name ~ "TOPIC/0"', pagelen=3) == [name for name in twelve if "topic/0" in name]


def test_query_on_the_date(api, repository):
    """`q` compares the dates of heads; terms are joined by AND."""
    for day, name in ((1, "main"), (2, "release/1.4"), (3, "release/1.5")):
        repository.commit(branch=name, date=f"{1_700_006_400 + 86_400 * day} +0000")

    assert names(api, q='target.date > "2023-11-16T12:00:00Z"') == ["release/1.4", "release/1.5"]
    assert names(api, q='name ~ "RELEASE" AND target.date < "2023-11-17T12:00:00Z"') == ["release/1.4"]
    assert names(api, q='name ~ "release" AND name != "release/1.4"') == ["release/1.5"]


@pytest.mark.parametrize("query", ["name ~", "color=red", 'target.date ~ "2023"'])
def test_query_that_is_none(api, twelve, query):
    """What is no query is a 400."""
    assert api.get("refs/branches", params={"q": query}).status_code == 400


def test_sort_by_name_and_date(api, repository):
    """`sort` goes by name, naturally, or by the date of the head, either way; nothing else is known."""
    for branch, seconds in (("v10", 300), ("main", 100), ("v9", 200)):
        repository.commit(branch=branch, date=f"17000{seconds:05} +0000")

    assert names(api) == ["main", "v10", "v9"]
    assert names(api, sort="name") == ["main", "v9", "v10"]
    assert names(api, sort="-name") == ["v10", "v9", "main"]
    assert names(api, sort="target.date") == ["main", "v9", "v10"]
    assert names(api, sort="-target.date", pagelen=1) == ["v10", "v9", "main"]
    assert api.get("refs/branches", params={"sort": "age"}).status_code == 400


@pytest.mark.parametrize("encoded", ["topic/03", "topic%2F03"])
def test_one_branch(api, twelve, encoded):
    """A branch is found by its name, with the slash encoded or not; its own link is not encoded."""
    value = api.json(f"refs/branches/{encoded}")

    assert value["name"] == "topic/03"
    assert value["links"]["self"]["href"].endswith("/refs/branches/topic/03")


def test_branch_that_is_gone(api, repository):
    """A deleted branch is a 404 and missing from the list."""
    sha = repository.commit()
    repository.set_ref("refs/heads/x", sha)
    assert names(api) == ["main", "x"]

    repository.drop_ref("refs/heads/x")

    assert names(api) == ["main"]
    assert api.get("refs/branches/x").status_code == 404


@pytest.mark.parametrize(
    "name", ["größe", "100%", "a#b", "a+b", "a&b=c", "it's", 'q"q', "a\u2028b", "x" * 200, "refs/heads/x"]
)
def test_odd_names(api, repository, name):
    """A branch of any name that git permits is listed and found."""
    sha = repository.commit()
    repository.set_ref(f"refs/heads/{name}", sha)

    assert name in names(api)
    assert api.hashes(include=name) == [sha]


def test_target_lacks_the_rendered_forms(api, repository):
    """A branch's target is a commit without summary and rendered, and with its repository."""
    repository.commit()

    target = api.json("refs/branches")["values"][0]["target"]

    assert not {"summary", "rendered", "participants"} & set(target)
    assert target["repository"]["full_name"] == "acme/api"


def test_branches_tell_how_they_merge(api, repository):
    """A branch tells its merge strategies, and which of them is the default."""
    repository.commit()

    value = api.json("refs/branches/main")

    assert value["default_merge_strategy"] in value["merge_strategies"]


def test_packed_refs(api, repository, twelve):
    """Refs that git has packed are told like others."""
    before = names(api)
    repository.git("pack-refs", "--all")

    assert names(api) == before
    assert api.json("")["mainbranch"]["name"] == "main"


def test_tags(api, repository):
    """Annotated tags tell message, date and tagger, lightweight ones do not; a tag of a file is left out."""
    sha = repository.commit("A\n", {"a": "1\n"})
    repository.set_ref("refs/tags/light", sha)
    repository.tag("heavy", sha, "Release\n\nbody")
    repository.set_ref("refs/tags/blob", repository.lines("rev-parse", "main:a")[0])

    heavy, light = api.values("refs/tags")

    assert [(value["type"], value["name"], value["target"]["hash"]) for value in (heavy, light)] == [
        ("tag", "heavy", sha),
        ("tag", "light", sha),
    ]
    assert (light["message"], light["tagger"], light["date"]) == (None, None, None)
    assert (heavy["message"], heavy["tagger"]["raw"]) == ("Release\n\nbody\n", "Ann <ann@acme.example>")
    assert heavy["date"].endswith("+00:00")
    assert heavy["links"]["html"]["href"].endswith("/acme/api/commits/tag/heavy")
    assert api.json("refs/tags/heavy") == heavy


def test_tag_of_a_tag(api, repository):
    """A tag that points to a tag stands for the commit behind both; one behind which a file stands is left out."""
    sha = repository.commit("A\n", {"a": "1\n"})
    for name, target in (("one", sha), ("two", "one"), ("three", "two"), ("file", "main:a"), ("file2", "file")):
        repository.tag(name, target)

    found = {value["name"]: value["target"]["hash"] for value in api.values("refs/tags")}

    assert found == dict.fromkeys(("one", "two", "three"), sha)
    assert api.json("refs/tags/three")["message"] == "Tagged\n"


def test_refs_are_branches_and_tags(api, repository):
    """`/refs` gives both kinds together, and nothing else."""
    sha = repository.commit()
    repository.set_ref("refs/tags/v1", sha)
    repository.set_ref("refs/notes/x", sha)

    assert {(value["type"], value["name"]) for value in api.values("refs")} == {("branch", "main"), ("tag", "v1")}
