"""Bitbucket Cloud's REST API 2.0: one request at a time, retried with a deadline, and errors that say what to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import httpx
import stamina

from releasecopilot_core import phoenix
from releasecopilot_core.errors import SourceError

from .answers import Again, fault_of
from .settings import BitbucketSettings

# What is asked again is told when it fails for good; without a handler, each try would be a line on stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_REDIRECTS = 5
#: A server that was never reached is not waited for until the deadline: the address is wrong, or it is down.
_CONNECT_TRIES = 3

#: "Retry-After: 0" and dates gone by would otherwise have us ask as fast as we can.
_SHORTEST_WAIT = 0.25

#: What to do about answers that Bitbucket does not give.
ASTRAY = "check bitbucket.api_url, and whether a proxy answers in its place"

Parameters = Sequence[tuple[str, str]]


class Api:
    """A client that threads share. `requests` counts what was sent, repetitions included.

    Secrets go into the `Authorization` header and nowhere else; no URL outside the configured base is ever asked.
    """

    def __init__(self, settings: BitbucketSettings) -> None:
        self._base = str(httpx.URL(settings.api_url)).rstrip("/")
        self._retry_seconds = settings.retry_seconds
        self._timeout_seconds = settings.timeout_seconds
        self._credential = settings.credentials.kind
        self._client = httpx.Client(
            auth=_auth(settings),
            timeout=settings.timeout_seconds,
            headers={"Accept": "application/json", "User-Agent": "releasecopilot-bitbucket"},
            limits=httpx.Limits(max_connections=settings.concurrency),
            trust_env=True,
        )
        self._turn = threading.BoundedSemaphore(settings.concurrency)
        self._count_lock = threading.Lock()
        self._closed = threading.Event()
        self._connected = False
        self._spent: SourceError | None = None
        self._budget: Callable[[], datetime | None] | None = None
        self._names: dict[str, str] = {}
        self.requests = 0
        #: Of the latest answer, with names in lower case; they tell quota, scopes and the service's clock.
        self.last_headers: Mapping[str, str] = {}

    def close(self) -> None:
        """Refuse further requests and close the connections; any thread may, while others ask."""
        self._closed.set()
        self._client.close()

    def is_closed(self) -> bool:
        """Whether further requests are refused."""
        return self._closed.is_set()

    def keep_to(self, budget: Callable[[], datetime | None]) -> None:
        """Ask before each request whether there is room for it: `budget` counts it, or returns when there will be some."""
        self._budget = budget

    def call(self, path: str, name: str) -> None:
        """Let messages call what is at a path, which names a repository by its uuid, by its full name."""
        self._names[path] = name

    def get(self, path: str, parameters: Parameters = ()) -> Mapping[str, Any]:
        """Return the JSON object at a path below the base URL (or at a full URL below it).

        Raises:
            SourceError: the service refused, or did not answer well within the deadline.
        """
        return self._send("GET", self._address(path), parameters, None)

    def post_form(self, path: str, parameters: Parameters, form: Parameters) -> Mapping[str, Any]:
        """Return the answer to a form; only for the listing of commits, which takes long lists that way."""
        return self._send("POST", self._address(path), parameters, form)

    def pages(
        self, path: str, parameters: Parameters = (), *, form: Parameters = ()
    ) -> Iterator[tuple[list[Any], bool]]:
        """Yield (values, is last) page by page, following `next` as it is given, below the base URL and in no circle."""
        answer = self.post_form(path, parameters, form) if form else self.get(path, parameters)
        seen: set[str] = set()
        while True:
            values = answer.get("values")
            following = answer.get("next")
            if not isinstance(values, list):
                raise SourceError(f"{self._shown(path)}: the answer has no list of values; {ASTRAY}", kind="bad-answer")
            yield values, not following
            if not following:
                return
            if not isinstance(following, str) or following in seen:
                raise SourceError(
                    f"{self._shown(path)}: the list of pages goes in a circle; {ASTRAY}", kind="bad-answer"
                )
            seen.add(following)
            answer = self.get(following)

    # --- one request -----------------------------------------------------------------------------------------

    def _address(self, path: str) -> str:
        try:
            url = httpx.URL(path if "://" in path else f"{self._base}/{path}")
        except httpx.InvalidURL as error:
            raise SourceError(
                f"an answer gives an address that is none ({error}); try again later", kind="bad-answer"
            ) from error
        # As httpx would send it, so without `..`: whoever can forge an answer must not get our credential sent elsewhere.
        if not str(url).startswith(f"{self._base}/"):
            raise SourceError(
                f"an answer points outside {self._base} (to {url.host!r}); not followed; {ASTRAY}", kind="bad-answer"
            )
        return str(url)

    def _send(self, method: str, url: str, parameters: Parameters, form: Parameters | None) -> Mapping[str, Any]:
        deadline = time.monotonic() + self._retry_seconds
        try:
            for attempt in stamina.retry_context(
                on=lambda error: _wait(error, deadline),
                attempts=None,
                timeout=self._retry_seconds,
                wait_initial=_SHORTEST_WAIT,
                wait_max=5.0,
                wait_jitter=0.5,
            ):
                with attempt:
                    return self._once(method, url, parameters, form, attempt.num)
        except Again as error:
            if error.fault.kind == "rate-limited":
                # The quota is one for all: whoever asks next in this run would only wait as long for the same answer.
                self._spent = error.fault
            raise error.fault from error.__cause__
        raise AssertionError("stamina ends with a result or an error")

    def _once(
        self, method: str, url: str, parameters: Parameters, form: Parameters | None, number: int
    ) -> Mapping[str, Any]:
        if self._closed.is_set():
            raise SourceError("the scan was stopped", kind="stopped")
        if self._spent is not None:
            raise SourceError(str(self._spent), kind=self._spent.kind)
        where = self._shown(url)
        try:
            with self._turn:
                response = self._request(method, url, parameters, form)
        except httpx.ConnectError as error:
            fault = SourceError(
                f"{self._base}: cannot connect ({error}); check api_url and the network", kind="unreachable"
            )
            if not self._connected and number >= _CONNECT_TRIES:
                raise fault from error
            raise Again(fault) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Again(self._unanswered(where, error)) from error
        except RuntimeError as error:  # httpx says so when another thread closed the client
            raise SourceError("the scan was stopped", kind="stopped") from error
        if (refusal := fault_of(response, where, self._credential)) is not None:
            raise refusal
        return _json_object(response, where)

    def _unanswered(self, where: str, error: httpx.HTTPError) -> SourceError:
        late = f" within {self._timeout_seconds:g} s" if isinstance(error, httpx.TimeoutException) else ""
        what = f"no whole answer from {httpx.URL(self._base).host}{late} ({type(error).__name__})"
        return SourceError(f"{where}: {what}; try again later", kind="unreachable")

    def _count(self) -> None:
        if self._budget is not None and (moment := self._budget()) is not None:
            when = f"{phoenix(moment)[:16].replace('T', ' ')} (Phoenix)"
            message = f"the budget of bitbucket.requests_per_hour is used up; scan again after {when}"
            self._spent = SourceError(message, kind="budget")
            raise self._spent
        with self._count_lock:
            self.requests += 1

    def _request(self, method: str, url: str, parameters: Parameters, form: Parameters | None) -> httpx.Response:
        content = None if form is None else str(httpx.QueryParams(list(form)))
        headers = None if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        for _ in range(_REDIRECTS + 1):
            self._count()
            # params= would throw away the query of a `next`.
            address = httpx.URL(url).copy_merge_params(list(parameters)) if parameters else httpx.URL(url)
            response = self._client.request(method, address, content=content, headers=headers)
            self._connected = True
            self.last_headers = response.headers
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            url, parameters = self._address(str(response.url.join(response.headers.get("Location", "")))), ()
            if response.status_code == 303:
                method, content = "GET", None
        raise SourceError(f"{self._shown(url)}: redirected in a circle; {ASTRAY}", kind="bad-answer")

    def _shown(self, address: str) -> str:
        """Return an address for a message: below the base, without its query, which may be long, and as people write it."""
        parts = address.removeprefix(self._base).split("?", 1)[0].strip("/").split("/")
        name = self._names.get("/".join(parts[:3]))
        shown = unquote("/".join(parts if name is None else parts[3:]))
        if not shown.isprintable():
            return "/".join(parts)
        return shown if name is None else f"{name}: {shown}".removesuffix(": ")


def _auth(settings: BitbucketSettings) -> httpx.Auth | None:
    credentials = settings.credentials
    if credentials.access_token is not None:
        return _Bearer(credentials.access_token.reveal())
    for name in ("api_token", "app_password"):
        secret = getattr(credentials, name)
        if secret is not None:
            return httpx.BasicAuth(credentials.username or "", secret.reveal())
    return None


class _Bearer(httpx.Auth):
    """Send a token as `Authorization: Bearer`."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


def _wait(error: Exception, deadline: float) -> bool | float:
    """Tell stamina whether to ask again, and when the service itself said how long to wait."""
    if not isinstance(error, Again):
        return False
    if error.wait is None or error.wait < _SHORTEST_WAIT:
        return True
    # No use in sleeping through the deadline only to give up then.
    return error.wait if time.monotonic() + error.wait < deadline else False


def _json_object(response: httpx.Response, where: str) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError) as error:
        fault = SourceError(f"{where}: the answer is cut off or not JSON; try again later", kind="bad-answer")
        raise Again(fault) from error
    if not isinstance(answer, dict):
        raise SourceError(f"{where}: expected a JSON object, not {type(answer).__name__}; {ASTRAY}", kind="bad-answer")
    return answer


def segment(text: str) -> str:
    """Return a name as one part of a path: slashes and braces encoded."""
    return quote(text, safe="")
