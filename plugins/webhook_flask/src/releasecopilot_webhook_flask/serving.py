"""`rc serve … --with flask`: an application that holds nothing but the webhook, in gunicorn, or waitress without it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from releasecopilot_core import Serving, Webhook

if TYPE_CHECKING:
    from flask import Flask


class FlaskServer:
    """What `rc_web_servers` gives for `flask`."""

    def mount(self, app: Flask, webhook: Webhook, path: str) -> None:
        """Take deliveries at `path` of an application; the first request starts the webhook."""
        from .routes import WebhookBlueprint

        app.register_blueprint(WebhookBlueprint(webhook, path))

    def serve(self, serving: Serving, listener: socket.socket) -> None:
        """Serve on a socket that listens, until SIGTERM or Ctrl-C; requests that were begun are answered first."""
        if os.name == "posix":
            from .in_gunicorn import serve
        else:
            from .in_waitress import serve
        serve(serving, listener)


def application(webhook: Webhook, path: str) -> Flask:
    """Return an application that holds nothing but the webhook."""
    from flask import Flask

    app = Flask(__name__, static_folder=None)
    FlaskServer().mount(app, webhook, path)
    return app
