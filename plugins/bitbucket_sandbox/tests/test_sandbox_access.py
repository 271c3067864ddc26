"""Who may ask, and what those hear who may not."""

from __future__ import annotations

import httpx
import pytest

EMAIL, TOKEN = "bot@acme.example", "an-api-token"


@pytest.fixture
def guarded(repository, serve):
    """Serve to one user and one access token."""
    repository.commit()
    return serve(users={EMAIL: TOKEN}, tokens=["an-access-token"])


def test_basic_with_email_and_token(guarded):
    """An e-mail and its API token open everything."""
    assert guarded.get("commits", auth=(EMAIL, TOKEN)).status_code == 200


def test_bearer_with_access_token(guarded):
    """An access token is accepted as Bearer."""
    assert guarded.get("commits", headers={"Authorization": "Bearer an-access-token"}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer wrong",
        "Bearer",
        "Basic",
        "Basic !!!",
        "Basic 4pyT",
        "Digest x",
        "Bearer \u00e4",
        httpx.BasicAuth(EMAIL, "wrong")._auth_header,
        httpx.BasicAuth(EMAIL, "")._auth_header,
        httpx.BasicAuth("", "")._auth_header,
        httpx.BasicAuth("other@acme.example", TOKEN)._auth_header,
        httpx.BasicAuth("other@acme.example", "")._auth_header,
        httpx.BasicAuth("x-token-auth", "an-access-token")._auth_header,
    ],
)
def test_anything_else_is_a_401(guarded, header):
    """A credential that is wrong, broken or absent is a 401 with a message and a challenge."""
    headers = {} if header is None else {"Authorization": header.encode("utf-8")}

    answer = guarded.get("commits", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "Token is invalid, expired, or not supported for this endpoint."
    assert "WWW-Authenticate" in answer.headers


def test_401_comes_before_404(guarded):
    """Who is not known does not learn which repositories there are."""
    assert guarded.get("/repositories/acme/nowhere").status_code == 401


def test_post_that_is_refused(guarded):
    """A long form without credential is a 401 and not a broken connection."""
    assert guarded.post("commits", data={"exclude": ["1" * 40] * 5_000}).status_code == 401


def test_open_to_anybody(api, repository):
    """Without users and tokens anybody may ask, also with a credential."""
    repository.commit()

    assert api.get("commits").status_code == 200
    assert api.get("commits", auth=("any@acme.example", "any")).status_code == 200
    assert "X-OAuth-Scopes" not in api.get("commits").headers


@pytest.mark.parametrize(
    ("header", "kind", "accepted", "granted"),
    [
        (httpx.BasicAuth(EMAIL, TOKEN)._auth_header, "api_token", "read:repository:bitbucket", "read:user:bitbucket"),
        ("Bearer an-access-token", "access_token", "repository", "account"),
    ],
)
def test_scopes_are_echoed(guarded, header, kind, accepted, granted):
    """Answers, errors too, tell which scopes would do and which there are, in the words of the credential's kind."""
    for path in ("commits", "commits/nowhere"):
        headers = guarded.get(path, headers={"Authorization": header}).headers
        assert (headers["X-Credential-Type"], headers["X-Accepted-OAuth-Scopes"]) == (kind, accepted)
        assert {accepted, granted} <= set(headers["X-OAuth-Scopes"].split(", "))


def test_scopes_can_be_taken_away(guarded):
    """A credential that lacks a scope gets a 403 that names it, beside what is granted."""
    guarded.sandbox.set_fault("scopes", "account")

    answer = guarded.get("commits", headers={"Authorization": "Bearer an-access-token"})

    assert answer.status_code == 403
    assert answer.json()["error"]["detail"] == {"required": ["repository"], "granted": ["account"]}
    assert guarded.get("/user", auth=(EMAIL, TOKEN)).status_code == 200


def test_tokens_do_not_show(guarded):
    """The record of requests holds no credential."""
    guarded.get("commits", auth=(EMAIL, TOKEN))

    assert TOKEN not in repr(guarded.sandbox.requests)


def test_user_is_who_asks(guarded):
    """`/user` is the account of the credential, which authors with that address have as well."""
    value = guarded.get("/user", auth=(EMAIL, TOKEN)).json()
    bot = guarded.get("/user", headers={"Authorization": "Bearer an-access-token"}).json()

    assert (value["type"], value["display_name"]) == ("user", "bot")
    assert {"uuid", "account_id", "nickname", "links"} <= set(value)
    assert bot["uuid"] != value["uuid"]


@pytest.mark.parametrize(
    ("path", "scope"), [("commits", "read:repository:bitbucket"), ("/user", "read:user:bitbucket")]
)
def test_forbidden_has_an_object_as_detail(api, repository, path, scope):
    """A scope that is missing is a 403 whose detail tells what is required and what is granted."""
    api.sandbox.set_fault("forbidden")

    answer = api.get(path)

    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "Your credentials lack one or more required privilege scopes."
    assert answer.json()["error"]["detail"]["required"] == [scope]
    assert scope not in answer.json()["error"]["detail"]["granted"]
