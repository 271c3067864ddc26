"""Who asks, and with which credential."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

import attrs

from .answers import unauthorized

#: What a scope is called for OAuth and access tokens; `account` is needed for `/user` (Atlassian's OpenAPI text).
REPOSITORY_SCOPE, ACCOUNT_SCOPE = "repository", "account"


@attrs.frozen
class Caller:
    """Somebody who asks; `email` is `None` for the bot behind an access token, and for anybody."""

    email: str | None = None
    credential: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell callers what their credential may do.

        Their names are recorded (codecov/shared, cassettes); the values are our guess.
        """
        if self.credential is None:
            return {}
        return {"X-OAuth-Scopes": f"{ACCOUNT_SCOPE}, {REPOSITORY_SCOPE}", "X-Credential-Type": self.credential}


@attrs.frozen
class Accounts:
    """The credentials that are accepted: e-mail -> API token, and access tokens. With neither, anybody may ask."""

    users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    tokens: Sequence[str] = attrs.field(default=(), repr=False)

    def caller(self, authorization: str) -> Caller:
        """Return who sent an `Authorization` header.

        Basic carries an Atlassian account's e-mail and an API token, Bearer an access token (Atlassian's page "Using API
        tokens"). Whether API tokens pass as Bearer is disputed; here they do not.

        Raises:
            Refused: with a 401, for a wrong credential and for none.
        """
        if not self.users and not self.tokens:
            return Caller()
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer" and any(_same(token, rest.strip()) for token in self.tokens):
            return Caller(credential="access_token")
        if scheme.lower() == "basic":
            email, _, token = _decoded(rest).partition(":")
            if _same(self.users.get(email, ""), token) and token:
                return Caller(email, "api_token")
        raise unauthorized()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
