"""Flask: the contract in gunicorn and waitress, and what is particular to Flask."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest
import releasecopilot_webhook_flask
from flask import Flask, request
from releasecopilot_bitbucket import testing
from releasecopilot_webhook_flask import bitbucket_webhook_blueprint, register_bitbucket_webhook

from releasecopilot_core import CommitStorage
from releasecopilot_core.testing import Served, WebhookContract

SECRETS = ("first-s3cret", "second-s3cret")
LIMIT = 40_000

EMBEDDED = f"""
from flask import Flask
from releasecopilot_core import CommitStorage
from releasecopilot_webhook_flask import register_bitbucket_webhook

app = Flask(__name__)
storage = CommitStorage("commits.db")
register_bitbucket_webhook(app, storage=storage, secret={SECRETS}, settings={{"webhooks": {{"body_limit": {LIMIT}}}}})
"""


@pytest.fixture(scope="module")
def in_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a file as people do: two worker processes, which each open the database."""
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "embedded.py").write_text(EMBEDDED)
    (folder / "gunicorn.conf.py").write_text("control_socket_disable = True  # later versions have one")
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--workers=2",
        "--threads=4",
        "--bind=127.0.0.1:0",
    ]
    log = folder / "log.txt"
    with log.open("w") as stderr, subprocess.Popen([*command, "embedded:app"], cwd=folder, stderr=stderr) as process:
        try:
            while not (found := re.search(r"Listening at: (http://\S+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            with CommitStorage(folder / "commits.db") as seen:
                yield Served(url=found[1], path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen)
        finally:
            process.terminate()
            process.wait(20)
    assert process.returncode == 0
    assert not any(secret in log.read_text() for secret in SECRETS)


@pytest.fixture(scope="module")
def in_waitress(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an application that registered the webhook."""
    path = tmp_path_factory.mktemp("waitress") / "commits.db"
    app = Flask(__name__)
    with CommitStorage(path) as storage, CommitStorage(path) as seen:
        register_bitbucket_webhook(
            app, storage=storage, secret=list(SECRETS), settings={"webhooks": {"body_limit": LIMIT}}
        )
        with serving(app) as url:
            yield Served(url=url, path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen)


class TestContractInGunicorn(WebhookContract):
    """Everything that is asked of a framework, in gunicorn."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, in_gunicorn: Served) -> Served:
        return in_gunicorn


class TestContractInWaitress(WebhookContract):
    """Everything that is asked of a framework, in waitress."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, in_waitress: Served) -> Served:
        return in_waitress


# --- what is particular to Flask -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "a-token")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "commits.db") as storage:
        yield storage


def a_push() -> tuple[bytes, dict[str, str]]:
    """Return body and headers of one push with the first secret."""
    old, new = testing.hexadecimal("a"), testing.hexadecimal("b")
    body = json.dumps(testing.push("acme/api", testing.updated("main", old, new, [testing.commit(new, old)]))).encode()
    return body, testing.headers(testing.PUSH, **testing.signature(body, SECRETS[0]))


def deliver(url: str, path: str = "/webhooks/bitbucket") -> tuple[int, Any]:
    return ask(url, path, *a_push())


def ask(url: str, path: str, body: bytes | None = None, headers: Any = None) -> tuple[int, Any]:
    """Send a request; returns status and JSON body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if answer.headers["content-type"] == "application/json" else text
    finally:
        connection.close()


#: Credentials that are never used: nothing is marked.
REPAIRING = {
    "bitbucket": {"workspace": "acme", "credentials": {"access_token": "${A_TOKEN}"}, "api_url": "http://127.0.0.1:9"}
}


def repairers() -> int:
    """Return how many threads repair."""
    return sum(thread.name == "releasecopilot-repairs" for thread in threading.enumerate())


class Ours(Flask):
    """An application class of somebody's own."""


def test_repairs_start_in_the_process_that_serves(serving: Any, storage: CommitStorage) -> None:
    """With the first request, or when told; not when it is registered, before a server forks; and they end when closed."""
    app = Ours("app")
    webhook = register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0], settings=REPAIRING)
    assert repairers() == 0
    with serving(app) as url:
        assert ask(url, "/healthz") == (200, {"status": "ok", "store": "ok", "repairs": "on"})
        assert repairers() == 1
    webhook.close()
    assert repairers() == 0
    webhook.start()
    assert repairers() == 1
    webhook.close()


def test_application_limit_does_not_apply(serving: Any, storage: CommitStorage) -> None:
    """A small MAX_CONTENT_LENGTH for forms keeps no delivery out."""
    app = Flask("app")
    app.config["MAX_CONTENT_LENGTH"] = 10
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0])
    with serving(app) as url:
        assert deliver(url)[0] == 202


def test_body_that_was_read_before_is_the_same(serving: Any, storage: CommitStorage) -> None:
    """A logger in `before_request` that looks at the body does not take it away."""
    app = Flask("app")
    seen = []
    app.before_request(lambda: seen.append(len(request.get_data())))
    register_bitbucket_webhook(app, storage=storage, secret=SECRETS[0])
    with serving(app) as url:
        assert deliver(url)[0] == 202
        body, headers = a_push()
        assert (
            ask(url, "/webhooks/bitbucket", body, {**headers, "Content-Type": "application/x-www-form-urlencoded"})[0]
            == 202
        )
    assert seen == [len(body)] * 2


def test_blueprint_is_composed_with_a_prefix(serving: Any, tmp_path: Path) -> None:
    """Two of them in one application have their own paths, secrets and databases; another's health page stays."""
    app = Flask("app")
    app.add_url_rule("/healthz", view_func=lambda: ("mine", 200, {"Content-Type": "text/plain"}))
    for name, secret in zip(("one", "two"), SECRETS, strict=True):
        blueprint = bitbucket_webhook_blueprint(database=tmp_path / f"{name}.db", secret=secret, path=f"/{name}")
        app.register_blueprint(blueprint, url_prefix="/api")
    register_bitbucket_webhook(app, database=tmp_path / "three.db", secret=SECRETS[0])
    with serving(app) as url:
        assert deliver(url, "/api/one")[0] == 202
        assert deliver(url, "/api/two")[0] == 401
        assert deliver(url)[0] == 202
        assert ask(url, "/healthz") == (200, b"mine")
        assert ask(url, "/api/healthz")[1]["store"] == "ok"


def test_declared_length_is_enough_to_refuse(in_gunicorn: Served) -> None:
    """Nothing of a body that says how large it is need be read."""
    host, _, port = urlsplit(in_gunicorn.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sender:
        sender.sendall(b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n")
        assert sender.recv(12) == b"HTTP/1.1 413"


def test_endless_body_is_refused_in_the_middle(in_gunicorn: Served) -> None:
    """Of a body in chunks no more is kept than the limit, however long it goes on."""
    host, _, port = urlsplit(in_gunicorn.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sender:
        sender.sendall(b"POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(LIMIT // 4096 + 1):
            sender.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert sender.recv(12) == b"HTTP/1.1 413"


def test_waitress_serves_where_there_is_no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `rc serve` does there: one process, which says that workers change nothing, and ends when interrupted."""
    script = (
        "import signal; from releasecopilot_core import Serving; from releasecopilot_webhook_flask.in_waitress import serve\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "serving = Serving(service='bitbucket', path='/hooks', database='commits.db', port=0, workers=2, insecure=True)\n"
        "listener = serving.listen(); print(listener.getsockname()[1], flush=True)\n"
        "serve(serving, listener); print('ended')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert deliver(url, "/hooks")[0] == 202
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended\n")
    assert "--workers 2 changes nothing" in err


def test_names_are_resolved_when_they_are_used() -> None:
    """The package is what plugins are found by, so importing it costs nothing."""
    script = "import sys, releasecopilot_webhook_flask as p; print('flask' in sys.modules, *p.__all__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "False",
        "WebhookBlueprint",
        "bitbucket_webhook_blueprint",
        "register_bitbucket_webhook",
    ]
    with pytest.raises(AttributeError, match="register_gitbucket_webhook"):
        _ = releasecopilot_webhook_flask.register_gitbucket_webhook


def test_examples_of_the_page_run(serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows takes deliveries at both addresses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITBUCKET_WEBHOOK_SECRET", SECRETS[0])
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    with names["storage"], serving(names["app"]) as url:
        assert deliver(url) == (202, {"status": "stored", "delivery": ANY})
        assert deliver(url, "/internal/hooks")[0] == 401
