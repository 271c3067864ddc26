"""A webhook decoder for a service that nobody has: its answers are those that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from releasecopilot_core import Announced, Batch, Delivery, hookimpl

from .stores import a_batch, a_commit
from .strategies import SHAS


@attrs.define(eq=False)
class FakeDecoder:
    """Implements `WebhookDecoder` for the service `test`, and is a plugin with the source that it is given.

    A body `{"branch": NAME}` tells one commit and that the branch was pushed to; any other is ignored. Events come in the
    header `X-Event`, request ids in `X-Id`, and secrets as they are in `X-Proof`. `answers` replaces what `verify`,
    `identify` or `decode` return; an exception is raised instead.
    """

    answers: Mapping[str, Any] = attrs.field(factory=dict)
    source: Any = None
    secrets: Sequence[str] = attrs.field(default=(), repr=False)
    can_repair: bool = False
    kept_headers: Sequence[str] = ("x-event",)

    @hookimpl
    def rc_webhooks(self) -> Mapping[str, Any]:
        """Decode the deliveries of `test`."""
        return {"test": lambda _: self}

    @hookimpl
    def rc_sources(self) -> Mapping[str, Any]:
        """Provide the source `test`."""
        return {"test": lambda _: self.source}

    def verify(self, delivery: Delivery, secrets: Sequence[str]) -> bool:
        """Return whether the header is one of the secrets."""
        return bool(self._answer("verify", delivery.headers.get("x-proof") in secrets))

    def identify(self, delivery: Delivery) -> tuple[str | None, str | None]:
        """Return what the headers say."""
        found: tuple[str | None, str | None] = self._answer(
            "identify", (delivery.headers.get("x-event"), delivery.headers.get("x-id"))
        )
        return found

    def decode(self, delivery: Delivery) -> Sequence[Batch]:
        """Return one batch for a branch."""
        branch = delivery.payload.get("branch")
        told = [a_batch(a_commit(SHAS[0]), stale_branches={branch: Announced("pushed")})] if branch else []
        found: Sequence[Batch] = self._answer("decode", told)
        return found

    def _answer(self, name: str, otherwise: Any) -> Any:
        answer = self.answers.get(name, otherwise)
        if isinstance(answer, Exception):
            raise answer
        return answer
