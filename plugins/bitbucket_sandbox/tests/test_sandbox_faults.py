"""Faults: what each of them does to whoever asks."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.faults import Faults

ANN = "Ann Archer <ann@acme.example>"


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
    """Above the limit comes a 429 in plain text, without Retry-After, that tells seconds to go; then headers end."""
    filled.sandbox.set_fault("rate-limit", "2")

    *served, refused = [filled.get("commits") for _ in range(3)]

    assert [answer.status_code for answer in served] == [200, 200]
    assert refused.status_code == 429
    assert refused.text == "Rate limit for this resource has been exceeded"
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in refused.headers
    assert 0 < int(refused.headers["X-RateLimit-Reset"]) <= 3601
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    filled.sandbox.clear_fault("rate-limit")
    assert "X-RateLimit-Limit" not in filled.get("commits").headers


def test_headers_of_a_limit(filled):
    """The headers come in three variants, with what is served and with what is refused."""
    filled.sandbox.set_fault("rate-limit", "5")
    seen = filled.get("commits").headers
    filled.sandbox.set_fault("rate-headers", "scaled")
    scaled = [filled.get("commits").headers["X-RateLimit-NearLimit"] for _ in range(5)]
    resource = filled.get("commits").headers["X-RateLimit-Resource"]
    filled.sandbox.set_fault("rate-headers", "absent")
    absent = filled.get("commits").headers

    assert (seen["X-RateLimit-Limit"], seen["X-RateLimit-Remaining"]) == ("5, 5;w=3600", "4")
    assert scaled == ["false", "false", "false", "true", "true"]
    assert resource
    assert not [name for name in absent if name.lower().startswith("x-ratelimit")]


@pytest.mark.parametrize("value", ["seconds:7", "date:7", "absent"])
def test_retry_after(filled, value):
    """Retry-After is seconds, a date, or not there."""
    filled.sandbox.set_fault("rate-limit", "0")
    filled.sandbox.set_fault("retry-after", value)

    answer = filled.get("commits")

    found = answer.headers.get("Retry-After")
    if value == "date:7":
        wait = parsedate_to_datetime(found) - parsedate_to_datetime(answer.headers["Date"])
        assert 6 <= wait.total_seconds() <= 8
    else:
        assert found == {"seconds:7": "7", "absent": None}[value]


def test_window_rolls(filled):
    """What is older than the window does not count, and what was refused never did."""
    filled.sandbox.set_fault("rate-limit", "2")
    filled.sandbox.set_fault("rate-window", "1")
    assert 429 in statuses(filled)

    time.sleep(1.05)

    assert statuses(filled, count=2) == [200, 200]


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
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert filled.get("commits").json()["values"]


@pytest.mark.parametrize("value", ["7200", "-7200"])
def test_clock(filled, value):
    """The header Date is off, also where the answer is a refusal, and there is one only."""
    filled.sandbox.set_fault("clock", value)
    filled.sandbox.set_fault("forbidden@commits", "1")

    for answer in (filled.get(""), filled.get("commits")):
        (date,) = answer.headers.get_list("Date")
        off = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
        assert abs(off - float(value)) < 5


def test_slow(filled):
    """An answer takes its time; a client that waits less gives up."""
    filled.sandbox.set_fault("slow", "0.2")

    with pytest.raises(httpx.ReadTimeout):
        filled.get("commits", timeout=httpx.Timeout(20, read=0.05))

    assert filled.get("commits").status_code == 200


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


@pytest.mark.parametrize("path", ["commits", "refs/branches"])
def test_next_loop(filled, path):
    """Every next leads back to the page that it stands on."""
    filled.sandbox.set_fault("next-loop")
    first = filled.json(path, pagelen=1)

    second = filled.json(first["next"])

    assert second["values"] == first["values"]
    assert second["next"] == first["next"]


def test_foreign_next(filled):
    """Next leads to a host that should not get the credential."""
    filled.sandbox.set_fault("foreign-next", "http://elsewhere.example/2.0")

    for path in ("commits", "refs/branches"):
        assert filled.json(path, pagelen=1)["next"].startswith("http://elsewhere.example/2.0?")


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


def test_authors_that_lack_something(filled, repository):
    """The author has no user, or is null, in listings and alone."""
    sha = repository.lines("rev-parse", "main")[0]
    for fault, expected in (("no-author-user", {"type": "author", "raw": ANN}), ("null-author", None)):
        filled.sandbox.set_fault(fault)
        listed = [value["author"] for value in filled.values("commits")]
        assert [*listed, filled.json(f"commit/{sha}")["author"]] == [expected] * 6


# --- all ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("reset", "0"), ("truncate", "0"), ("bad-json", "0"), ("status", "503:0")])
def test_zero_times_is_never(name, value):
    """A count of 0 happens not once."""
    faults = Faults()
    faults.set(name, value)

    assert [faults.take(name, "commits", None) for _ in range(2)] == [None, None]
