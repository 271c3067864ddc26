"""The least that takes webhooks safely: an endpoint that checks the HMAC and inserts the raw body into SQLite.

`python bare_endpoint.py fastapi|flask DATABASE` serves it in the server that `rc serve` starts, with the same settings: the
plugin's own `serve` is called, and only the application is exchanged. The first line of stdout is the port.
"""

# No postponed annotations: FastAPI looks at that of `Request`, which is imported in a function here.

import hashlib
import hmac
import os
import sqlite3
import sys
import threading
from typing import Any

import attrs

from releasecopilot_core import Serving

PATH, SECRET_VARIABLE = "/webhooks/bitbucket", "BENCH_WEBHOOK_SECRET"


class Bodies:
    """A table of raw bodies: one row a request, and each is on the disk when `keep` returns."""

    def __init__(self, database: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE deliveries (body BLOB NOT NULL)")

    def keep(self, body: bytes) -> None:
        """Insert one, in a transaction of its own."""
        with self._lock:
            self._connection.execute("INSERT INTO deliveries (body) VALUES (?)", (body,))


def is_proven(body: bytes, signature: str) -> bool:
    """Return whether the header `X-Hub-Signature` is right."""
    wanted = "sha256=" + hmac.new(os.environ[SECRET_VARIABLE].encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature.encode(), wanted.encode())


def fastapi_application(bodies: Bodies) -> Any:
    """Return the endpoint in FastAPI; it does not block the event loop."""
    from fastapi import FastAPI, HTTPException, Request
    from starlette.concurrency import run_in_threadpool

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post(PATH, status_code=202)
    async def deliver(request: Request) -> dict[str, str]:
        body = await request.body()
        if not is_proven(body, request.headers.get("x-hub-signature", "")):
            raise HTTPException(401)
        await run_in_threadpool(bodies.keep, body)
        return {"status": "stored"}

    return app


def flask_application(bodies: Bodies) -> Any:
    """Return the endpoint in Flask."""
    from flask import Flask, abort, request

    app = Flask(__name__, static_folder=None)

    @app.post(PATH)
    def deliver() -> tuple[dict[str, str], int]:
        body = request.get_data()
        if not is_proven(body, request.headers.get("x-hub-signature", "")):
            abort(401)
        bodies.keep(body)
        return {"status": "stored"}, 202

    return app


# --- the server ----------------------------------------------------------------------------------------------


class Nothing:
    """Stands where the plugins have their webhook."""

    def start(self) -> None:
        """Start nothing."""

    def close(self) -> None:
        """Close nothing."""


@attrs.frozen(kw_only=True)
class NothingServed(Serving):
    """Opens no webhook in the worker."""

    def open(self) -> Any:
        """Return what has nothing behind it."""
        return Nothing()


def _serve_fastapi(serving: Serving, listener: Any, database: str) -> None:
    from releasecopilot_webhook_fastapi import serving as plugin

    plugin.application = lambda: fastapi_application(Bodies(database))
    plugin.FastApiServer().serve(serving, listener)


def _serve_flask(serving: Serving, listener: Any, database: str) -> None:
    from releasecopilot_webhook_flask import in_gunicorn as plugin

    plugin.application = lambda *_: flask_application(Bodies(database))
    plugin.serve(serving, listener)


if __name__ == "__main__":
    name, file = sys.argv[1:]
    asked = NothingServed(service="bitbucket", path=PATH, port=0)
    socket = asked.listen()
    print(socket.getsockname()[1], flush=True)
    (_serve_fastapi if name == "fastapi" else _serve_flask)(asked, socket, file)
