"""What Bitbucket's error answers mean, and what a person should do about each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from releasecopilot_core.errors import AuthenticationError, CommitsVanished, ListingExpired, SourceError


class Again(Exception):
    """An answer that is worth another try; `fault` is what it comes to when there is no time left for one."""

    def __init__(self, fault: SourceError, wait: float | None = None) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.wait = wait


class Unobtainable(SourceError):
    """The service will never be able to answer: its own diff timed out, or two histories have nothing in common."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="unobtainable")


def fault_of(response: httpx.Response, where: str, credential: str) -> Exception | None:
    """Return the error that an answer amounts to, `None` for a good one."""
    status = response.status_code
    if status < 300:
        return None
    text, detail, data = _error(response)
    said = f" ({text})" if text else ""
    if status == 401:
        return AuthenticationError(f"Bitbucket refused the credential{said}; {_credential_remedy(credential)}")
    if status == 403:
        return SourceError(f"{where}: not allowed{said}{_scopes(detail)}", kind="forbidden")
    if status == 404:
        return _not_found(response, where, said, data)
    if status == 410:
        remedy = "check that bitbucket.workspace is set; else upgrade releasecopilot-bitbucket"
        return SourceError(f"{where}: Bitbucket has removed this{said}; {remedy}", kind="gone")
    if status == 429:
        return _rate_limited(response)
    if status == 555:
        return Unobtainable(f"{where}: Bitbucket gave up on this diff (555)")
    if status == 400 and "no common ancestor" in text.lower():
        return Unobtainable(f"{where}: Bitbucket finds no common ancestor")
    if status == 400 and "ctx=" in str(response.url):
        return ListingExpired(f"{where}: the list can no longer be continued{said}")
    if status >= 500:
        return Again(SourceError(f"{where}: Bitbucket answered {status}; try again later", kind="unreachable"))
    return SourceError(f"{where}: Bitbucket answered {status}{said}", kind="bad-answer")


def _error(response: httpx.Response) -> tuple[str, Any, Any]:
    """Return message, detail and data of an error body; they may also be plain text, HTML or nothing."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return "", None, None
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", None, None
    message = error.get("message")
    text = " ".join(message.split())[:300] if isinstance(message, str) else ""
    return text.rstrip("."), error.get("detail"), error.get("data") or body.get("data")


def _credential_remedy(credential: str) -> str:
    if credential == "api_token":
        return "check that username is the Atlassian account's e-mail, and that the API token has not expired"
    if credential == "access_token":
        return "create a new access token (they expire) and update bitbucket.credentials.access_token"
    if credential == "app_password":
        return "app passwords were removed on 2026-07-28: create an API token, and set username (e-mail) and api_token"
    return "set bitbucket.credentials"


def _scopes(detail: Any) -> str:
    if not isinstance(detail, Mapping):
        return "; check what the credential may do"
    needed, granted = (_names(detail.get(key)) for key in ("required", "granted"))
    return f"; needed scope: {needed}; granted: {granted}; create a token with the scope that is missing"


def _names(scopes: Any) -> str:
    found = scopes if isinstance(scopes, list) else [scopes] if scopes else []
    return ", ".join(" ".join(str(scope).split())[:100] for scope in found) or "none"


def _not_found(response: httpx.Response, where: str, said: str, data: Any) -> SourceError:
    shas = data.get("shas") if isinstance(data, Mapping) else None
    if isinstance(shas, list) and shas and all(isinstance(sha, str) for sha in shas):
        return CommitsVanished(shas)
    if "ctx=" in str(response.url):
        return ListingExpired(f"{where}: the list can no longer be continued{said}")
    return SourceError(f"{where}: not found, or the credential may not see it{said}", kind="not-found")


def _rate_limited(response: httpx.Response) -> Again:
    wait = seconds_of(response.headers.get("Retry-After"))
    when = f"in {math.ceil(wait)} s" if wait is not None else "within the hour"
    fault = SourceError(f"Bitbucket's request quota is used up; it can be asked again {when}", kind="rate-limited")
    return Again(fault, wait)


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number, or an HTTP date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
