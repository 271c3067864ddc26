"""Faults: what each does, where it applies, and how it is switched from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.faults import FAULTS
from releasecopilot_bitbucket_sandbox.server import UnknownFault


@pytest.fixture
def filled(api, repository):
    """Serve a repository of four commits and two branches."""
    for number in range(4):
        repository.commit(f"{number}\n", {f"f{number}": f"{number}\n"})
    repository.commit("Side\n", branch="side")
    return api


def statuses(api, path="commits", count=3):
    """Return the statuses of so many requests."""
    return [api.get(path).status_code for _ in range(count)]


# --- rate limits -------------------------------------------------------------------------------------------------


def test_rate_limit_is_plain_text(filled):
    """Above the limit comes a 429 in plain text, without Retry-After, that tells seconds to go."""
    filled.sandbox.set_fault("rate-limit", "2")

    *served, refused = [filled.get("commits") for _ in range(3)]

    assert [answer.status_code for answer in served] == [200, 200]
    assert refused.status_code == 429
    assert refused.text == "Rate limit for this resource has been exceeded"
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in refused.headers
    assert 0 < int(refused.headers["X-RateLimit-Reset"]) <= 3601
    assert refused.headers["X-RateLimit-Remaining"] == "0"


def test_retry_after_in_seconds(filled):
    """Retry-After may be a number of seconds."""
    filled.sandbox.set_fault("rate-limit", "0")
    filled.sandbox.set_fault("retry-after", "seconds:7")

    assert filled.get("commits").headers["Retry-After"] == "7"


def test_retry_after_as_a_date(filled):
    """Retry-After may be an HTTP date."""
    filled.sandbox.set_fault("rate-limit", "0")
    filled.sandbox.set_fault("retry-after", "date:3600")

    moment = parsedate_to_datetime(filled.get("commits").headers["Retry-After"])

    assert moment > datetime.now(UTC)


def test_retry_after_absent(filled):
    """Retry-After can be left out by name."""
    filled.sandbox.set_fault("rate-limit", "0")
    filled.sandbox.set_fault("retry-after", "absent")

    assert "Retry-After" not in filled.get("commits").headers


def test_window_rolls(filled):
    """When the window has passed, requests are served again."""
    filled.sandbox.set_fault("rate-limit", "1")
    filled.sandbox.set_fault("rate-window", "0")
    assert statuses(filled) == [200, 200, 200]

    filled.sandbox.set_fault("rate-window", "3600")

    assert statuses(filled) == [429, 429, 429] or statuses(filled)[-1] == 429


def test_limit_starts_anew_when_it_is_switched_off(filled):
    """Without faults, what was counted is forgotten."""
    filled.sandbox.set_fault("rate-limit", "1")
    assert statuses(filled, count=2) == [200, 429]

    filled.sandbox.clear_fault("rate-limit")
    filled.sandbox.set_fault("rate-limit", "1")

    assert statuses(filled, count=2) == [200, 429]


def test_limit_of_one_kind(filled):
    """A limit on one kind of request leaves the others alone and does not count them."""
    filled.sandbox.set_fault("rate-limit@commits", "1")

    assert statuses(filled, "refs/branches") == [200, 200, 200]
    assert statuses(filled, "commits") == [200, 429, 429]


# --- broken answers ----------------------------------------------------------------------------------------------


def test_status_so_many_times(filled):
    """A status with a count comes so many times, and speaks HTML from 500 on."""
    filled.sandbox.set_fault("status", "503:2")

    first = filled.get("commits")

    assert first.headers["Content-Type"].startswith("text/html")
    assert statuses(filled) == [503, 200, 200]


def test_status_for_ever(filled):
    """A status without a count stays until it is switched off, and is JSON below 500."""
    filled.sandbox.set_fault("status", "418")
    assert statuses(filled) == [418, 418, 418]
    assert filled.get("commits").json()["type"] == "error"

    filled.sandbox.clear_fault("status")

    assert statuses(filled) == [200, 200, 200]


def test_reset(filled):
    """The connection is reset so many times, and the record says so."""
    filled.sandbox.set_fault("reset", "2")

    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            filled.get("commits")

    assert filled.get("commits").status_code == 200
    assert [served.status for served in filled.sandbox.requests] == [0, 0, 200]


def test_truncate(filled):
    """The length is that of the whole answer, and the connection ends in the middle."""
    filled.sandbox.set_fault("truncate", "1")

    with pytest.raises(httpx.RemoteProtocolError):
        filled.get("commits")

    assert filled.get("commits").json()["values"]


def test_bad_json(filled):
    """The answer is a 200 that looks like JSON and is none."""
    filled.sandbox.set_fault("bad-json", "1")

    answer = filled.get("commits")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    with pytest.raises(ValueError, match="Expecting|Invalid|delimiter|control"):
        answer.json()
    assert filled.get("commits").json()["values"]


def test_slow(filled):
    """A slow answer is the same answer."""
    expected = filled.json("commits/main")
    filled.sandbox.set_fault("slow", "0.05")

    assert filled.json("commits/main") == expected


def test_slow_outlasts_a_client(filled):
    """A client that waits less than the answer takes gives up."""
    filled.sandbox.set_fault("slow", "30")

    with pytest.raises(httpx.ReadTimeout):
        filled.get("commits", timeout=0.1)


@pytest.mark.parametrize(
    ("name", "status"), [("unauthorized", 401), ("forbidden", 403), ("missing", 404), ("removed", 410)]
)
def test_refusals(filled, name, status):
    """A refusal can be had without its cause."""
    filled.sandbox.set_fault(name)

    assert filled.get("commits").status_code == status
    filled.sandbox.clear_faults()
    assert filled.get("commits").status_code == 200


# --- commits -----------------------------------------------------------------------------------------------------


def test_vanished(filled, repository):
    """A sha that is said to have vanished is unknown in sets and as a commit; the listing still has it."""
    tip, old = repository.lines("rev-list", "main")[:2]
    filled.sandbox.set_fault("vanished", old)

    answer = filled.get("commits", params={"include": tip, "exclude": old})

    assert answer.status_code == 404
    assert answer.json()["data"]["shas"] == [old]
    assert filled.get(f"commit/{old}").status_code == 404
    assert old in filled.hashes()


def test_next_loop(filled):
    """Every next leads back to the page that it stands on."""
    filled.sandbox.set_fault("next-loop")
    first = filled.json("commits", pagelen=2)

    second = filled.json(first["next"])

    assert second["values"] == first["values"]
    assert second["next"] == first["next"]


def test_foreign_next(filled):
    """Next leads to a host that should not get the credential."""
    filled.sandbox.set_fault("foreign-next", "http://elsewhere.example/2.0")

    assert filled.json("commits", pagelen=2)["next"].startswith("http://elsewhere.example/2.0?")


@pytest.mark.parametrize("times", [0, 1])
def test_ctx_expiry(filled, times):
    """A ctx is good for so many further pages, and then for none."""
    filled.sandbox.set_fault("ctx-expiry", str(times))
    page = filled.json("commits", pagelen=1)

    for _ in range(times):
        page = filled.json(page["next"])

    assert filled.get(page["next"]).status_code == 400
    assert filled.json("commits", pagelen=1)["values"]


@pytest.mark.parametrize(("name", "status"), [("diffstat-555", 555), ("no-ancestor", 400)])
def test_diffs_that_cannot_be_had(filled, repository, name, status):
    """A diffstat that fails does so for the commits that are named, by their beginnings, and each time."""
    tip, other = repository.lines("rev-list", "main")[:2]
    filled.sandbox.set_fault(name, tip[:10])

    assert statuses(filled, f"diffstat/{tip}", 2) == [status, status]
    assert filled.get(f"diffstat/{tip}").json()["type"] == "error"
    assert filled.get(f"diffstat/{other}").status_code == 200
    filled.sandbox.set_fault(name, "*")
    assert filled.get(f"diffstat/{other}").status_code == status


def test_no_author_user(filled):
    """No author has a user."""
    filled.sandbox.set_fault("no-author-user")

    assert {tuple(sorted(value["author"])) for value in filled.values("commits")} == {("raw", "type")}


def test_null_author(filled):
    """Authors are null."""
    filled.sandbox.set_fault("null-author")

    assert {value["author"] for value in filled.values("commits")} == {None}


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


def test_fault_of_a_repository_that_is_asked_by_uuid(two):
    """A fault for a slug applies as well when the repository is addressed by its uuid."""
    uuid = two.json("/repositories/acme/shop")["uuid"]
    two.sandbox.set_fault("status@commits:shop", "500")

    assert two.get(f"/repositories/acme/{uuid}/commits").status_code == 500


# --- switching -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "value", "words"),
    [
        ("statu", "503", "did you mean 'status'"),
        ("whatever-it-is", "1", "there are: rate-limit"),
        ("status@commit5", "503", "did you mean 'commit'"),
        ("status@pullrequests", "503", "no kind of request 'pullrequests'"),
        ("status", "200", "CODE"),
        ("rate-limit", "many", "whole number"),
        ("rate-limit", "²", "whole number"),
        ("slow", "-1", "seconds"),
        ("slow", "inf", "seconds"),
        ("slow", "soon", "expected seconds"),
        ("retry-after", "7", "seconds:N"),
        ("missing", "0", "1"),
        ("empty-repository", "500", "200 or 404"),
        ("order", "random", "topo-order"),
        ("diffstat-555", "xyz", "shas"),
        ("foreign-next", "1", "address"),
    ],
)
def test_unknown_faults(api, fault, value, words):
    """A fault, kind or value that does not exist is refused with what is possible, and switches nothing on."""
    with pytest.raises(UnknownFault, match="^[^\n]+$") as refused:
        api.sandbox.set_fault(fault, value)

    assert words in str(refused.value)
    assert api.client.get(admin(api, "faults")).json() == {}


def test_faults_from_the_start(repository, serve):
    """Faults may be given when the sandbox is made."""
    assert serve(faults={"status@commits": "500"}).get("commits").status_code == 500


def admin(api, path):
    """Return the address of an admin endpoint."""
    return api.sandbox.url.removesuffix("/2.0") + f"/_sandbox/{path}"


def test_faults_over_http(filled):
    """Another process may list, set and clear faults."""
    assert filled.client.put(admin(filled, "faults/status@commits:api"), content="503:2").status_code == 200
    assert filled.client.get(admin(filled, "faults")).json() == {"status@commits:api": "503:2"}
    assert statuses(filled) == [503, 503, 200]
    filled.client.put(admin(filled, "faults/missing"), content="1")
    filled.client.put(admin(filled, "faults/slow"), content="0")

    assert filled.client.delete(admin(filled, "faults/missing")).json() == {"slow": "0"}
    assert filled.client.delete(admin(filled, "faults")).json() == {}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "faults/statu", 400), ("DELETE", "faults/statu", 400), ("GET", "nothing", 404)],
)
def test_admin_refuses_what_is_wrong(api, method, path, status):
    """What is wrong is told as JSON."""
    answer = api.client.request(method, admin(api, path), content="503" if method == "PUT" else None)

    assert answer.status_code == status
    assert answer.json()["error"]


def test_requests_over_http(filled):
    """Requests are recorded with method, path, query, kind and status, and can be forgotten; admin calls are not."""
    filled.get("commits", params={"pagelen": 1})
    filled.get("/nothing")

    first, second = filled.client.get(admin(filled, "requests")).json()

    assert (first["method"], first["kind"], first["status"], first["query"]) == ("GET", "commits", 200, "pagelen=1")
    assert first["path"] == "/2.0/repositories/acme/api/commits"
    assert (second["kind"], second["status"]) == ("unknown", 404)
    filled.client.delete(admin(filled, "requests"))
    assert filled.client.get(admin(filled, "requests")).json() == []


def test_callback_hears_of_each_request(filled):
    """A callback is called with each request that was answered."""
    heard = []
    filled.sandbox.on_request(heard.append)
    filled.get("commits")
    filled.sandbox.stop()

    assert [(served.kind, served.status) for served in heard] == [("commits", 200)]


def test_each_fault_is_in_the_tests():
    """No fault is left without a test in this folder."""
    from pathlib import Path

    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_sandbox_*.py"))

    assert [name for name in FAULTS if f'"{name}' not in text] == []
