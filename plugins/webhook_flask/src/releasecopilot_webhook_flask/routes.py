"""The routes of a webhook: a delivery from the raw body to the core's answer."""

from __future__ import annotations

import atexit
import re
import weakref

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from releasecopilot_core import Answer, Webhook


class WebhookBlueprint(Blueprint):
    """Takes deliveries at `path` (default: that of the webhook) and tells at `healthz` whether they can be stored.

    `healthz=None` leaves that route out. Flask has no lifespan: repairs start with the first request, so that they run
    in the process that serves, or with `webhook.start()`; they end with the process, or with `webhook.close()`.
    """

    def __init__(self, webhook: Webhook, path: str | None = None, *, healthz: str | None = "/healthz") -> None:
        self.webhook = webhook
        path = path or webhook.path
        # By path: an application may take deliveries at two of them.
        super().__init__(f"webhook{re.sub(r'[^0-9A-Za-z]+', '_', path)}", __name__)
        self.add_url_rule(path, "deliver", self._deliver, methods=["POST"], provide_automatic_options=False)
        if healthz is not None:
            self.add_url_rule(healthz, "healthz", self._health, methods=["GET"], provide_automatic_options=False)
        _close_at_exit(webhook)

    def _deliver(self) -> Response:
        self.webhook.start()
        try:
            body = _body(self.webhook.body_limit)
        except Exception:  # the server's own, on what anybody can send: cut off, or chunks that are none
            return Response(status=400)
        if body is None:
            return _response(self.webhook.too_large())
        return _response(self.webhook.receive(request.headers.items(), body))

    def _health(self) -> Response:
        self.webhook.start()
        return _response(self.webhook.health())


def _body(limit: int) -> bytes | None:
    """Return the raw body, `None` as soon as it is known to be larger than `limit` bytes, whatever the application allows.

    Some servers cannot tell the end of a body that is exactly as long as Flask's limit, so one byte more is allowed.
    """
    request.max_content_length = limit + 1
    try:
        body = request.get_data(parse_form_data=False)
    except RequestEntityTooLarge:
        return None
    return body if len(body) <= limit else None


def _response(answer: Answer) -> Response:
    return Response(answer.content, status=answer.status, content_type="application/json")


def _close_at_exit(webhook: Webhook) -> None:
    # Weakly: an application that is thrown away, as in tests, takes its webhook along.
    reference = weakref.ref(webhook)

    def close() -> None:
        if (webhook := reference()) is not None:
            webhook.close()

    atexit.register(close)
