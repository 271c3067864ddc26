"""What callers send as JSON: read strictly, and refused with the names of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import attrs

from .answers import bad_request

_REQUIRED = "required key not provided"


def parsed(body: bytes) -> Payload:
    """Return a request's body; an empty one is an object without keys.

    Raises:
        Refused: with a 400, for what is no JSON object.
    """
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise bad_request("Bad request", {"body": "is not JSON"}) from None
    if not isinstance(value, dict):
        raise bad_request("Bad request", {"body": "is not an object"})
    return Payload(value)


@attrs.frozen
class Payload:
    """A JSON object; each method raises `Refused` with a 400 that names the key (gildas/bitbucket-cli, `error-badrequest`)."""

    value: dict[str, Any]

    def has(self, key: str) -> bool:
        """Return whether a key is there and not null."""
        return self.value.get(key) is not None

    def text(
        self, key: str, default: str | None = None, *, among: Collection[str] = (), most: int | None = None
    ) -> str:
        """Return a text; it has to be there unless there is a default."""
        value = self.value.get(key)
        if value is None:
            if default is None:
                raise bad_request("Bad request", {key: _REQUIRED})
            return default
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise bad_request("Bad request", {key: "is no text"})
        if among and value not in among:
            raise bad_request("Bad request", {key: f"must be one of {', '.join(among)}"})
        if most is not None and len(value) > most:
            raise bad_request("Bad request", {key: f"must have at most {most} characters"})
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a truth value."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, bool):
            raise bad_request("Bad request", {key: "is neither true nor false"})
        return default if value is None else value

    def name(self, *path: str) -> str | None:
        """Return the text at the end of a path of objects, such as `source.branch.name`; `None` where a part is missing."""
        value: Any = self.value
        for key in path:
            if value is None:
                return None
            if not isinstance(value, dict):
                raise bad_request("Bad request", {path[0]: f"expected an object with {'.'.join(path[1:])}"})
            value = value.get(key)
        if value is not None and not isinstance(value, str):
            raise bad_request("Bad request", {path[0]: f"{'.'.join(path[1:])} is no text"})
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts that is not empty."""
        value = self.value.get(key)
        if value is None:
            raise bad_request("Bad request", {key: _REQUIRED})
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise bad_request("Bad request", {key: "is no list of texts"})
        return value
