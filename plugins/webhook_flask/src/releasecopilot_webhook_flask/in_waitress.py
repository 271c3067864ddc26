"""waitress: one process with some threads, for systems without fork."""

from __future__ import annotations

import logging
import socket

from waitress.server import create_server

from releasecopilot_core import Serving

from .serving import application

#: Threads: whole requests come to them, so they wait for the disk only.
THREADS = 8

#: Connections that are open at once; Windows cannot wait for more than 512.
CONNECTIONS = 400

_log = logging.getLogger("releasecopilot_webhook_flask")


def serve(serving: Serving, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that were begun have five seconds then."""
    if serving.workers > 1:
        _log.warning("waitress serves with one process; --workers %d changes nothing", serving.workers)
    with serving.open() as webhook:
        app = application(webhook, serving.path)
        # Its own limit comes far above ours, which answers in JSON.
        limit = webhook.body_limit + (1 << 20)
        server = create_server(
            app,
            sockets=[listener],
            threads=THREADS,
            connection_limit=CONNECTIONS,
            max_request_body_size=limit,
            ident=None,
        )
        server.run()
