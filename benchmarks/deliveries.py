"""Deliveries: how many a second one worker takes, and how long the slowest wait, with FastAPI and with Flask.

Ours is `rc serve bitbucket-webhook`, which checks the HMAC, stores delivery, commits, keys and what is stale, and then
answers. The peer is an endpoint in the same framework that checks the same HMAC, inserts the raw body into an SQLite table
(write-ahead log, synchronous FULL, one transaction a request), and then answers. It runs in the same server with the same
settings: uvicorn, or gunicorn with its threads.

Bodies are pushes of one commit and of five, as large as Bitbucket's, and no two are alike; they are made and signed before
the clock starts. The aim is for one commit, which is what most pushes bring (the recorded ones none to two). Five, the most
that a body carries, show the other end: five times the rows, in tables that are ordered by hash, where the peer's one row
only grows.

The database of ours has scanned their repositories. Four connections, kept alive, send them one after the other. All servers
stay up and take turns of 200 deliveries; the fastest turn of each counts. The second figure is the 99th percentile of the time
to the answer in a turn, as the median of all turns.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import attrs
import bare_endpoint
import pushes
from measuring import Result, alternating
from releasecopilot_bitbucket import testing

FRAMEWORKS = ("fastapi", "flask")
COMMITS, COMMON = (1, 5), 1
TURNS, A_TURN, SENDERS = 24, 200, 4
AIM = 0.5

_SECRET = secrets.token_hex(16)
_ENVIRONMENT = {**os.environ, bare_endpoint.SECRET_VARIABLE: _SECRET}
_SETTINGS = f"bitbucket:\n  workspace: acme\n  webhook_secret: ${{{bare_endpoint.SECRET_VARIABLE}}}\n"
_RC = Path(sys.executable).with_name("rc")
_SECONDS = 30.0


@attrs.frozen
class Turn:
    """How a server fared with some deliveries: how many a second, and the 99th percentile of the seconds to the answer."""

    rate: float
    slow: float


def measure() -> list[Result]:
    """Return two rows for each framework and size of push: deliveries a second, and time to the answer."""
    return [result for name in FRAMEWORKS for result in _measure(name)]


def _measure(framework: str) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        ours, bare = stack.enter_context(_ours(framework, folder)), stack.enter_context(_bare(framework, folder))
        for commits in COMMITS:
            turns = [_turns(number, framework, commits, ours, bare) for number in range(1 + TURNS)]
            # The first one finds everything cold.
            yield from _rows(framework, commits, turns[1:])
        _check(folder)


def _turns(number: int, framework: str, commits: int, *ports: int) -> list[Turn]:
    """Send the same deliveries to all servers, one server after the other."""
    bodies = islice(pushes.bodies(commits, salt=f"{framework} {commits} {number}"), A_TURN)
    requests = [_request(body) for body in bodies]
    return alternating(number, *(partial(_send, requests, port) for port in ports))


def _rows(framework: str, commits: int, turns: Sequence[Sequence[Turn]]) -> Iterator[Result]:
    what = f"{framework}, {commits} commit{'s' * (commits > 1)}"
    ours, bare = zip(*turns, strict=True)
    rate, peer = (max(turn.rate for turn in side) for side in (ours, bare))
    yield Result(
        what=f"{what} a push",
        ours=f"{rate:,.0f}/s",
        peer=f"{peer:,.0f}/s",
        ratio=rate / peer,
        aim=f"≥ {AIM:g}" if commits == COMMON else "",
        met=rate / peer >= AIM if commits == COMMON else None,
    )
    slow, peer = (statistics.median(turn.slow for turn in side) for side in (ours, bare))
    yield Result(
        what=f"{what} a push, 99 % answered in",
        ours=f"{slow * 1000:.1f} ms",
        peer=f"{peer * 1000:.1f} ms",
        ratio=slow / peer,
    )


def _check(folder: Path) -> None:
    """Make sure that both stored whatever they answered."""
    sent = len(COMMITS) * (1 + TURNS) * A_TURN
    told = sum(COMMITS) * (1 + TURNS) * A_TURN
    counts = [
        (folder / "data/bitbucket/commits.db", "deliveries WHERE status = 'stored'", sent),
        (folder / "data/bitbucket/commits.db", "commits WHERE files_status = 'owed'", told),
        (folder / "bare.db", "deliveries", sent),
    ]
    for file, rows, wanted in counts:
        connection = sqlite3.connect(file)
        (found,) = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
        connection.close()
        if found != wanted:
            raise RuntimeError(f"{file.name}: expected {wanted} {rows}, not {found}")


# --- servers -------------------------------------------------------------------------------------------------


@contextmanager
def _ours(framework: str, folder: Path) -> Iterator[int]:
    (folder / "config").mkdir()
    (folder / "config/settings.yaml").write_text(_SETTINGS, encoding="utf-8")
    pushes.know_repositories(folder / "data/bitbucket/commits.db")
    command = [str(_RC), "serve", "bitbucket-webhook", "--with", framework, "--port", "0"]
    with _running(command, folder, "stderr", r"http://127\.0\.0\.1:(\d+)/") as port:
        yield port


@contextmanager
def _bare(framework: str, folder: Path) -> Iterator[int]:
    command = [sys.executable, bare_endpoint.__file__, framework, str(folder / "bare.db")]
    with _running(command, folder, "stdout", r"(\d+)\n") as port:
        yield port


@contextmanager
def _running(command: Sequence[str], folder: Path, stream: str, port: str) -> Iterator[int]:
    """Run a server and yield its port, which it tells on one of its streams."""
    logs = {name: folder / f"{Path(command[0]).name}.{name}" for name in ("stdout", "stderr")}
    with logs["stdout"].open("w") as out, logs["stderr"].open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=_ENVIRONMENT, stdout=out, stderr=err)
    try:
        deadline = time.monotonic() + _SECONDS
        while not (found := re.search(port, logs[stream].read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not serve:\n{logs['stderr'].read_text()}")
            time.sleep(0.05)
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(_SECONDS)


# --- senders -------------------------------------------------------------------------------------------------


def _request(body: bytes) -> bytes:
    headers = testing.headers(testing.PUSH) | testing.signature(body, _SECRET)
    lines = [f"POST {bare_endpoint.PATH} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _send(requests: Sequence[bytes], port: int) -> Turn:
    """Send all of them, each sender its share, and wait for every answer."""
    seconds: list[float] = []
    faults: list[BaseException] = []
    start = threading.Barrier(SENDERS + 1)

    def work(share: Sequence[bytes]) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                start.wait(_SECONDS)
                seconds.extend([_answered(connection, request) for request in share])
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(requests[place::SENDERS],)) for place in range(SENDERS)]
    for thread in threads:
        thread.start()
    start.wait(_SECONDS)
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - started
    if faults:
        raise RuntimeError(f"deliveries failed: {faults[0]!r}") from faults[0]
    return Turn(rate=len(requests) / passed, slow=sorted(seconds)[int(len(seconds) * 0.99)])


def _answered(connection: socket.socket, request: bytes) -> float:
    """Send one request, read its whole answer, and return how many seconds that took."""
    started = time.perf_counter()
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(connection)
    head, _, content = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(content) < int(length[1]):
        content += _received(connection)
    passed = time.perf_counter() - started
    if not head.startswith(b"HTTP/1.1 202 ") or b'"stored"' not in content:
        raise RuntimeError(f"answered {head!r} {content!r}")
    return passed


def _received(connection: socket.socket) -> bytes:
    block = connection.recv(65_536)
    if not block:
        raise ConnectionError("the server closed the connection")
    return block
