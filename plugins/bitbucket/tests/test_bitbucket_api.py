"""The client over real HTTP: what it sends, what it repeats, where it stops, and what it never lets out."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from releasecopilot_bitbucket.answers import Again, Unobtainable, fault_of, seconds_of
from releasecopilot_bitbucket.api import Api, segment
from releasecopilot_bitbucket.settings import Credentials

from releasecopilot_core import Secret
from releasecopilot_core.errors import AuthenticationError, CommitsVanished, ListingExpired, SourceError

EMAIL, TOKEN = "bot@acme.example", "ATATT-s3cret"  # as in conftest.py
BASIC = "Basic " + base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
GOOD = {"values": [1]}
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def fault(call: Callable[[], Any]) -> SourceError:
    """Return the error that a call ends with: one, in one line."""
    with pytest.raises(SourceError) as caught:
        call()
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# --- what is sent ------------------------------------------------------------------------------------------------


def test_api_token_is_sent_as_basic(api: Api, server: Any) -> None:
    """The header holds e-mail and token, joined and in base64, and nothing else of the request does."""
    server.then(GOOD)
    assert api.get("user") == GOOD
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query, asked.body) == ("GET", "/2.0/user", (), "")
    assert asked.headers["Authorization"] == BASIC
    assert asked.headers["Accept"] == "application/json"
    assert TOKEN not in "".join(value for name, value in asked.headers.items() if name != "Authorization")


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials(access_token=Secret("${BITBUCKET_TOKEN}")), "Bearer ATCTT-s3cret"),
        (
            Credentials(username="bot", app_password=Secret("${BITBUCKET_TOKEN}")),
            "Basic " + base64.b64encode(b"bot:ATCTT-s3cret").decode(),
        ),
        (Credentials(), None),
    ],
)
def test_each_credential_has_its_header(
    credentials: Credentials,
    header: str | None,
    make_api: Callable[..., Api],
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Access tokens go as Bearer, app passwords as Basic; without a credential there is no header."""
    monkeypatch.setenv("BITBUCKET_TOKEN", "ATCTT-s3cret")
    server.then(GOOD)
    make_api(server.url, credentials=credentials).get("user")
    assert server.asked[0].headers.get("Authorization") == header


def test_sandbox_takes_the_credential(sandbox: Any, sandbox_api: Api, repository: Any) -> None:
    """The right one is served, and each request counts."""
    assert sandbox_api.get("repositories/acme/api")["full_name"] == "acme/api"
    assert sandbox_api.requests == len(sandbox.requests) == 1


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_base_address_may_end_with_slashes(slash: str, make_api: Callable[..., Api], server: Any) -> None:
    """Both ways to write it mean the same."""
    server.then(GOOD)
    make_api(server.url + slash).get("user")
    assert server.asked[0].path == "/2.0/user"


def test_parameters_go_into_the_query_in_order(api: Api, server: Any) -> None:
    """Repeated names stay apart, and what has a meaning in an address is encoded."""
    server.then(GOOD)
    api.get("x", [("include", "a"), ("include", "b&c"), ("fields", "+values,next")])
    assert server.asked[0].query == (("include", "a"), ("include", "b&c"), ("fields", "+values,next"))


def test_form_is_posted_with_its_parameters_in_the_query(api: Api, server: Any) -> None:
    """Only the sets go into the form; page length and fields stay where the service reads them."""
    server.then(GOOD)
    api.post_form(
        "x/commits", [("pagelen", "100"), ("fields", "a,next")], [("include", "a"), ("exclude", "b"), ("exclude", "c")]
    )
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/2.0/x/commits")
    assert asked.query == (("pagelen", "100"), ("fields", "a,next"))
    assert asked.body == "include=a&exclude=b&exclude=c"
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.headers["Authorization"] == BASIC


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_segment_is_one_part_of_a_path(text: str) -> None:
    """No name, however odd, changes what an address means."""
    assert not set(segment(text)) & set("/{}?#% ") - {"%"}
    assert httpx.URL(f"http://h/{segment(text)}/x").query == b""


# --- what is repeated --------------------------------------------------------------------------------------------

PASSING: dict[str, dict[str, Any]] = {
    "500": {"body": HTML, "status": 500},
    "502": {"body": HTML, "status": 502},
    "503": {"body": HTML, "status": 503, "headers": {"Content-Type": "text/html"}},
    "504": {"body": "", "status": 504},
    "429 without a word": {"body": "Rate limit for this resource has been exceeded", "status": 429},
    "429 seconds": {"body": "", "status": 429, "headers": {"Retry-After": "0.3"}},
    "429 zero": {"body": "", "status": 429, "headers": {"Retry-After": "0"}},
    "429 nonsense": {"body": "", "status": 429, "headers": {"Retry-After": "soon"}},
    "429 past date": {"body": "", "status": 429, "headers": {"Retry-After": "Mon, 23 Nov 2020 12:00:00 GMT"}},
    "reset": {"reset": True},
    "cut": {"body": {"values": [1] * 500}, "cut": True},
    "not JSON": {"body": '{"values": [1'},
    "HTML as 200": {"body": HTML},
    "nothing": {"body": ""},
    "not UTF-8": {"body": b'{"values": "\xff"}'},
    "nested too deep": {"body": "[" * 100_000 + "]" * 100_000},
    "broken gzip": {"body": "no gzip", "headers": {"Content-Encoding": "gzip"}},
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_fault_is_repeated_until_it_passes(name: str, patient: Api, server: Any) -> None:
    """The answer that comes in the end is all that the caller sees."""
    server.then(**PASSING[name]).then(GOOD)
    assert patient.get("x") == GOOD
    assert patient.requests == len(server.asked) == 2


@pytest.mark.parametrize(
    "name", ["503", "429 without a word", "429 nonsense", "reset", "cut", "not JSON", "broken gzip"]
)
def test_lasting_fault_ends_as_one_error(name: str, api: Api, server: Any) -> None:
    """After some tries it is told in one line, with a kind that says whether to wait or to look closer."""
    server.then(**PASSING[name])
    error = fault(lambda: api.get("x"))
    assert len(server.asked) > 1
    assert error.kind == ("rate-limited" if name.startswith("429") else error.kind)
    assert error.kind in ("unreachable", "rate-limited", "bad-answer")
    assert "again" in str(error)
    assert "<" not in str(error)


def test_slow_answer_is_given_up_and_asked_for_again(make_api: Callable[..., Api], server: Any) -> None:
    """One time-out is not the end of the request."""
    server.then(GOOD, after=30.0).then(GOOD)
    assert make_api(server.url, timeout_seconds=0.2, retry_seconds=30).get("x") == GOOD
    assert len(server.asked) == 2


def test_answer_that_is_always_slow_ends_as_unreachable(make_api: Callable[..., Api], server: Any) -> None:
    """The line names what was asked and what happened."""
    server.then(GOOD, after=30.0)
    error = fault(lambda: make_api(server.url, timeout_seconds=0.1).get("repositories/acme/api"))
    assert error.kind == "unreachable"
    what = "no whole answer from 127.0.0.1 within 0.1 s (ReadTimeout)"
    assert str(error) == f"repositories/acme/api: {what}; try again later"
    assert len(server.asked) > 1


def test_form_is_repeated_whole(patient: Api, server: Any) -> None:
    """A POST that lists is as repeatable as a GET."""
    server.then(reset=True).then(status=503).then(GOOD)
    assert patient.post_form("x", [], [("include", "a")]) == GOOD
    assert [asked.body for asked in server.asked] == ["include=a"] * 3


@pytest.mark.parametrize("fault_name", ["status", "reset", "truncate", "bad-json"])
def test_sandbox_faults_pass(fault_name: str, sandbox: Any, make_api: Callable[..., Api], repository: Any) -> None:
    """What the sandbox lets go wrong once is got over."""
    sandbox.set_fault(fault_name, "503:1" if fault_name == "status" else 1)
    assert make_api(sandbox.url, retry_seconds=30).get("repositories/acme/api")["full_name"] == "acme/api"
    assert len(sandbox.requests) == 2


def test_server_that_was_never_there_is_tried_a_few_times(make_api: Callable[..., Api]) -> None:
    """A wrong address is told of long before the deadline, and what to check."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/2.0"
        api = make_api(address, retry_seconds=3600)
        error = fault(lambda: api.get("x"))
    assert error.kind == "unreachable"
    assert str(error).startswith(f"{address}: cannot connect (")
    assert str(error).endswith("check api_url and the network")
    assert api.requests == 3


# --- Retry-After -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_wait_beyond_the_deadline_is_not_begun(form: str, api: Api, server: Any) -> None:
    """Sleeping through the deadline would only delay the same end; the line says when it can be asked again."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    server.then("Rate limit", 429, headers={"Retry-After": "600" if form == "seconds" else soon})
    error = fault(lambda: api.get("x"))
    assert error.kind == "rate-limited"
    assert "request quota is used up; it can be asked again in " in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["0", "-5", "Mon, 23 Nov 2020 12:00:00 GMT", "0.001"])
def test_no_wait_at_all_is_not_taken_literally(value: str, api: Api, server: Any) -> None:
    """A service that says 0 again and again is asked a few times, not as fast as the network allows."""
    server.then("Rate limit", 429, headers={"Retry-After": value})
    assert fault(lambda: api.get("x")).kind == "rate-limited"
    assert 1 < len(server.asked) <= 5


@pytest.mark.parametrize("retry_after", ["absent", "seconds:1", "date:2"])
def test_sandbox_quota_is_waited_for(
    retry_after: str, sandbox: Any, make_api: Callable[..., Api], repository: Any
) -> None:
    """A short wait is waited out, whichever way the service tells of it."""
    for name, value in {"rate-limit": 1, "rate-window": 1, "retry-after": retry_after}.items():
        sandbox.set_fault(name, value)
    api = make_api(sandbox.url, retry_seconds=30)
    assert api.get("repositories/acme/api") == api.get("repositories/acme/api")
    assert 429 in [served.status for served in sandbox.requests]


def test_used_up_quota_ends_all_further_requests_at_once(api: Api, server: Any) -> None:
    """The quota is one for all: once it is told, nothing more is sent, and the answer is the same."""
    server.then("Rate limit", 429, headers={"Retry-After": "3600"}).then(GOOD)
    first = fault(lambda: api.get("x"))
    for _ in range(3):
        later = fault(lambda: api.get("y"))
        assert (str(later), later.kind) == (str(first), "rate-limited")
    assert len(server.asked) == api.requests == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("7", 7), (" 7 ", 7), ("1.5", 1.5), ("-1", 0), ("inf", None), ("nan", None), ("1e999", None),
     ("soon", None), ("", None), ("Mon, 23 Nov 2020 12:00:00 GMT", 0), ("Mon, 99 Nov 2020 12:00:00 GMT", None)],
)  # fmt: skip
def test_seconds_of_reads_both_forms(text: str | None, seconds: float | None) -> None:
    """A number or a date; anything else is as good as no header."""
    assert seconds_of(text) == seconds


def test_seconds_of_a_date_counts_from_now() -> None:
    """Dates are in GMT, whether they say so or not."""
    later = datetime.now(UTC) + timedelta(seconds=100)
    for text in (format_datetime(later, usegmt=True), later.strftime("%a, %d %b %Y %H:%M:%S")):
        wait = seconds_of(text)
        assert wait is not None
        assert 90 < wait <= 100


@given(text=st.text() | st.text("0123456789.:-+eE ,GMTonv"))
def test_seconds_of_never_fails(text: str) -> None:
    """Whatever a proxy writes there, it is a wait or none."""
    wait = seconds_of(text)
    assert wait is None or wait >= 0


# --- refusals ----------------------------------------------------------------------------------------------------


def refusal(message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"message": message, **more}}


SCOPES = {"required": ["read:repository:bitbucket"], "granted": ["read:user:bitbucket"]}
REFUSALS: list[tuple[int, Any, type[SourceError], str, str]] = [
    (401, refusal("Token is invalid."), AuthenticationError, "authentication", "refused the credential (Token is invalid)"),
    (401, "", AuthenticationError, "authentication", "check that username is the Atlassian account's e-mail"),
    (403, refusal("No.", detail=SCOPES), SourceError, "forbidden",
     "x: not allowed (No); needed scope: read:repository:bitbucket; granted: read:user:bitbucket; create a token"),
    (403, refusal("No.", detail="Ask an admin"), SourceError, "forbidden",
     "x: not allowed (No); check what the credential may do"),
    (403, refusal("No", detail={}), SourceError, "forbidden", "needed scope: none; granted: none"),
    (403, refusal("No", detail={"required": 7, "granted": "a"}), SourceError, "forbidden", "needed scope: 7; granted: a"),
    (403, "Forbidden", SourceError, "forbidden", "x: not allowed; check what the credential may do"),
    (404, refusal("You may not have access."), SourceError, "not-found",
     "x: not found, or the credential may not see it (You may not have access)"),
    (404, "Not Found", SourceError, "not-found", "x: not found, or the credential may not see it"),
    (404, HTML, SourceError, "not-found", "x: not found"),
    (404, refusal("Commit not found", data={"shas": []}), SourceError, "not-found", "(Commit not found)"),
    (404, refusal("Commit not found", data={"shas": [7]}), SourceError, "not-found", "(Commit not found)"),
    (404, refusal("Commit not found", data="main"), SourceError, "not-found", "(Commit not found)"),
    (410, refusal("CHANGE-2770 - deprecated"), SourceError, "gone",
     "x: Bitbucket has removed this (CHANGE-2770 - deprecated); check that bitbucket.workspace is set"),
    (555, refusal("Timed out"), Unobtainable, "unobtainable", "x: Bitbucket gave up on this diff (555)"),
    (400, refusal("No common ancestor"), Unobtainable, "unobtainable", "x: Bitbucket finds no common ancestor"),
    (400, refusal("Bad\n  request", fields={"pagelen": ["too long"]}), SourceError, "bad-answer",
     "x: Bitbucket answered 400 (Bad request)"),
    (400, "", SourceError, "bad-answer", "x: Bitbucket answered 400"),
    (405, "", SourceError, "bad-answer", "x: Bitbucket answered 405"),
    (451, "", SourceError, "bad-answer", "x: Bitbucket answered 451"),
    (304, "", SourceError, "bad-answer", "x: Bitbucket answered 304"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind_of_error", "kind", "says"), REFUSALS)
def test_refusal_is_final_and_says_what_to_do(
    status: int, body: Any, kind_of_error: type[SourceError], kind: str, says: str, api: Api, server: Any
) -> None:
    """It is not repeated, and the line has the service's words and the remedy."""
    server.then(body, status)
    error = fault(lambda: api.get("x"))
    assert type(error) is kind_of_error
    assert error.kind == kind
    assert says in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize("level", ["inner", "outer"])
def test_vanished_commits_are_named(level: str, api: Api, server: Any) -> None:
    """The service says which commits are gone inside the error and beside it; either will do."""
    data = {"shas": ["a" * 40, "b" * 40]}
    inner = refusal("Commit not found", data=data)
    server.then(inner if level == "inner" else {**refusal("Commit not found"), "data": data}, 404)
    error = fault(lambda: api.get("x/commits"))
    assert isinstance(error, CommitsVanished)
    assert error.shas == {"a" * 40, "b" * 40}


@pytest.mark.parametrize(("status", "body"), [(400, refusal("Invalid ctx")), (404, refusal("Not found")), (404, HTML)])
def test_refused_continuation_is_an_expired_listing(status: int, body: Any, api: Api, server: Any) -> None:
    """A `ctx` that is not known any more is not the repository's fault."""
    server.then(body, status)
    error = fault(lambda: api.get("x/commits", [("ctx", "12"), ("page", "2")]))
    assert isinstance(error, ListingExpired)
    assert str(error).startswith("x/commits: the list can no longer be continued")


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        ("api_token", "username is the Atlassian account's e-mail, and that the API token has not expired"),
        ("access_token", "create a new access token (they expire) and update bitbucket.credentials.access_token"),
        ("app_password", "app passwords were removed on 2026-07-28: create an API token"),
        ("anonymous", "set bitbucket.credentials"),
    ],
)
def test_refused_credential_says_how_to_renew_it(credential: str, says: str) -> None:
    """The remedy depends on which kind of credential was refused."""
    error = fault_of(httpx.Response(401, request=httpx.Request("GET", "http://h/x")), "x", credential)
    assert isinstance(error, AuthenticationError)
    assert says in str(error)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("unauthorized", "authentication"), ("forbidden", "forbidden"), ("missing", "not-found"), ("removed", "gone")],
)
def test_sandbox_refusals_have_their_kind(
    name: str, kind: str, sandbox: Any, sandbox_api: Api, repository: Any
) -> None:
    """The sandbox's bodies are understood as well as hand-written ones."""
    sandbox.set_fault(name)
    assert fault(lambda: sandbox_api.get("repositories/acme/api")).kind == kind
    assert len(sandbox.requests) == 1


def test_wrong_token_is_refused_by_the_sandbox(make_api: Callable[..., Api], sandbox: Any) -> None:
    """An access token that nobody knows ends as an authentication error."""
    api = make_api(sandbox.url, credentials=Credentials(access_token=Secret("nobody-knows-it")))
    error = fault(lambda: api.get("repositories/acme"))
    assert isinstance(error, AuthenticationError)
    assert "nobody-knows-it" not in str(error)


@pytest.mark.parametrize("body", [[], "text", 7, None])
def test_json_that_is_no_object_is_a_bad_answer(body: Any, api: Api, server: Any) -> None:
    """Well-formed JSON of the wrong shape is not repeated: it would come the same way."""
    server.then(json.dumps(body))
    error = fault(lambda: api.get("x"))
    assert (error.kind, len(server.asked)) == ("bad-answer", 1)
    assert str(error).startswith(f"x: expected a JSON object, not {type(body).__name__}; check bitbucket.api_url")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "data", "shas", "required", "granted"]), inner)
    ),
    max_leaves=12,
)


@given(
    body=JSON,
    status=st.sampled_from([400, 401, 403, 404, 410, 429, 500, 555]),
    address=st.sampled_from(["x", "x?ctx=1"]),
)
def test_any_error_body_gives_an_error(body: Any, status: int, address: str) -> None:
    """However mangled it is, an error answer is an error that the source understands."""
    response = httpx.Response(status, json=body, request=httpx.Request("GET", f"http://h/2.0/{address}"))
    assert isinstance(fault_of(response, "x", "api_token"), SourceError | Again)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_good_answer_is_no_fault(status: int) -> None:
    """All of 2xx is good."""
    assert fault_of(httpx.Response(status, request=httpx.Request("GET", "http://h")), "x", "api_token") is None


def test_messages_show_addresses_as_people_write_them(make_api: Callable[..., Api], server: Any) -> None:
    """Unquoted, and with the repository's name in place of its uuid where it is known; never a line break."""
    server.then({}, status=404)
    api = make_api(server.url)
    path = "repositories/acme/%7B71787f8e%7D"
    assert "repositories/acme/{71787f8e}/commits: not found" in str(fault(lambda: api.get(f"{path}/commits")))
    api.call(path, "acme/api")
    assert str(fault(lambda: api.get(f"{path}/commits?pagelen=1"))).startswith("acme/api: commits: not found")
    assert str(fault(lambda: api.get(path))).startswith("acme/api: not found")
    assert "repositories/acme/web shop: not found" in str(fault(lambda: api.get("repositories/acme/web%20shop")))
    assert "repositories/acme/web%0Ashop: not found" in str(fault(lambda: api.get("repositories/acme/web%0Ashop")))
