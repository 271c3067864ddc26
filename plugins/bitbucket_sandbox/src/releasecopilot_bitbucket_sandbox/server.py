"""Serve the sandbox over HTTP on loopback, from Python or from the command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from . import app
from .app import PREFIX, Served
from .git import GitRepository

__all__ = ["NotARepository", "Sandbox", "Served"]


class NotARepository(ValueError):
    """A path that holds no git repository."""


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; waiting to join them would cost 40 ms a request.
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Write nothing: the command prints requests itself when asked to."""


class Sandbox:
    """A Bitbucket Cloud workspace over local git repositories; use it as a context manager.

    `paths` are repositories, or folders of repositories that are looked through at each request: what is added,
    renamed or deleted there shows at once. `users` maps e-mail to API token (Basic), `tokens` are accepted as Bearer;
    with neither, anybody may ask. `url` is the API's base address while it runs.

    Raises:
        NotARepository: a path holds none.
        OSError: the address is taken.
    """

    def __init__(
        self,
        *paths: str | Path,
        workspace: str = "acme",
        users: Mapping[str, str] | None = None,
        tokens: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        folders = [Path(path) for path in paths]
        for folder in folders:
            if not folder.is_dir():
                raise NotARepository(f"{folder}: no such folder")
        self._app = app.Sandbox(workspace=workspace, folders=folders, users=dict(users or {}), tokens=tuple(tokens))
        for name, value in (faults or {}).items():
            self._app.faults.set(name, value)
        self._host, self._port = host, port
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._server = make_server(self._host, self._port, self._app, threaded=True, request_handler=_Handler)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; a second time does nothing."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        """Return the base address of the API, without a slash at its end."""
        if self._server is None:
            raise RuntimeError("the sandbox is not started")
        host, port = self._server.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}{PREFIX}"

    # --- looking and switching -------------------------------------------------------------------------------

    @property
    def repositories(self) -> list[GitRepository]:
        """Return the repositories that are served now."""
        return self._app.repositories()

    @property
    def requests(self) -> list[Served]:
        """Return what was asked so far, oldest first."""
        return list(self._app.served)

    def clear_requests(self) -> None:
        """Forget what was asked."""
        self._app.served.clear()

    def set_fault(self, name: str, value: str = "1") -> None:
        """Switch a fault on: `name`, `name@kind`, `name@kind:slug` (see the README).

        Raises:
            UnknownFault: there is no such fault.
        """
        self._app.faults.set(name, value)

    def clear_fault(self, name: str) -> None:
        """Switch one fault off."""
        self._app.faults.clear(name)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._app.faults.clear()

    def on_request(self, callback: Callable[[Served], None] | None) -> None:
        """Call a function after each answer has been sent."""
        self._app.on_request = callback
