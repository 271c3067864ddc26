"""HTTP/1.1 on a socket: keep-alive, a thread for each connection, and answers that go wrong on purpose.

werkzeug's own server closes the connection after each answer and ends the process when the port is taken.
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote_to_bytes

from .bodies import Body, BrokenBody

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Key of the WSGI environment in which an application says how its answer leaves: `WHOLE`, `CUT` or `RESET`.
DELIVERY = "sandbox.delivery"
WHOLE = "whole"
CUT = "cut"  # the length is right and the body is not: what a proxy leaves when it gives up
RESET = "reset"  # the connection is reset instead of answered


class Server(ThreadingHTTPServer):
    """Serves one WSGI application; `end` leaves neither thread nor connection behind.

    Raises:
        OSError: the address cannot be had.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, host: str, port: int, application: Application) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.application = application
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are, which can take seconds."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember both."""
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, name="sandbox", daemon=True)
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        super().shutdown_request(request)
        with self._lock:
            self._open.pop(request, None)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what is a mistake of ours; clients that hang up are none."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()

    def end(self) -> None:
        """Stop serving: idle connections are closed, running answers are waited for a moment."""
        self.shutdown()
        self.server_close()
        with self._lock:
            remaining = dict(self._open)
        for connection in remaining:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in remaining.values():
            thread.join(1.0)


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the application, one after the other, as long as the client keeps the connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Answer one request. An answer of known length leaves in one write with its headers, others leave in chunks."""
        if (body := self._body()) is None:
            self.close_connection = True
            self.send_error(400)
            return
        environ = self._environ(body)
        head: list[Any] = ["500 Internal Server Error", [("Content-Length", "0")]]

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            head[:] = [status, headers]

        parts: Iterable[bytes] = ()
        try:
            try:
                parts = self.server.application(environ, start_response)
            except BrokenBody:
                raise
            except Exception:  # a mistake of ours: shown here, and 500 over there
                traceback.print_exc()
            self._send(head[0], head[1], parts, environ, body)
        finally:
            if close := getattr(parts, "close", None):
                close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _body(self) -> Body | None:
        """Return the request's body, `None` if its end cannot be told."""
        if encoding := self.headers.get("Transfer-Encoding"):
            return Body(self.rfile, None) if encoding.lower() == "chunked" else None
        length = self.headers.get("Content-Length", "0")
        return Body(self.rfile, int(length)) if length.isascii() and length.isdecimal() and len(length) < 19 else None

    def _send(self, status: str, headers: list[Any], parts: Iterable[bytes], environ: Any, body: Body) -> None:
        delivery = environ.get(DELIVERY, WHOLE)
        if delivery == RESET:
            self._reset()
            return
        silent = self.command == "HEAD" or status.startswith(("204", "304"))
        given = {name.lower() for name, _ in headers}
        known = silent or "content-length" in given
        chunked = not known and self.request_version != "HTTP/1.0"
        if delivery == CUT or not (known or chunked):
            self.close_connection = True
        more = [] if "date" in given else [("Date", formatdate(usegmt=True))]
        more += [("Transfer-Encoding", "chunked")] if chunked else []
        more += [("Connection", "close")] if self.close_connection else []
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*headers, *more)), "", ""]
        first = "\r\n".join(lines).encode("latin-1")
        if known:
            whole = b"" if silent else b"".join(parts)
            # The rest of the body is read first: a client that still sends would not hear us.
            body.drain()
            self.wfile.write(first + (whole[: len(whole) // 2] if delivery == CUT else whole))
            return
        self.wfile.write(first)
        for part in parts:
            if delivery == CUT:
                self.wfile.write(b"%x\r\n%b" % (len(part), part[: len(part) // 2]))
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked and part else part)
        body.drain()
        self.wfile.write(b"0\r\n\r\n" if chunked else b"")

    def _reset(self) -> None:
        self.close_connection = True
        # Without lingering, closing sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def _environ(self, body: Body) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BufferedReader(body, 65_536),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
        }
        for name, value in self.headers.items():
            environ.setdefault("HTTP_" + name.upper().replace("-", "_"), value)
        return environ

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write nothing: the command prints requests itself when asked to."""
