"""`rc serve` among senders that are slow, silent, many, or talk something else; and while its secret is rotated."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from releasecopilot_bitbucket import testing as kit
from releasecopilot_bitbucket_sandbox.server import Sandbox

from releasecopilot_core.testing import Served
from releasecopilot_core.testing.webhooks import PATIENCE, send

SECRETS = ("first-s3cret", "second-s3cret")

both = pytest.mark.parametrize("framework", ["fastapi", "flask"])


def a_delivery(number: int, secret: str = SECRETS[0]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of one push of one commit."""
    old, new = kit.hexadecimal(f"{number - 1}"), kit.hexadecimal(f"{number}")
    body = json.dumps(kit.push("acme/api", kit.updated("main", old, new, [kit.commit(new, old)]))).encode()
    return body, kit.headers(kit.PUSH, request_id=f"{number}", **kit.signature(body, secret))


def up(served: Served) -> Served:
    """Wait until workers are there: connections wait for them from the first line on."""
    assert send(served, method="GET", path="/healthz").status == 200
    return served


def connected(served: Served, data: bytes) -> socket.socket:
    """Return a connection on which something was sent; nothing of the answer is read."""
    address = urlsplit(served.url)
    connection = socket.create_connection((str(address.hostname), address.port or 80), timeout=PATIENCE)
    connection.sendall(data)
    return connection


def beginning(served: Served, number: int) -> tuple[bytes, bytes]:
    """Return a request in two pieces, cut in the middle of its body."""
    body, headers = a_delivery(number)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(body))}.items())
    return f"POST {served.path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body[:50], body[50:]


@both
def test_slow_and_silent_senders_keep_nobody_waiting(place: Any, framework: str) -> None:
    """Beside forty bodies that trickle in, and as many connections that say nothing or half a header, others are answered."""
    server = place.serve("--with", framework)
    with place.storage() as storage, contextlib.ExitStack() as stack:
        served = up(server.served(storage))
        requests = [beginning(served, number) for number in range(40)]
        slow = [stack.enter_context(connected(served, begun)) for begun, _ in requests]
        for _ in range(40):
            stack.enter_context(connected(served, b""))
        for _ in range(10):
            stack.enter_context(connected(served, b"POST /webhooks HTTP/1.1\r\nX-"))
        assert send(served, *a_delivery(100)).body["status"] == "stored"
        assert send(served, method="GET", path="/healthz").status == 200
        for connection, (_, rest) in zip(slow, requests, strict=True):
            connection.sendall(rest)
        assert {connection.recv(12) for connection in slow} == {b"HTTP/1.1 202"}
        assert len(list(storage.deliveries())) == 41
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("framework", "sent"),
    [
        ("fastapi", beginning),
        ("flask", beginning),
        ("flask", lambda *_: (b"POST /webhooks HTTP/1.1\r\nX-", b"")),
    ],
    ids=["half a body, fastapi", "half a body, flask", "half a header, flask"],
)
def test_sender_that_vanished_is_given_up(place: Any, framework: str, sent: Any) -> None:
    """After ten seconds the connection is closed; SIGTERM does not wait for it, and the log has no traceback."""
    server = place.serve("--with", framework)
    with place.storage() as storage:
        served = up(server.served(storage))
        with connected(served, sent(served, 1)[0]) as connection:
            connection.settimeout(2 * PATIENCE)
            time.sleep(0.5)  # what no worker has accepted by then is nobody's
            server.process.send_signal(signal.SIGTERM)
            while connection.recv(1000):
                pass
        assert server.process.wait(PATIENCE) == 0
        assert list(storage.deliveries()) == []
    assert "Traceback" not in place.logs() + server.said


@pytest.mark.parametrize(("framework", "workers"), [("fastapi", "4"), ("flask", "4")])
def test_hundred_senders_at_once(place: Any, framework: str, workers: str) -> None:
    """Four workers share one SQLite file: each delivery is stored once, however many come at the same time."""
    server = place.serve("--with", framework, "--workers", workers)
    with place.storage() as storage, ThreadPoolExecutor(100) as pool:
        served = server.served(storage)
        answers = list(pool.map(lambda number: send(served, *a_delivery(number % 150)), range(300)))
        told = Counter((answer.status, answer.body["status"]) for answer in answers)
        assert told == {(202, "stored"): 150, (202, "duplicate"): 150}
        assert [record.times for record in storage.deliveries()] == [2] * 150
        assert len(list(storage.commits())) == 150
    assert server.stop() == 0


@both
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /webhooks/bitbucket HTTP/9.9\r\n\r\n",
        b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nX-Many: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nX-\x00: x\r\n\r\n",
        b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ],
    ids=["TLS", "half a line", "another version", "huge header", "NUL in a header", "two lengths"],
)
def test_what_is_no_request_is_refused(place: Any, framework: str, sent: bytes) -> None:
    """It is a 4xx or the connection is closed; the server says no traceback and goes on."""
    server = place.serve("--with", framework)
    with place.storage() as storage:
        served = server.served(storage)
        with contextlib.suppress(ConnectionError), contextlib.ExitStack() as stack:
            answer = stack.enter_context(connected(served, sent)).recv(100)
            assert re.match(rb"HTTP/1\.\d 4|$", answer), answer
        assert send(served, *a_delivery(1)).body["status"] == "stored"
    assert server.stop() == 0
    assert "Traceback" not in place.logs() + server.said


@both
def test_other_addresses_are_none(place: Any, framework: str) -> None:
    """Who delivers follows no redirection, so none is given: a slash too many, a prefix or the root are a 404."""
    server = place.serve("--with", framework)
    with place.storage() as storage:
        served = server.served(storage)
        for path in (f"{served.path}/", f"{served.path}/x", f"/x{served.path}", "/", "/docs", "/openapi.json"):
            assert send(served, *a_delivery(1), path=path).status == 404, path
        assert send(served, *a_delivery(1), path=f"{served.path}?x=1").body["status"] == "stored"


@both
def test_secret_is_rotated(place: Any, framework: str) -> None:
    """As the runbook says: new and old together, restart, change it at the service, new alone, restart; nothing is refused."""
    answers = []
    for number, (settings, secret) in enumerate(
        [
            (["${FIRST}"], 0),
            (["${SECOND}", "${FIRST}"], 0),
            (["${SECOND}", "${FIRST}"], 1),
            (["${SECOND}"], 1),
            (["${SECOND}"], 0),
        ]
    ):
        place.configure({"webhook_secret": settings})
        server = place.serve("--with", framework)
        with place.storage() as storage:
            answers.append(send(server.served(storage), *a_delivery(number, SECRETS[secret])).status)
        assert server.stop() == 0
    assert answers == [202, 202, 202, 202, 401]


@both
def test_held_database_is_503_in_time_and_stored_at_the_next_attempt(
    place: Any, workspace: Any, framework: str
) -> None:
    """The service gets its answer before it gives up, repeats what was a 5xx, and nothing is lost."""
    server = place.serve("--with", framework, "--workers", "2")
    workspace.sandbox.stop()
    workspace.sandbox = Sandbox(workspace.repositories, users={"bot@acme.example": "s3cret-token"}, webhook_pause=0.5)
    with workspace.sandbox, place.storage() as storage:
        served = up(server.served(storage))
        hook = {"url": served.url + served.path, "active": True, "secret": SECRETS[0], "events": ["repo:push"]}
        address = f"{workspace.sandbox.url}/workspaces/acme/hooks"
        assert httpx.post(address, json=hook, auth=("bot@acme.example", "s3cret-token")).status_code == 201
        api = workspace.add("api")
        workspace.sandbox.flush()
        with contextlib.closing(sqlite3.connect(storage.path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            sha = api.commit("main", "RC-1 work")
            while not (sent := workspace.sandbox.deliveries) or not sent[0].attempts:
                time.sleep(0.05)
            holder.execute("ROLLBACK")
        workspace.sandbox.flush()
        (delivery,) = workspace.sandbox.deliveries
        assert ([attempt.status for attempt in delivery.attempts], delivery.outcome) == ([503, 202], "delivered")
        assert delivery.attempts[0].seconds < PATIENCE
        assert [row["hash"] for row in storage.commits()] == [sha]
        assert [record.status for record in storage.deliveries()] == ["stored"]
    assert server.stop() == 0


@both
def test_limit_is_a_mebibyte_by_default(place: Any, framework: str) -> None:
    """A body of just that size is stored, one of a byte more is refused, declared or in chunks."""
    place.configure(webhooks={})
    server = place.serve("--with", framework)
    body, _ = a_delivery(1)
    with place.storage() as storage:
        served = server.served(storage)
        for length, chunked, expected in (
            (1 << 20, True, 202),
            ((1 << 20) + 1, True, 413),
            ((1 << 20) + 1, False, 413),
        ):
            padded = body + b" " * (length - len(body))
            headers = kit.headers(kit.PUSH, **kit.signature(padded, SECRETS[0]))
            assert send(served, padded, headers, chunked=chunked).status == expected
