"""Pages, redirects and connections of the API client: followed as they are given, and nowhere else."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket.api import Api
from releasecopilot_bitbucket.settings import Credentials

from releasecopilot_core import Secret
from releasecopilot_core.errors import SourceError

EMAIL, TOKEN = "bot@acme.example", "ATATT-s3cret"  # as in conftest.py
BASIC = "Basic " + base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
GOOD = {"values": [1]}
ASTRAY = "check bitbucket.api_url, and whether a proxy answers in its place"
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def fault(call: Callable[[], Any]) -> SourceError:
    """Return the error that a call ends with: one, in one line."""
    with pytest.raises(SourceError) as caught:
        call()
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# --- pages -------------------------------------------------------------------------------------------------------


def test_pages_follow_next_as_it_is(api: Api, server: Any) -> None:
    """`next` is asked for with its own query only; the caller learns which page is the last."""
    server.then({"values": [1], "next": f"{server.url}/x?ctx=a%2Bb&page=2"}).then({"values": []})
    assert list(api.pages("x", [("pagelen", "100")])) == [([1], False), ([], True)]
    assert [asked.query for asked in server.asked] == [(("pagelen", "100"),), (("ctx", "a+b"), ("page", "2"))]


def test_pages_after_a_form_are_fetched_with_get(api: Api, server: Any) -> None:
    """The `ctx` carries the sets: the form is sent once."""
    server.then({"values": [1], "next": f"{server.url}/x?ctx=1&page=2"}).then({"values": [2], "next": None})
    assert list(api.pages("x", [("pagelen", "100")], form=[("include", "a")])) == [([1], False), ([2], True)]
    assert [(asked.method, asked.body) for asked in server.asked] == [("POST", "include=a"), ("GET", "")]


def test_pages_are_asked_for_one_at_a_time(api: Api, server: Any) -> None:
    """A page is fetched when it is wanted: what came before can be stored first."""
    server.then({"values": [1], "next": f"{server.url}/x?page=2"}).then({"values": [2]})
    pages = api.pages("x")
    assert server.asked == []
    next(pages)
    assert len(server.asked) == 1


@pytest.mark.parametrize("length", [1, 2, 3])
def test_pages_in_a_circle_are_noticed(length: int, api: Api, server: Any) -> None:
    """No `next` is followed twice, however large the circle."""
    for number in range(20):
        server.then({"values": [number], "next": f"{server.url}/x?page={number % length}"})
    error = fault(lambda: list(api.pages("x")))
    assert (str(error), error.kind) == (f"x: the list of pages goes in a circle; {ASTRAY}", "bad-answer")
    assert len(server.asked) == length + 1


@pytest.mark.parametrize("values", [None, {}, "abc", 7])
def test_page_without_a_list_of_values_is_a_bad_answer(values: Any, api: Api, server: Any) -> None:
    """Nothing is not the same as an empty list."""
    server.then({"values": values})
    error = fault(lambda: list(api.pages("x/commits", [("include", "a" * 40)])))
    assert (str(error), error.kind) == (f"x/commits: the answer has no list of values; {ASTRAY}", "bad-answer")


@pytest.mark.parametrize("following", [7, ["http://h"], {"href": "x"}, True])
def test_next_that_is_no_address_is_a_bad_answer(following: Any, api: Api, server: Any) -> None:
    """What cannot be followed is not taken for the end of the list."""
    server.then({"values": [1], "next": following})
    assert fault(lambda: list(api.pages("x"))).kind == "bad-answer"


ODD_ADDRESSES = [
    "http://h:abc/2.0/x",
    "http://[::1",
    "{base}/\x00",
    "{base}/" + "a" * 70_000,
    "://",
    "http://",
    "{base}/\n",
]


@pytest.mark.parametrize("address", ODD_ADDRESSES, ids=range(len(ODD_ADDRESSES)))
def test_odd_next_is_a_bad_answer(address: str, api: Api, server: Any) -> None:
    """An address that is none ends as an error of the source, and nothing is sent for it."""
    server.then({"values": [1], "next": address.replace("{base}", server.url)})
    assert fault(lambda: list(api.pages("x"))).kind == "bad-answer"
    assert len(server.asked) == 1


def test_sandbox_loop_is_noticed(sandbox: Any, sandbox_api: Api, repository: Any) -> None:
    """A `next` that leads to its own page is followed once."""
    for _ in range(3):
        repository.commit()
    sandbox.set_fault("next-loop")
    assert "circle" in str(fault(lambda: list(sandbox_api.pages("repositories/acme/api/commits", [("pagelen", "1")]))))


# --- never elsewhere ---------------------------------------------------------------------------------------------

ELSEWHERE = [
    "{other}/2.0/x",
    "{other}/2.0/{base}/x",
    "http://bot:pw@{host}/2.0/x",
    "http://{host}@{otherhost}/2.0/x",
    "{base}.evil.example/x",
    "{root}/2.1/x",
    "{base}x",
    "{base}/../admin",
    "{base}/x/../../admin",
    "https://{host}/2.0/x",
]


def spelled(template: str, server: Any, other: Any) -> str:
    hosts = {"host": httpx.URL(server.url).netloc.decode(), "otherhost": httpx.URL(other.url).netloc.decode()}
    roots = {"root": server.url.removesuffix("/2.0"), "other": other.url.removesuffix("/2.0")}
    return template.format(base=server.url, **hosts, **roots)


@pytest.mark.parametrize("template", ELSEWHERE)
@pytest.mark.parametrize("way", ["next", "redirect"])
def test_nothing_is_sent_outside_the_base_address(
    template: str, way: str, api: Api, server: Any, scripted: Callable[[], Any]
) -> None:
    """Neither a `next` nor a redirect takes the credential to another place; no request is made at all."""
    other = scripted().then(GOOD)
    address = spelled(template, server, other)
    if way == "next":
        server.then({"values": [1], "next": address}).then(GOOD)
    else:
        server.then("", 302, headers={"Location": address}).then(GOOD)
    error = fault(lambda: list(api.pages("x")))
    assert error.kind == "bad-answer"
    assert f"an answer points outside {server.url} (to '" in str(error)
    assert "pw" not in str(error)
    assert (len(server.asked), other.asked) == (1, [])


def test_sandbox_foreign_next_is_refused(
    sandbox: Any, sandbox_api: Api, repository: Any, scripted: Callable[[], Any]
) -> None:
    """The first page comes, the second is asked of nobody."""
    other = scripted().then(GOOD)
    repository.commit()
    repository.commit()
    sandbox.set_fault("foreign-next", other.url)
    pages = sandbox_api.pages("repositories/acme/api/commits", [("pagelen", "1")])
    assert len(next(pages)[0]) == 1
    assert "points outside" in str(fault(lambda: next(pages)))
    assert other.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["{base}/new?x=1", "/2.0/new?x=1", "new?x=1"])
def test_redirect_below_the_base_is_followed(status: int, location: str, api: Api, server: Any) -> None:
    """A renamed repository is found under its new address, with the credential."""
    server.then("", status, headers={"Location": location.format(base=server.url)}).then(GOOD)
    assert api.get("old", [("y", "2")]) == GOOD
    assert (server.asked[1].path, server.asked[1].query) == ("/2.0/new", (("x", "1"),))
    assert server.asked[1].headers["Authorization"] == BASIC
    assert api.requests == 2


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (307, "POST"), (308, "POST")])
def test_redirected_form_keeps_its_method_unless_told_otherwise(
    status: int, method: str, api: Api, server: Any
) -> None:
    """303 means that the answer is to be fetched; 307 and 308 repeat the form."""
    server.then("", status, headers={"Location": f"{server.url}/new"}).then(GOOD)
    api.post_form("old", [], [("include", "a")])
    assert (server.asked[1].method, server.asked[1].body) == (method, "include=a" if method == "POST" else "")


@pytest.mark.parametrize("headers", [{"Location": "/2.0/x"}, {}])
def test_redirect_in_a_circle_ends(headers: dict[str, str], api: Api, server: Any) -> None:
    """After a handful of steps it is told as a bad answer."""
    server.then("", 302, headers=headers)
    assert str(fault(lambda: api.get("x"))) == f"x: redirected in a circle; {ASTRAY}"
    assert len(server.asked) == 6


@pytest.mark.parametrize("location", ["http://[::1", "http://h:abc/", "//[", "\x01"])
def test_odd_redirect_is_told(location: str, api: Api, server: Any) -> None:
    """A `Location` that is no address ends as an error of the source."""
    server.then("", 302, headers={"Location": location})
    assert fault(lambda: api.get("x")).kind in ("bad-answer", "unreachable")


# --- closing, threads, secrets -----------------------------------------------------------------------------------


def test_closed_client_refuses_at_once(api: Api, server: Any) -> None:
    """Nothing is sent after `close`, and closing twice does no harm."""
    server.then(GOOD)
    api.get("x")
    api.close()
    api.close()
    error = fault(lambda: api.get("x"))
    assert (str(error), error.kind) == ("the scan was stopped", "stopped")
    assert len(server.asked) == 1


def test_close_ends_requests_that_are_being_repeated(
    make_api: Callable[..., Api], server: Any, until: Callable[[Callable[[], bool]], bool]
) -> None:
    """A thread that goes on asking is told at its next try."""
    api = make_api(server.url, retry_seconds=3600)
    server.then(HTML, 503)
    ends: list[SourceError] = []
    thread = threading.Thread(target=lambda: ends.append(fault(lambda: api.get("x"))))
    thread.start()
    assert until(lambda: bool(server.asked))
    api.close()
    thread.join(20)
    assert [end.kind for end in ends] == ["stopped"]


def test_requests_of_many_threads_are_counted_and_bounded(make_api: Callable[..., Api], server: Any) -> None:
    """Threads share the client; each gets its own answer."""
    api = make_api(server.url, concurrency=2)
    server.then(GOOD, after=0.005)
    threads = [threading.Thread(target=lambda: [api.get("x") for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.requests == len(server.asked) == 40


@pytest.mark.parametrize("kind", ["api_token", "access_token"])
def test_secrets_stay_in_their_header(
    kind: str, make_api: Callable[..., Api], server: Any, scripted: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """No error, no text of an object and no log record at any level shows the token, nor what Basic makes of it."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "stamina"):
        caplog.set_level(logging.DEBUG, logger=name)
    secret = Secret(TOKEN)
    credentials = (
        Credentials(username=EMAIL, api_token=secret) if kind == "api_token" else Credentials(access_token=secret)
    )
    api = make_api(server.url, credentials=credentials)
    texts = [repr(api), str(api), repr(vars(api)), repr(credentials)]
    server.then(reset=True).then(status=503).then(GOOD)
    server.then("", 401).then({"type": "error", "error": {"message": "No"}}, 403).then(
        "", 302, headers={"Location": f"{scripted().url}/x"}
    ).then("oops")
    for _ in range(5):
        try:
            api.get("x")
        except SourceError as error:
            while error is not None:  # with all that it hangs on
                texts += [str(error), repr(error), repr(vars(error))]
                error = error.__cause__ or error.__context__
    formatter = logging.Formatter()
    texts += [formatter.format(record) + repr(vars(record)) for record in caplog.records]
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    shown = "\n".join(texts)
    assert TOKEN not in shown
    assert BASIC.removeprefix("Basic ") not in shown
