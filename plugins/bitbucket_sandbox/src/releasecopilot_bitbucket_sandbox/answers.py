"""Answers: JSON bodies, and errors in the shapes that Bitbucket gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs


@attrs.define
class Answer:
    """An HTTP answer before it is sent; `fields` cuts it down, and `held_back` is left out unless it is asked for.

    `body` is JSON unless it is text, or an iterator of bytes that are sent as they come.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = attrs.field(factory=dict)
    fields: str | None = None
    held_back: tuple[str, ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether the body is still being made."""
        return isinstance(self.body, Iterable) and not isinstance(self.body, str | list | dict)

    def encoded(self) -> tuple[bytes, str]:
        """Return the body's bytes and content type; for those that are not streamed."""
        if isinstance(self.body, str):
            kind = "text/html" if self.body.startswith("<") else "text/plain"
            return self.body.encode(), f"{kind}; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json; charset=utf-8"


class Refused(Exception):
    """Ends a request with an error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, message: str, *, detail: Any = None, data: Any = None) -> Refused:
    """Return an error in Bitbucket's envelope.

    `data` comes twice, inside and beside `error` (recorded in zarplata/concourse-git-bitbucket-pr-resource, issue 57).
    """
    inner: dict[str, Any] = {"message": message}
    if detail is not None:
        inner["detail"] = detail
    body: dict[str, Any] = {"type": "error", "error": inner}
    if data is not None:
        inner["data"] = data
        body["data"] = data
    return Refused(Answer(status, body))


def bad_request(message: str, fields: Mapping[str, str] | None = None) -> Refused:
    """Return a 400; `fields` names the parameters that are wrong."""
    refused = error(400, message)
    if fields:
        refused.answer.body["error"]["fields"] = dict(fields)
    return refused


def unauthorized() -> Refused:
    """Return the 401, in the words that API tokens get since 2025 (gildas/bitbucket-cli, issue 121)."""
    refused = error(401, "Token is invalid, expired, or not supported for this endpoint.")
    refused.answer.headers["WWW-Authenticate"] = 'Basic realm="Bitbucket.org HTTP"'
    return refused


def lacks_scope(required: Sequence[str], granted: Sequence[str]) -> Refused:
    """Return the 403 for a scope that is missing; its detail is an object (gildas/bitbucket-cli, `error-privileges.json`)."""
    message = "Your credentials lack one or more required privilege scopes."
    return error(403, message, detail={"required": list(required), "granted": list(granted)})


def no_access() -> Refused:
    """Return the 404 for what is private or does not exist.

    Bitbucket does not tell the two apart since October 2022 (badges/shields, issue 8520).
    """
    return error(
        404,
        "You may not have access to this repository or it no longer exists in this workspace. "
        "If you think this repository exists and you have access, make sure you are authenticated.",
    )


def no_workspace(slug: str) -> Refused:
    """Return the 404 of a workspace that does not exist; its words are our guess."""
    return error(404, f"No workspace with identifier '{slug}'.")


def no_api() -> Refused:
    """Return the 404 of an address that nothing answers to (gildas/bitbucket-cli, `error-noapi.json`)."""
    return error(404, "Resource not found", detail="There is no API hosted at this URL")


def commits_gone(shas: Sequence[str]) -> Refused:
    """Return the 404 for unknown revisions.

    Of several the service names only some (constructorfabric/insight, `test_unresolvable_heads.py`); here it is the first
    half, rounded up.
    """
    named = list(shas)[: (len(shas) + 1) // 2]
    return error(404, "Commit not found", data={"shas": named})


def removed() -> Refused:
    """Return the 410 of the cross-workspace endpoints (Atlassian CHANGE-2770; ktrysmt/go-bitbucket, issue 357)."""
    data = {"announcement_url": "https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"}
    return error(
        410,
        "CHANGE-2770 - Functionality has been deprecated",
        detail="Please read the changelog entry for more details.",
        data=data,
    )


def app_password_removed() -> Refused:
    """Return the 410 with which git is told that app passwords are gone (Atlassian CHANGE-3222; words are our guess)."""
    return error(410, "App passwords have been removed. Use an API token instead.")


def as_text(refused: Refused) -> Answer:
    """Return an error as git gets it: plain text, which git shows to whoever waits. Words and form are our guess."""
    answer = refused.answer
    body = answer.body["error"]["message"] if isinstance(answer.body, dict) else answer.body
    return attrs.evolve(answer, body=body)


def broken(status: int) -> Refused:
    """Return a failure of the service: gateways speak HTML, all else JSON."""
    if status >= 500:
        title = f"{status} Service unavailable"
        html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return Refused(Answer(status, html))
    return error(status, "Something went wrong")
