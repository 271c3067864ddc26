"""Who may ask."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def guarded(repository: Any, serve: Callable[..., Any]) -> Any:
    """Return a client of a sandbox that wants credentials."""
    repository.commit()
    return serve(users={"bot@acme.example": "s3cret"}, tokens=["bearer-1", "bearer-2"])


def basic(text: str) -> str:
    """Return a Basic header."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("header", [basic("bot@acme.example:s3cret"), "Bearer bearer-2", "bearer bearer-1"])
def test_right_credentials(guarded: Any, header: str) -> None:
    """E-mail with API token, or an access token, are let in, and told their scopes."""
    answer = guarded.get("commits", headers={"Authorization": header})
    assert answer.status_code == 200
    assert answer.headers["X-Accepted-OAuth-Scopes"] == "repository"
    assert "repository" in answer.headers["X-OAuth-Scopes"]
    assert answer.headers["X-Credential-Type"] in ("api_token", "access_token")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer s3cret", "Bearer", "Basic", "Basic ???", "Basic Zm9v", basic("bot@acme.example:wrong"), basic("bot:s3cret"),
     basic("bot@acme.example:"), basic("nobody@acme.example:"), "Token bearer-1"],
)  # fmt: skip
def test_wrong_credentials(guarded: Any, header: str) -> None:
    """Anything else is a 401, also for what does not exist in the workspace."""
    for path in ("commits", "/repositories/acme/none", "/user"):
        answer = guarded.get(path, headers={"Authorization": header} if header else {})
        assert (answer.status_code, answer.json()["type"]) == (401, "error")
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_anybody_without_users(repository: Any, api: Any) -> None:
    """Without users and tokens nobody is asked who they are, and wrong credentials do no harm."""
    assert api.get("", headers={"Authorization": "Bearer whatever"}).status_code == 200
    assert "X-OAuth-Scopes" not in api.get("").headers


def test_user_tells_who_asks(guarded: Any) -> None:
    """/user is the account of the credential, each time the same."""
    one = guarded.get("/user", headers={"Authorization": basic("bot@acme.example:s3cret")}).json()
    other = guarded.get("/user", headers={"Authorization": "Bearer bearer-1"}).json()
    assert (one["display_name"], one["type"], one["uuid"] != other["uuid"]) == ("bot", "user", True)
