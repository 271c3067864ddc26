"""`rc serve … --with fastapi`: an application that holds nothing but the webhook, in uvicorn."""

from __future__ import annotations

import inspect
import signal
import socket
from typing import TYPE_CHECKING, Any

from releasecopilot_core import Serving, Webhook

if TYPE_CHECKING:
    from fastapi import FastAPI


class FastApiServer:
    """What `rc_web_servers` gives for `fastapi`."""

    def mount(self, app: FastAPI, webhook: Webhook, path: str) -> None:
        """Take deliveries at `path` of an application; its lifespan starts and closes the webhook."""
        from .routes import WebhookRouter

        app.include_router(WebhookRouter(webhook, path))

    def serve(self, serving: Serving, listener: socket.socket) -> None:
        """Serve on a socket that listens, until SIGTERM or Ctrl-C; requests that were begun are answered first.

        `serving` has been exported: each worker opens its own webhook.
        """
        import uvicorn

        config = uvicorn.Config(
            f"{__name__}:application",
            factory=True,
            workers=serving.workers,
            log_config=None if serving.logging is None else dict(serving.logging),
            access_log=serving.access_log,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=30,
        )
        if serving.workers == 1:
            server = uvicorn.Server(config)
            # uvicorn listens to signals once its event loop runs: one that comes earlier must not break that off.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, server.handle_exit)
            server.run(sockets=[listener])
        else:
            _supervise(config, listener)


def application() -> FastAPI:
    """Return the application of one worker process, by what `rc serve` exported."""
    from fastapi import FastAPI

    serving = Serving.from_environment()
    # Who delivers follows no redirection: an address with a slash too many is none.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    FastApiServer().mount(app, serving.open(), serving.path)
    return app


def _supervise(config: Any, listener: socket.socket) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    # Earlier versions want to be told what a worker runs.
    wanted = inspect.signature(Multiprocess).parameters
    more: dict[str, Any] = {"target": uvicorn.Server(config).run} if "target" in wanted else {}
    Multiprocess(config, sockets=[listener], **more).run()
