"""Histories: which commits, in which order, page by page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def branchy(repository: Any) -> dict[str, str]:
    """Make a history with a merge, a side branch and a commit that only a tag reaches; returns name -> sha."""
    a = repository.commit("a\n", {"a": "1"})
    b = repository.commit("b\n", {"b": "1"})
    side = repository.commit("side\n", branch="feature/side", parents=[a])
    merge = repository.commit("merge\n", parents=[b, side])
    tagged = repository.commit("tagged\n", branch="loose", parents=[side])
    repository.git("tag", "v1", tagged)
    repository.git("update-ref", "-d", "refs/heads/loose")
    return {"a": a, "b": b, "side": side, "merge": merge, "tagged": tagged}


def test_everything_from_branches_and_tags(repository: Any, api: Any) -> None:
    """Without a revision the listing holds what any branch or tag reaches."""
    made = branchy(repository)
    assert set(api.hashes()) == set(made.values()) == set(repository.listed("--all"))


def test_one_revision_is_a_history(repository: Any, api: Any) -> None:
    """`/commits/{revision}` lists the history of a branch, tag, sha or beginning of a sha; include adds to it."""
    made = branchy(repository)
    for name in ("main", "v1", made["b"], made["b"][:9]):
        assert api.hashes(f"commits/{name}") == repository.listed(name)
    found = api.hashes("commits/main", include="v1", exclude="feature/side")
    assert set(found) == set(repository.listed("main", "v1", "^feature/side"))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_include_and_exclude_are_sets(repository: Any, api: Any, method: str) -> None:
    """Both may be repeated, as refs or shas, in the query of a GET or the form of a POST."""
    made = branchy(repository)
    sets = {"include": ["main", "v1"], "exclude": [made["b"], "feature/side"]}
    answer = api.client.request(method, api.address("commits"), **{"params" if method == "GET" else "data": sets})
    expected = repository.listed("main", "v1", f"^{made['b']}", "^feature/side")
    assert [value["hash"] for value in answer.json()["values"]] == expected


def test_post_takes_sets_from_the_form_and_page_length_from_the_query(repository: Any, api: Any) -> None:
    """Thousands of shas fit; further pages are fetched with GET and keep them."""
    shas = repository.line(2010)
    answer = api.post(
        "commits", params={"pagelen": "6", "exclude": "main"}, data={"include": "main", "exclude": shas[10:]}
    )
    pages = [answer.json(), api.get(answer.json()["next"]).json()]
    assert [len(page["values"]) for page in pages] == [6, 4]
    assert [value["hash"] for page in pages for value in page["values"]] == shas[:10]


def test_envelope_is_that_of_an_iterator(repository: Any, api: Any) -> None:
    """There is no size, page or previous; 30 is the default; the last page has no next."""
    shas = repository.line(31)
    first = api.get("commits").json()
    assert (set(first), first["pagelen"], len(first["values"])) == ({"values", "pagelen", "next"}, 30, 30)
    assert re.fullmatch(re.escape(api.address("commits")) + r"\?ctx=[0-9a-f]{32}&page=2", first["next"])
    last = api.get(first["next"]).json()
    assert set(last) == {"values", "pagelen"}
    assert [value["hash"] for value in last["values"]] == shas[30:]


def test_pages_hold_still(repository: Any, api: Any) -> None:
    """Pushes between two pages neither repeat nor lose commits of the listing that was begun."""
    shas = repository.line(6)
    first = api.get("commits?include=main&pagelen=3").json()
    repository.commit("later\n")
    second = api.get(first["next"]).json()
    assert [value["hash"] for page in (first, second) for value in page["values"]] == shas


def test_links_mirror_the_host_that_was_called(repository: Any, api: Any) -> None:
    """Links and next start with the address under which the API was called."""
    repository.line(3)
    body = api.get("commits?pagelen=1", headers={"Host": "bitbucket.test:8080"}).json()
    assert body["next"].startswith("http://bitbucket.test:8080/2.0/repositories/acme/api/commits?ctx=")
    assert body["values"][0]["links"]["self"]["href"].startswith("http://bitbucket.test:8080/2.0/repositories/acme/")


@pytest.mark.parametrize("length", ["101", "0", "-1", "many", "²", "9" * 5000])
def test_page_length_is_not_clamped(repository: Any, api: Any, length: str) -> None:
    """A page length outside 1 to 100 is a 400."""
    repository.commit()
    assert api.get("commits", params={"pagelen": length}).status_code == 400


def test_filters_are_ignored_without_a_word(repository: Any, api: Any) -> None:
    """`q`, `sort` and `since` change nothing."""
    repository.line(3)
    assert api.hashes(q="this is no query", sort="-date", since="2030-01-01") == repository.listed("--all")


@pytest.mark.parametrize("order", ["topo-order", "date-order"])
def test_order_can_be_chosen(repository: Any, serve: Callable[..., Any], order: str) -> None:
    """Siblings come by line or by date; a child never comes after its parent, whatever the dates say."""
    root = repository.commit("root\n", date="1000000 +0000")
    repository.commit("dated before its parent\n", date="500000 +0000")
    top = repository.commit("top\n", date="3000000 +0000")
    repository.commit("one\n", branch="side", parents=[root], date="2000000 +0000")
    two = repository.commit("two\n", branch="side", date="4000000 +0000")
    repository.commit("merge\n", parents=[top, two], date="5000000 +0000")
    api = serve(faults={"order": order})
    assert api.hashes("commits/main") == repository.git("rev-list", f"--{order}", "main").split()


def test_path_selects_commits(repository: Any, api: Any) -> None:
    """Only commits that touch a file or folder are listed; signs of git's own path language mean nothing."""
    repository.commit("a\n", {"src/a.txt": "1"})
    repository.commit("b\n", {"b.txt": "1"})
    repository.commit("a again\n", {"src/a.txt": "2"})
    assert api.hashes("commits/main?path=src") == repository.listed("main", "--", "src")
    assert api.hashes("commits/main?path=*.txt") == []


def test_of_several_unknown_revisions_some_are_named(repository: Any, api: Any) -> None:
    """Whoever drops the named ones and asks again gets through after a few rounds."""
    repository.line(2)
    gone = [f"{n:040x}" for n in range(1, 6)]
    rounds = 0
    while (answer := api.post("commits", data={"include": "main", "exclude": gone})).status_code == 404:
        named = answer.json()["error"]["data"]["shas"]
        assert (answer.json()["data"]["shas"], len(named)) == (named, (len(gone) + 1) // 2)
        gone = [sha for sha in gone if sha not in named]
        rounds += 1
    assert (answer.status_code, rounds) == (200, 3)


def test_rewritten_commits_stay_until_garbage_is_collected(repository: Any, api: Any) -> None:
    """A sha that no ref reaches is served as long as git has it, and is a 404 from then on."""
    repository.line(2)
    lost = repository.commit("lost\n")
    repository.git("update-ref", "refs/heads/main", f"{lost}^")
    assert api.hashes(include=lost, exclude="main") == [lost]
    repository.collect_garbage()
    assert api.get(f"commit/{lost}").status_code == 404
    assert api.get(f"commits?exclude={lost}").json()["data"] == {"shas": [lost]}


@pytest.mark.parametrize("name", ["main~1", "main^", "^main", "--all", "a..b", "HEAD:f", "@{0}", "x\u2028y", "a b", ""])
def test_what_git_would_calculate_is_no_revision(repository: Any, api: Any, name: str) -> None:
    """Expressions of git's revision language, options and stray signs are unknown refs."""
    repository.line(3)
    assert api.get("commits", params={"include": name}).status_code == 404


def test_slash_in_the_path_is_refused(repository: Any, api: Any) -> None:
    """Branches with a slash cannot be named in the path; include takes them."""
    shas = repository.line(2, "feature/x")
    for name in ("feature/x", "feature%2Fx"):
        assert api.get(f"commits/{name}").json()["error"]["message"] == "Resource not found"
    assert api.hashes(include="feature/x") == shas


def test_commit_object(repository: Any, api: Any) -> None:
    """A commit tells its committer's date in UTC, its message whole, its author raw and as account."""
    parent = repository.commit("a\n")
    message = "RC-1 Straße\n\n<b> & body\n"
    sha = repository.commit(message, date="1790000000 +0200", written="1700000000 +0000")
    value = api.get(f"commit/{sha[:7]}").json()
    assert (value["type"], value["hash"], value["date"]) == ("commit", sha, "2026-09-21T14:13:20+00:00")
    assert (value["message"], value["summary"]["raw"], value["rendered"]["message"]["raw"]) == (message,) * 3
    assert value["author"]["raw"] == "Ann Archer <ann@acme.example>"
    user = value["author"]["user"]
    assert (user["display_name"], user["account_id"][:7], "username" in user) == ("Ann Archer", "557058:", False)
    assert [item["hash"] for item in value["parents"]] == [parent]
    assert value["repository"]["full_name"] == "acme/api"
    assert set(value["links"]) == {"self", "html", "diff", "patch", "approve", "comments", "statuses"}
    assert (value["participants"], "participants" in api.values("commits")[0]) == ([], False)


@pytest.mark.parametrize("email", ["bot@build.invalid", "1+x@users.noreply.example", "", "no-at-sign"])
def test_author_without_account(repository: Any, api: Any, email: str) -> None:
    """For an author who has no account the key `user` is absent."""
    repository.commit(author=f"Somebody <{email}>")
    assert api.values("commits")[0]["author"] == {"type": "author", "raw": f"Somebody <{email}>"}


def test_users_have_accounts(repository: Any, serve: Callable[..., Any]) -> None:
    """An address that may log in has an account, whatever it looks like; the same one as in /user."""
    repository.commit(author="Bot <bot@build.invalid>")
    api = serve(users={"bot@build.invalid": "t"})
    api.client.auth = ("bot@build.invalid", "t")
    assert api.values("commits")[0]["author"]["user"]["account_id"] == api.get("/user").json()["account_id"]


@pytest.mark.parametrize("name", ["main", "abc", "zzzzzzz", "0123456789"])
def test_one_commit_needs_a_sha(repository: Any, api: Any, name: str) -> None:
    """`/commit/…` takes shas and beginnings of seven digits, nothing else."""
    repository.commit()
    answer = api.get(f"commit/{name}")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Commit not found")


def test_ctx_belongs_to_its_repository(repository: Any, new_repository: Callable[..., Any], api: Any) -> None:
    """A ctx of another repository, one that was never given out, and a wrong page number are a 400."""
    repository.line(3)
    new_repository("web").line(3)
    following = api.get("commits?pagelen=1").json()["next"]
    for wrong in (following.replace("/api/", "/web/"), api.address("commits?ctx=0&page=2"), following[:-1] + "x"):
        assert api.get(wrong).status_code == 400
    assert api.get(following.replace("page=2", "page=9")).json() == {"values": [], "pagelen": 1}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_listings_are_those_of_git(data: st.DataObject, new_repository: Callable[..., Any], api: Any) -> None:
    """For any history, sets and page length the pages together are what git lists, children before parents."""
    api.slug = f"r{len(api.sandbox.repositories)}"
    repository = new_repository(api.slug)
    shas: list[str] = []
    for number in range(data.draw(st.integers(1, 8))):
        parents = data.draw(st.lists(st.sampled_from(shas), max_size=2, unique=True)) if shas else []
        seconds = data.draw(st.integers(1_000_000, 1_000_009))
        made = repository.commit(f"{number}\n", branch=f"b{number}", parents=parents, date=f"{seconds} +0000")
        shas.append(made)
    include = data.draw(st.lists(st.sampled_from(shas), max_size=3))
    exclude = data.draw(st.lists(st.sampled_from(shas), max_size=2))
    values = api.values("commits", include=include, exclude=exclude, pagelen=data.draw(st.integers(1, 4)))
    found = [value["hash"] for value in values]
    assert sorted(found) == sorted(repository.listed(*(include or ["--all"]), *(f"^{sha}" for sha in exclude)))
    for place, value in enumerate(values):
        assert {item["hash"] for item in value["parents"]}.isdisjoint(found[:place])
