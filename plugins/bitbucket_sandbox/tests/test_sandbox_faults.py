"""Each fault, as a client meets it."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.faults import FAULTS, Faults, UnknownFault


def codes(api: Any, count: int, path: str = "commits") -> list[int]:
    """Return the status of so many requests."""
    return [api.get(path).status_code for _ in range(count)]


def test_rate_limit(repository: Any, api: Any) -> None:
    """After N requests comes a 429 in plain text, without Retry-After; the reset counts seconds to go."""
    api.sandbox.set_fault("rate-limit", "2")
    first = api.get("commits")
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2, 2;w=3600", "1")
    assert codes(api, 2) == [200, 429]
    answer = api.get("commits")
    assert answer.text == "Rate limit for this resource has been exceeded"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in answer.headers
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) <= 3600
    api.sandbox.clear_fault("rate-limit")
    assert "X-RateLimit-Limit" not in api.get("commits").headers


def test_rate_limit_eases(repository: Any, api: Any) -> None:
    """The window rolls: what is older does not count, and refused requests never did."""
    import time

    api.sandbox.set_fault("rate-limit", 2)
    api.sandbox.set_fault("rate-window", 0.2)
    assert 429 in codes(api, 3)
    time.sleep(0.25)
    assert api.get("commits").status_code == 200


@pytest.mark.parametrize("value", ["seconds:7", "date:7", "absent"])
def test_retry_after(repository: Any, api: Any, value: str) -> None:
    """Retry-After is seconds, a date, or not there."""
    api.sandbox.set_fault("rate-limit", "0")
    api.sandbox.set_fault("retry-after", value)
    answer = api.get("commits")
    found = answer.headers.get("Retry-After")
    if value.startswith("date"):
        sent = parsedate_to_datetime(answer.headers["Date"])
        assert 6 <= (parsedate_to_datetime(found) - sent).total_seconds() <= 8
    else:
        assert found == {"seconds:7": "7", "absent": None}[value]


def test_status(repository: Any, api: Any) -> None:
    """N requests, or all of them, are answered with a status: HTML from 500 on, JSON below."""
    api.sandbox.set_fault("status", "502:2")
    answer = api.get("commits")
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (502, "text/html")
    assert codes(api, 2) == [502, 200]
    api.sandbox.set_fault("status", "451")
    assert codes(api, 3) == [451] * 3
    assert api.get("commits").json()["type"] == "error"


def test_reset(repository: Any, api: Any) -> None:
    """N connections are reset instead of answered; the record says so."""
    api.sandbox.set_fault("reset", "2")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            api.get("commits")
    assert api.get("commits").status_code == 200
    assert [served.status for served in api.sandbox.requests] == [0, 0, 200]


def test_truncate(repository: Any, api: Any) -> None:
    """N answers break off: the length is right and the body is not."""
    repository.line(5)
    api.sandbox.set_fault("truncate", "1")
    with pytest.raises(httpx.RemoteProtocolError, match="complete"):
        api.get("commits")
    assert api.get("commits").status_code == 200


def test_bad_json(repository: Any, api: Any) -> None:
    """N answers are 200 and no JSON."""
    api.sandbox.set_fault("bad-json", "1")
    answer = api.get("commits")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()
    assert api.get("commits").json()["values"] == []


def test_slow(repository: Any, api: Any) -> None:
    """Answers take their time; a sandbox that is stopped does not wait for them."""
    api.sandbox.set_fault("slow", "60")
    with pytest.raises(httpx.ReadTimeout):
        api.get("commits", timeout=0.2)


def test_vanished(repository: Any, api: Any) -> None:
    """Shas count as gone, by name of a ref as well, and some of several are named."""
    shas = repository.line(3)
    api.sandbox.set_fault("vanished", f"{shas[1]},{shas[2]}")
    answer = api.get("commits", params={"include": shas[0], "exclude": shas[1:]})
    assert (answer.status_code, answer.json()["data"]) == (404, {"shas": shas[1:2]})
    assert api.get(f"commit/{shas[2]}").status_code == 404
    assert api.hashes(include=shas[0]) == shas


@pytest.mark.parametrize(
    ("name", "status"), [("unauthorized", 401), ("forbidden", 403), ("missing", 404), ("removed", 410)]
)
def test_refusals(repository: Any, api: Any, name: str, status: int) -> None:
    """Access can be lost in every way; the 403's detail is an object."""
    api.sandbox.set_fault(name, "1")
    answer = api.get("commits")
    assert (answer.status_code, answer.json()["type"]) == (status, "error")
    if status == 403:
        assert answer.json()["error"]["detail"]["required"] == ["read:repository:bitbucket"]
        assert api.get("/user").json()["error"]["detail"]["required"] == ["read:user:bitbucket"]


@pytest.mark.parametrize(("name", "status"), [("diffstat-555", 555), ("no-ancestor", 400)])
def test_diffs_that_fail(repository: Any, api: Any, name: str, status: int) -> None:
    """Differences of some commits, or of all, cannot be had."""
    shas = repository.line(2)
    api.sandbox.set_fault(name, f"{shas[0][:9]},{'0' * 40}")
    assert [api.get(f"diffstat/{sha}").status_code for sha in shas] == [status, 200]
    api.sandbox.set_fault(name, "*")
    assert [api.get(f"diffstat/{sha}").status_code for sha in shas] == [status, status]


@pytest.mark.parametrize("path", ["commits", "refs/branches"])
def test_next_that_leads_astray(repository: Any, api: Any, path: str) -> None:
    """next leads in a circle, or to another host."""
    sha = repository.line(5)[0]
    for number in range(3):
        repository.git("update-ref", f"refs/heads/b{number}", sha)
    api.sandbox.set_fault("next-loop", "1")
    first = api.get(f"{path}?pagelen=2").json()
    again = api.get(first["next"]).json()
    assert again["values"] == first["values"]
    assert "next" in again
    api.sandbox.set_fault("foreign-next", "http://elsewhere.example/2.0")
    assert api.get(f"{path}?pagelen=2").json()["next"].startswith("http://elsewhere.example/2.0?")


def test_ctx_expiry(repository: Any, api: Any) -> None:
    """A ctx is forgotten after N further pages: a 400 from then on, and a new walk works."""
    shas = repository.line(5)
    api.sandbox.set_fault("ctx-expiry", "2")
    page = api.get("commits?pagelen=1").json()
    for _ in range(2):
        page = api.get(page["next"]).json()
    answer = api.get(page["next"])
    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert api.get(f"commits/{shas[2]}").json()["values"][0]["hash"] == shas[2]


def test_empty_repository(repository: Any, api: Any) -> None:
    """Without commits the listing is empty, or a 404; with commits it is as ever."""
    assert api.get("commits").json() == {"values": [], "pagelen": 30}
    api.sandbox.set_fault("empty-repository", "404")
    assert codes(api, 1) == [404]
    repository.commit()
    assert codes(api, 1) == [200]


def test_authors_that_lack_something(repository: Any, api: Any) -> None:
    """The author's user is absent, or the author is null."""
    sha = repository.commit()
    for path in ("commits", f"commit/{sha}"):
        api.sandbox.set_fault("no-author-user", "1")
        body = api.get(path).json()
        assert set(body.get("values", [body])[0]["author"]) == {"type", "raw"}
        api.sandbox.set_fault("null-author", "1")
        body = api.get(path).json()
        assert body.get("values", [body])[0]["author"] is None
        api.sandbox.clear_faults()


def test_faults_for_one_kind_or_repository(repository: Any, new_repository: Callable[..., Any], api: Any) -> None:
    """A fault may be for one kind of request, one repository, or both; the most specific value wins."""
    new_repository("web")
    api.sandbox.set_fault("status@commits", "500")
    api.sandbox.set_fault("status@*:web", "502")
    api.sandbox.set_fault("status@commits:web", "503")
    found = {
        path: codes(api, 1, f"/repositories/acme/{path}")[0] for path in ("api", "api/commits", "web", "web/commits")
    }
    assert found == {"api": 200, "api/commits": 500, "web": 502, "web/commits": 503}
    assert api.sandbox.faults == {"status@commits": "500", "status@*:web": "502", "status@commits:web": "503"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rate-limt", "1", "no fault 'rate-limt'; did you mean 'rate-limit'?"),
        ("reset@comits", "1", "reset@comits: no kind of request 'comits'; did you mean 'commits'?"),
        ("rate-limit", "many", "rate-limit=many: expected a whole number"),
        ("rate-limit", "²", "rate-limit=²: expected a whole number"),
        ("status", "200", "status=200: expected CODE or CODE:COUNT, such as 503:2"),
        ("slow", "nan", "slow=nan: expected seconds"),
        ("slow", "-1", "slow=-1: expected seconds"),
        ("retry-after", "soon", "retry-after=soon: expected seconds:N, date:N or absent"),
        ("forbidden", "yes", "forbidden=yes: expected 1"),
    ],
)
def test_faults_that_do_not_exist(name: str, value: str, message: str) -> None:
    """A wrong name or value is told, with what was probably meant."""
    with pytest.raises(UnknownFault) as caught:
        Faults().set(name, value)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["reset", "truncate", "bad-json", "status"])
def test_zero_times_is_never(name: str) -> None:
    """A count of 0 happens not once."""
    faults = Faults()
    faults.set(name, "503:0" if name == "status" else "0")
    assert [faults.take(name, "commits", None) for _ in range(2)] == [None, None]


def test_every_fault_is_explained_and_tried() -> None:
    """The README's table names every fault, and this folder tries each."""
    from pathlib import Path

    here = Path(__file__).parent
    readme = here.parent.joinpath("README.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in here.glob("test_*.py"))
    for name in FAULTS:
        assert f"| `{name}=" in readme
        assert f'"{name}' in tests
