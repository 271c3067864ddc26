"""Faults: where they apply, and how they are switched, from Python and over HTTP."""

from __future__ import annotations

import pytest
from releasecopilot_bitbucket_sandbox.faults import Faults, UnknownFault


def statuses(api, path="commits", count=3):
    """Return the statuses of so many requests."""
    return [api.get(path).status_code for _ in range(count)]


# --- where -------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(new_repository, serve):
    """Serve two repositories with a commit each."""
    for name in ("api", "shop"):
        new_repository(name).commit()
    return serve()


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        ("status", {"api commits", "api refs/branches", "shop commits", "shop refs/branches"}),
        ("status@commits", {"api commits", "shop commits"}),
        ("status@commits:shop", {"shop commits"}),
        ("status@*:shop", {"shop commits", "shop refs/branches"}),
        ("status@branches", {"api refs/branches", "shop refs/branches"}),
    ],
)
def test_kinds_and_slugs(two, fault, hit):
    """A fault applies to all, to a kind, to a kind of one repository, or to all of one repository."""
    two.sandbox.set_fault(fault, "500")

    asked = [(slug, path) for slug in ("api", "shop") for path in ("commits", "refs/branches")]
    found = {
        f"{slug} {path}" for slug, path in asked if two.get(f"/repositories/acme/{slug}/{path}").status_code == 500
    }
    assert found == hit


def test_most_specific_fault_wins(two):
    """Of several that apply, the one for a repository wins over the one for a kind over the one for all."""
    for fault, status in (("status", "500"), ("status@commits", "501"), ("status@commits:shop", "502")):
        two.sandbox.set_fault(fault, status)

    assert two.get("/repositories/acme/shop/commits").status_code == 502
    assert two.get("/repositories/acme/api/commits").status_code == 501
    assert two.get("/repositories/acme/api").status_code == 500
    assert two.sandbox.faults == {"status": "500", "status@commits": "501", "status@commits:shop": "502"}


def test_fault_of_a_repository_that_is_asked_by_uuid(two):
    """A fault for a slug applies as well when the repository is addressed by its uuid."""
    uuid = two.json("/repositories/acme/shop")["uuid"]
    two.sandbox.set_fault("status@commits:shop", "500")

    assert two.get(f"/repositories/acme/{uuid}/commits").status_code == 500


# --- switching -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "value", "words"),
    [
        ("rate-limt", "1", "no fault 'rate-limt'; did you mean 'rate-limit'?"),
        ("whatever-it-is", "1", "there are: rate-limit"),
        ("status@commit5", "503", "status@commit5: no kind of request 'commit5'; did you mean 'commit'?"),
        ("status@pipelines", "503", "no kind of request 'pipelines'"),
        ("status", "200", "status=200: expected CODE or CODE:COUNT, such as 503:2"),
        ("rate-limit", "many", "whole number"),
        ("rate-limit", "²", "whole number"),
        ("slow", "-1", "seconds"),
        ("slow", "inf", "seconds"),
        ("slow", "nan", "seconds"),
        ("scopes", "repository,all", "account, repository"),
        ("rate-headers", "many", "seconds, scaled or absent"),
        ("slow", "soon", "expected seconds"),
        ("retry-after", "7", "seconds:N"),
        ("missing", "0", "1"),
        ("empty-repository", "500", "200 or 404"),
        ("order", "random", "topo-order"),
        ("diffstat-555", "xyz", "shas"),
        ("foreign-next", "1", "address"),
    ],
)
def test_unknown_faults(fault, value, words):
    """A fault, kind or value that does not exist is refused with what is possible, and switches nothing on."""
    faults = Faults()

    with pytest.raises(UnknownFault, match="^[^\n]+$") as refused:
        faults.set(fault, value)

    assert words in str(refused.value)
    assert faults.all() == {}


def test_faults_from_the_start(repository, serve):
    """Faults may be given when the sandbox is made."""
    assert serve(faults={"status@commits": "500"}).get("commits").status_code == 500


def admin(api, path):
    """Return the address of an admin endpoint."""
    return api.sandbox.url.removesuffix("/2.0") + f"/_sandbox/{path}"


def test_faults_over_http(api):
    """Another process may list, set and clear faults, whoever may ask the API."""
    assert api.client.put(admin(api, "faults/status@commits:api"), content="503:2").status_code == 200
    assert api.client.get(admin(api, "faults")).json() == {"status@commits:api": "503:2"}
    assert api.sandbox.faults == {"status@commits:api": "503:2"}
    assert statuses(api) == [503, 503, 200]
    api.client.put(admin(api, "faults/missing"), content="1")
    api.client.put(admin(api, "faults/slow"), content="0")

    assert api.client.delete(admin(api, "faults/missing")).json() == {"slow": "0"}
    assert api.client.delete(admin(api, "faults")).json() == {}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "faults/statu", 400), ("DELETE", "faults/statu", 400), ("GET", "nothing", 404)],
)
def test_admin_refuses_what_is_wrong(api, method, path, status):
    """What is wrong is told as JSON."""
    answer = api.client.request(method, admin(api, path), content="503" if method == "PUT" else None)

    assert answer.status_code == status
    assert answer.json()["error"]


def test_requests_over_http(api):
    """Requests are recorded with method, path, query, kind and status, and can be forgotten; admin calls are not."""
    api.get("commits", params={"pagelen": 1})
    api.get("/nothing")

    first, second = api.client.get(admin(api, "requests")).json()

    assert (first["method"], first["kind"], first["status"], first["query"]) == ("GET", "commits", 200, "pagelen=1")
    assert first["path"] == "/2.0/repositories/acme/api/commits"
    assert (second["kind"], second["status"]) == ("unknown", 404)
    assert [first["time"], second["time"]] == [served.time for served in api.sandbox.requests]
    api.client.delete(admin(api, "requests"))
    assert api.client.get(admin(api, "requests")).json() == api.sandbox.requests == []
