"""The routes of a webhook: a delivery from the raw stream to the core's answer, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from releasecopilot_core import Answer, Webhook

#: No length of more digits is meant seriously, and `int` would refuse one of thousands.
_LONGEST_LENGTH = 18

#: Seconds in which a body must have come: services give up by then, and one that vanished would be waited for for ever.
BODY_SECONDS = 10.0


class WebhookRouter(APIRouter):
    """Takes deliveries at `path` (default: that of the webhook) and tells at `healthz` whether they can be stored.

    `healthz=None` leaves that route out. Repairs start and end with the application's lifespan, or start with the first
    request when the router is part of an application that is mounted in another one. The routes are plain ones:
    dependencies and response classes of the application do not apply, and they are not in its OpenAPI schema.
    """

    def __init__(self, webhook: Webhook, path: str | None = None, *, healthz: str | None = "/healthz") -> None:
        self.webhook = webhook
        super().__init__(lifespan=self._lifespan)
        self.add_route(path or webhook.path, self._deliver, methods=["POST"], include_in_schema=False)
        if healthz is not None:
            self.add_route(healthz, self._health, methods=["GET"], include_in_schema=False)

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        await run_in_threadpool(self.webhook.start)
        try:
            yield
        finally:
            await run_in_threadpool(self.webhook.close)

    async def _deliver(self, request: Request) -> Response:
        try:
            with anyio.fail_after(BODY_SECONDS):
                body = await _body(request, self.webhook.body_limit)
        except ClientDisconnect:  # nobody is there to read an answer
            return Response(status_code=400)
        except TimeoutError:
            return Response(status_code=408)
        if body is None:
            return _response(self.webhook.too_large())
        return _response(await self._received(request.headers.items(), body))

    async def _received(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        if not self.webhook.is_started:
            await run_in_threadpool(self.webhook.start)
        answer = self.webhook.submit(headers, body)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another kind of event loop, such as trio's
            return await run_in_threadpool(answer.result)
        return await asyncio.wrap_future(answer, loop=loop)

    async def _health(self, _: Request) -> Response:
        return _response(await run_in_threadpool(self.webhook.health))


async def _body(request: Request, limit: int) -> bytes | None:
    """Return the raw body, `None` as soon as it is known to be larger than `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _LONGEST_LENGTH or int(declared) > limit):
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _response(answer: Answer) -> Response:
    return Response(answer.content, status_code=answer.status, media_type="application/json")
