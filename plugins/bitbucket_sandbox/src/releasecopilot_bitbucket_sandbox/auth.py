"""Who asks, with which credential, and what it may do."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence

import attrs

from .answers import app_password_removed, lacks_scope, unauthorized

#: Scope of OAuth and access tokens -> that of API tokens (Atlassian's OpenAPI text, per operation).
SCOPES = {
    "account": "read:user:bitbucket",
    "repository": "read:repository:bitbucket",
    "repository:write": "write:repository:bitbucket",
    "pullrequest": "read:pullrequest:bitbucket",
    "pullrequest:write": "write:pullrequest:bitbucket",
    "webhook": "read:webhook:bitbucket",
}
#: What a scope includes (the same text).
_INCLUDED = {
    "repository:write": {"repository"},
    "pullrequest": {"repository"},
    "pullrequest:write": {"pullrequest", "repository:write", "repository"},
}
#: User names with which git offers tokens (Atlassian's page "Using API tokens"; constructorfabric/insight, notes).
API_TOKEN_USER, ACCESS_TOKEN_USER = "x-bitbucket-api-token-auth", "x-token-auth"


@attrs.frozen
class Caller:
    """Somebody who asks; `email` is `None` for the bot behind an access token, and for anybody."""

    email: str | None = None
    credential: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell callers what their credential may do.

        Their names are recorded (codecov/shared, cassettes); the values are our guess.
        """
        if self.credential is None:
            return {}
        return {"X-OAuth-Scopes": ", ".join(self.named(self.scopes)), "X-Credential-Type": self.credential}

    def named(self, scopes: Iterable[str]) -> list[str]:
        """Return scopes in the words that this kind of credential has for them."""
        return sorted(scope if self.credential == "access_token" else SCOPES[scope] for scope in scopes)

    def must_have(self, scope: str) -> None:
        """Check that the credential covers a scope.

        Raises:
            Refused: with a 403 that tells what is required and what is granted.
        """
        if scope not in self.scopes:
            raise lacks_scope(self.named([scope]), self.named(self.scopes))


def scopes(names: Iterable[str]) -> frozenset[str]:
    """Return scopes with those that they include."""
    return frozenset().union(*({name} | _INCLUDED.get(name, set()) for name in names))


@attrs.frozen
class Accounts:
    """The credentials that are accepted: e-mail -> API token, and access tokens. With neither, anybody may ask.

    `app_passwords`, user name -> password, were accepted until 28 July 2026 (Atlassian CHANGE-3222).
    """

    users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    tokens: Sequence[str] = attrs.field(default=(), repr=False)
    app_passwords: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @property
    def open(self) -> bool:
        """Whether anybody may ask."""
        return not self.users and not self.tokens

    def caller(self, authorization: str) -> Caller:
        """Return who sent an `Authorization` header.

        Basic carries an Atlassian account's e-mail and an API token, Bearer an access token (Atlassian's page "Using API
        tokens"). Whether API tokens pass as Bearer is disputed; here they do not.

        Raises:
            Refused: with a 401, for a wrong credential and for none.
        """
        if self.open:
            return Caller()
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.is_token(rest.strip()):
            return Caller(credential="access_token")
        if scheme.lower() == "basic":
            email, _, token = basic(rest).partition(":")
            if same(self.users.get(email, ""), token) and token:
                return Caller(email, "api_token")
        raise unauthorized()

    def git_caller(self, authorization: str) -> Caller:
        """Return who sent an `Authorization` header to a repository's git address.

        There, a token is the password of HTTP Basic, and its kind decides the user name: `x-bitbucket-api-token-auth`, or
        the short user name, for an API token (the e-mail address is refused), `x-token-auth` for an access token
        (constructorfabric/insight, notes, tried in 2026). The short user name is here what stands before the `@`.

        Raises:
            Refused: 401 for a wrong credential and for none, 410 for an app password.
        """
        if self.open:
            return Caller()
        scheme, _, rest = authorization.partition(" ")
        name, _, secret = basic(rest).partition(":") if scheme.lower() == "basic" else ("", "", "")
        if name == ACCESS_TOKEN_USER and self.is_token(secret):
            return Caller(credential="access_token")
        for email, token in self.users.items():
            if name in (API_TOKEN_USER, email.partition("@")[0]) and secret and same(token, secret):
                return Caller(email, "api_token")
        if secret and same(self.app_passwords.get(name, ""), secret):
            raise app_password_removed()
        raise unauthorized()

    def is_token(self, text: str) -> bool:
        """Return whether a text is one of the access tokens."""
        return any(same(token, text) for token in self.tokens)


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def basic(text: str) -> str:
    """Return `name:password` out of what stands behind `Basic`; empty for what is no Base64."""
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
