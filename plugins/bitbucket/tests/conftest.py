"""A scripted server for exact control, the sandbox over real git repositories for everything else."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest
from hypothesis import HealthCheck, settings
from releasecopilot_bitbucket.api import Api
from releasecopilot_bitbucket.settings import BitbucketSettings, Credentials
from releasecopilot_bitbucket_sandbox.server import Sandbox

from releasecopilot_core import CommitStorage, Secret

settings.register_profile("bitbucket", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("bitbucket")

TOKEN = "ATATT-s3cret"
EMAIL = "bot@acme.example"


@attrs.frozen
class Asked:
    """One request as a server got it."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: str


@attrs.frozen
class Reply:
    """One answer: `cut` sends half of the body, `reset` breaks the connection, `after` waits so many seconds."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    cut: bool = False
    reset: bool = False
    after: float = 0.0

    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Scripted:
    """Gives the replies in turn, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.replies: list[Reply] = []
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                script.answer(self)

            def do_POST(self) -> None:
                script.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that went away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/2.0"

    def then(self, body: Any = None, status: int = 200, **more: Any) -> Scripted:
        """Add a reply."""
        self.replies.append(Reply(body, status, **more))
        return self

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        asked = Asked(handler.command, parts.path, tuple(parse_qsl(parts.query)), dict(handler.headers), body)
        with self._lock:
            self.asked.append(asked)
            reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        self.stopping.wait(reply.after)
        if reply.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.rfile.close()  # it holds the socket open
            handler.connection.close()
            handler.close_connection = True
            return
        content = reply.content()
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if reply.cut else content)
        handler.close_connection = handler.close_connection or reply.cut

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[Callable[[], Scripted]]:
    """Return a function that starts a scripted server."""
    running: list[Scripted] = []

    def start() -> Scripted:
        running.append(Scripted())
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def server(scripted: Callable[[], Scripted]) -> Scripted:
    """Return one scripted server."""
    return scripted()


@pytest.fixture
def credentials() -> Credentials:
    """Return an e-mail address with an API token."""
    return Credentials(username=EMAIL, api_token=Secret(TOKEN))


@pytest.fixture
def make_api(credentials: Credentials) -> Iterator[Callable[..., Api]]:
    """Return a function that opens a client for a URL; it gives up after 0.7 s unless it is told otherwise."""
    opened: list[Api] = []

    def make(url: str, **changes: Any) -> Api:
        values = {"workspace": "acme", "credentials": credentials, "retry_seconds": 0.7, "timeout_seconds": 10.0}
        opened.append(Api(BitbucketSettings(api_url=url, **{**values, **changes})))
        return opened[-1]

    yield make
    for api in opened:
        api.close()


@pytest.fixture
def api(make_api: Callable[..., Api], server: Scripted) -> Api:
    """Return a client for the scripted server."""
    return make_api(server.url)


@pytest.fixture
def patient(make_api: Callable[..., Api], server: Scripted) -> Api:
    """Return a client for the scripted server that goes on asking for long enough."""
    return make_api(server.url, retry_seconds=30.0)


# --- git and the sandbox ---------------------------------------------------------------------------------------

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """A bare git repository that a test fills, and asks as the oracle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 1_790_000_000
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True, env=ENVIRONMENT
        )

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        command = ["git", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(command, input=given, check=True, capture_output=True, env=ENVIRONMENT)
        return done.stdout.decode("utf-8", "replace")

    def commit(
        self,
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        branch: str = "main",
        message: str = "A change\n",
        parents: Sequence[str] | None = None,
    ) -> str:
        """Add a commit to a branch and return its sha; `parents` default to the branch's head."""
        self.seconds += 60
        if parents is None:
            parents = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").split()
        text = message.encode()
        parts = [
            f"commit refs/heads/{branch}\nmark :1\ncommitter Ann <ann@acme.example> {self.seconds} +0000\n".encode()
        ]
        parts.append(b"data %d\n%s\n" % (len(text), text))
        parts += [f"{'merge' if number else 'from'} {parent}\n".encode() for number, parent in enumerate(parents)]
        for path, content in (files or {}).items():
            if content is None:
                parts.append(f"D {path}\n".encode())
            else:
                data = content.encode() if isinstance(content, str) else content
                parts.append(f"M 100644 inline {path}\n".encode() + b"data %d\n%s\n" % (len(data), data))
        given = b"".join(parts) + b"\nget-mark :1\n"
        return self.git("fast-import", "--quiet", "--force", "--cat-blob-fd=1", given=given).strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the repositories that the sandbox serves."""
    found = tmp_path / "workspace"
    found.mkdir()
    return found


@pytest.fixture
def new_repository(folder: Path) -> Callable[[str], Repository]:
    """Return a function that makes an empty repository in the workspace."""
    return lambda slug: Repository(folder / f"{slug}.git")


@pytest.fixture
def repository(new_repository: Callable[[str], Repository]) -> Repository:
    """Return the empty repository `acme/api`."""
    return new_repository("api")


@pytest.fixture
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """Serve the workspace to the bot."""
    with Sandbox(folder, users={EMAIL: TOKEN}) as running:
        yield running


@pytest.fixture
def sandbox_api(make_api: Callable[..., Api], sandbox: Sandbox) -> Api:
    """Return a client for the sandbox."""
    return make_api(sandbox.url)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommitStorage]:
    """Return an empty store."""
    with CommitStorage(tmp_path / "commits.db") as opened:
        yield opened


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], bool]:
    """Return a function that waits until something holds, for 10 seconds at most."""

    def wait(holds: Callable[[], bool]) -> bool:
        end = time.monotonic() + 10
        while not holds() and time.monotonic() < end:
            time.sleep(0.01)
        return holds()

    return wait
