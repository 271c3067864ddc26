"""FastAPI: the contract in a real uvicorn, and what is particular to FastAPI."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest
import releasecopilot_webhook_fastapi
from fastapi import Depends, FastAPI, HTTPException
from releasecopilot_bitbucket import testing
from releasecopilot_webhook_fastapi import WebhookRouter, bitbucket_webhook_router, register_bitbucket_webhook

from releasecopilot_core import Commit, CommitStorage, hookimpl, open_webhook
from releasecopilot_core.testing import Served, WebhookContract

SECRETS = ("first-s3cret", "second-s3cret")
LIMIT = 40_000


@pytest.fixture(scope="module")
def server(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an application that registered the webhook."""
    path = tmp_path_factory.mktemp("fastapi") / "commits.db"
    app = FastAPI()
    with CommitStorage(path) as storage, CommitStorage(path) as seen:
        register_bitbucket_webhook(
            app, storage=storage, secret=list(SECRETS), settings={"webhooks": {"body_limit": LIMIT}}
        )
        with serving(app) as url:
            yield Served(url=url, path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen)


class TestContract(WebhookContract):
    """Everything that is asked of a framework, in uvicorn."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, server: Served) -> Served:
        return server


# --- what is particular to FastAPI ---------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "a-token")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "commits.db") as storage:
        yield storage


def deliver(url: str, path: str = "/webhooks/bitbucket", name: str = "acme/api") -> tuple[int, Any]:
    """Send one push with the first secret."""
    old, new = testing.hexadecimal("a"), testing.hexadecimal("b")
    body = json.dumps(testing.push(name, testing.updated("main", old, new, [testing.commit(new, old)]))).encode()
    return ask(url, path, body, testing.headers(testing.PUSH, **testing.signature(body, SECRETS[0])))


def ask(url: str, path: str, body: bytes | None = None, headers: Any = None) -> tuple[int, Any]:
    """Send a request; returns status and JSON body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class Ours(FastAPI):
    """An application class of somebody's own."""


def test_subclass_with_its_own_lifespan(serving: Any, storage: CommitStorage) -> None:
    """Its lifespan runs as before, and the webhook's with it: repairs start and end with the server."""
    events = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        events.append("begin")
        yield
        events.append("end")

    app = Ours(lifespan=lifespan)
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0], settings=REPAIRING)
    assert repairers() == 0
    with serving(app) as url:
        assert ask(url, "/healthz") == (200, {"status": "ok", "store": "ok", "repairs": "on"})
        assert repairers() == 1
        assert events == ["begin"]
    assert events == ["begin", "end"]
    assert repairers() == 0


def test_router_is_composed_with_a_prefix(serving: Any, storage: CommitStorage) -> None:
    """Dependencies that guard the application's own routes do not keep deliveries out."""

    def forbid() -> None:
        raise HTTPException(403)

    app = FastAPI(dependencies=[Depends(forbid)])
    router = bitbucket_webhook_router(storage=storage, secret=SECRETS[0], path="/hooks", healthz=None)
    app.include_router(router, prefix="/api")
    app.add_api_route("/guarded", forbid)
    with serving(app) as url:
        assert deliver(url, "/api/hooks")[0] == 202
        assert ask(url, "/guarded")[0] == 403
        assert ask(url, "/api/healthz")[0] == 404
        assert ask(url, "/openapi.json")[1]["paths"].keys() == {"/guarded"}
    assert router.webhook.path == "/webhooks/bitbucket"


def test_mounted_application_starts_with_its_first_request(serving: Any, storage: CommitStorage) -> None:
    """Its lifespan is never run, which must not cost the repairs."""
    inner, outer = FastAPI(), FastAPI()
    webhook = register_bitbucket_webhook(inner, storage=storage, secret=SECRETS[0], settings=REPAIRING)
    outer.mount("/inner", inner)
    with serving(outer) as url, contextlib.closing(webhook):
        assert deliver(url, "/inner/webhooks/bitbucket")[0] == 202
        assert ask(url, "/inner/healthz")[1]["repairs"] == "on"


def test_application_may_serve_twice(serving: Any, tmp_path: Path) -> None:
    """As test clients do; a store that the webhook opened itself is opened again."""
    app = FastAPI()
    register_bitbucket_webhook(app, database=tmp_path / "own.db", secret=SECRETS[0])
    for status in ("stored", "duplicate"):
        with serving(app) as url:
            assert deliver(url)[1]["status"] == status


def test_two_webhooks_in_one_application(serving: Any, tmp_path: Path) -> None:
    """Each has its path, its secret and its database."""
    app = FastAPI()
    for name, secret in zip(("one", "two"), SECRETS, strict=True):
        register_bitbucket_webhook(app, database=tmp_path / f"{name}.db", secret=secret, path=f"/{name}")
    with serving(app) as url:
        assert (deliver(url, "/one")[0], deliver(url, "/two")[0]) == (202, 401)


def test_waiting_for_the_database_does_not_block_others(serving: Any, storage: CommitStorage) -> None:
    """While a delivery waits for a lock, the event loop answers everybody else."""
    app = FastAPI()

    async def ping() -> dict[str, str]:
        return {}

    app.add_api_route("/ping", ping)
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0])
    with serving(app) as url, contextlib.closing(sqlite3.connect(storage.path, isolation_level=None)) as holder:
        assert ask(url, "/ping")[0] == 200
        holder.execute("BEGIN IMMEDIATE")
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(deliver(url)))
        waiting.start()
        time.sleep(0.2)
        for _ in range(20):
            assert ask(url, "/ping")[0] == 200
        assert answers == []
        holder.execute("ROLLBACK")
        waiting.join()
        assert answers[0][0] == 202


def test_delivery_that_hangs_keeps_nobody_for_long(serving: Any, storage: CommitStorage) -> None:
    """One thread works for all that wait; while it hangs in somebody's extractor, others do."""
    begun, hold = threading.Event(), threading.Event()

    class Hanging:
        @hookimpl
        def rc_story_keys(self, commit: Commit) -> list[str]:
            if any(seen.repository == testing.repository("acme/hangs")["uuid"] for seen in commit.sightings):
                begun.set()
                assert hold.wait(30)
            return []

    app = FastAPI()
    webhook = open_webhook("bitbucket", storage=storage, secret=SECRETS[0], plugins={"hanging": Hanging()})
    app.include_router(WebhookRouter(webhook))
    with serving(app) as url, ThreadPoolExecutor(max_workers=9) as pool:
        hangs = pool.submit(deliver, url, name="acme/hangs")
        assert begun.wait(10)
        try:
            others = [pool.submit(deliver, url, name=f"acme/{number}") for number in range(8)]
            assert {answer.result(8)[0] for answer in others} == {202}
            assert not hangs.done()
        finally:
            hold.set()
        assert hangs.result(8)[0] == 202
    assert len(list(storage.deliveries(status="stored"))) == 9


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), address.port or 80), timeout=5)


def test_declared_length_is_enough_to_refuse(serving: Any, storage: CommitStorage) -> None:
    """Nothing of a body that says how large it is need be read."""
    app = FastAPI()
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0])
    with serving(app) as url:
        for length in (1 << 40, 10**18 - 1):
            with connected(url) as sender:
                sender.sendall(
                    f"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
                )
                assert sender.recv(12) == b"HTTP/1.1 413"


def test_endless_body_is_refused_in_the_middle(serving: Any, storage: CommitStorage) -> None:
    """Of a body in chunks no more is kept than the limit, however long it goes on."""
    app = FastAPI()
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0], settings={"webhooks": {"body_limit": LIMIT}})
    with serving(app) as url:
        with connected(url) as sender:
            sender.sendall(b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(LIMIT // 4096 + 1):
                sender.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
            assert sender.recv(12) == b"HTTP/1.1 413"


def test_names_are_resolved_when_they_are_used() -> None:
    """The package is what plugins are found by, so importing it costs nothing."""
    script = "import sys, releasecopilot_webhook_fastapi as p; print('fastapi' in sys.modules, *p.__all__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "WebhookRouter", "bitbucket_webhook_router", "register_bitbucket_webhook"]
    with pytest.raises(AttributeError, match="register_gitbucket_webhook"):
        _ = releasecopilot_webhook_fastapi.register_gitbucket_webhook


#: Credentials that are never used: nothing is marked.
REPAIRING = {
    "bitbucket": {"workspace": "acme", "credentials": {"access_token": "${A_TOKEN}"}, "api_url": "http://127.0.0.1:9"}
}


def repairers() -> int:
    """Return how many threads repair."""
    return sum(thread.name == "releasecopilot-repairs" for thread in threading.enumerate())


def test_examples_of_the_page_run(serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows takes deliveries at both addresses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITBUCKET_WEBHOOK_SECRET", SECRETS[0])
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    with names["storage"], serving(names["app"]) as url:
        assert deliver(url) == (202, {"status": "stored", "delivery": ANY})
        assert deliver(url, "/internal/hooks")[0] == 401
