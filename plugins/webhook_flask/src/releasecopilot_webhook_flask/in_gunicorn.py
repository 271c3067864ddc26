"""gunicorn: a supervisor and its worker processes, each with some threads."""

from __future__ import annotations

import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from releasecopilot_core import Serving, Webhook

from .serving import THREADS, application


def serve(serving: Serving, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C, and end the process by `SystemExit`."""
    _Application(serving, listener).run()


class _Application(BaseApplication):
    """Configures gunicorn from here, and not from its files or variables."""

    def __init__(self, serving: Serving, listener: socket.socket) -> None:
        self._serving = serving
        self._options = {
            # gunicorn goes on to own the file descriptor.
            "bind": f"fd://{listener.detach()}",
            "workers": serving.workers,
            "worker_class": "gthread",
            "threads": THREADS,
            "logger_class": _Logger,
            "accesslog": "-" if serving.access_log else None,
            "control_socket_disable": True,
            "worker_exit": _close,
            "proc_name": "rc serve",
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            if name in self.cfg.settings:  # some came with later versions
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Open the webhook in the worker: a database must not be carried over a fork."""
        webhook = self._serving.open()
        webhook.start()
        app = application(webhook, self._serving.path)
        app.extensions["webhook"] = webhook
        return app


def _close(_: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    webhook: Webhook | None = None if app is None else app.extensions["webhook"]
    if webhook is not None:
        webhook.close()


class _Logger(Logger):
    """Leaves it to the handlers of `rc serve` where messages go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in list(log.handlers):
                log.removeHandler(handler)
            log.propagate = True
