"""`rc serve bitbucket-webhook`: the contract with two workers, what it says, what it refuses, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from releasecopilot_bitbucket import testing as kit

from releasecopilot_core._cli import run
from releasecopilot_core.testing import Served, WebhookContract
from releasecopilot_core.testing.webhooks import send

FRAMEWORKS = ("fastapi", "flask")
SECRET = "first-s3cret"

both = pytest.mark.parametrize("framework", FRAMEWORKS)


class TestContract(WebhookContract):
    """Two uvicorn processes on one database; how gunicorn's do is tested with the plugin."""

    @pytest.fixture
    def kit(self) -> Any:
        return kit

    @pytest.fixture
    def served(self, with_two_workers: Served) -> Served:
        return with_two_workers


def a_delivery(number: int, name: str = "acme/api") -> tuple[bytes, dict[str, str]]:
    """Return body and headers of one push of one commit."""
    old, new = kit.hexadecimal(f"{number - 1}"), kit.hexadecimal(f"{number}")
    body = json.dumps(kit.push(name, kit.updated("main", old, new, [kit.commit(new, old, message="x" * 500)]))).encode()
    return body, kit.headers(kit.PUSH, request_id=f"{name} {number}", **kit.signature(body, SECRET))


# --- what it says --------------------------------------------------------------------------------------------


@both
def test_first_line_logs_and_end(place: Any, framework: str) -> None:
    """It says where, with what proof and whether it repairs; logs carry Phoenix times and no secret; it ends with 0."""
    server = place.serve("--with", framework, "--access-log", "--path", "/hooks/here")
    assert re.fullmatch(
        rf"rc: Taking bitbucket deliveries at http://127\.0\.0\.1:\d+/hooks/here \({framework}\); each must prove that it "
        r"knows the secret; what they lack is left to the next scan\. Ctrl-C ends\.",
        server.first_line,
    )
    with place.storage() as storage:
        served = server.served(storage)
        assert send(served, *a_delivery(1)).status == 202
        assert send(served, a_delivery(2)[0], {**a_delivery(2)[1], **kit.proof("wr0ng")}).status == 401
        assert send(served, method="GET", path="/healthz").status == 200
    assert server.stop() == 0
    logs = place.logs()
    for line in logs.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-07:00 (INFO|WARNING) [\w.]+: ", line), line
    assert "POST /hooks/here" in logs
    assert "delivery" in logs
    assert "was refused" in logs
    assert "was refused" in server.said
    for secret in (SECRET, "second-s3cret", "wr0ng", "sha256="):
        assert secret not in logs + server.said


@both
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.08, 0.12, 0.3])
def test_a_signal_ends_it_like_a_server(place: Any, framework: str, number: int, seconds: float) -> None:
    """Also while it still starts: the exit code says that it ended as it should, and nothing is left on stderr."""
    server = place.serve("--with", framework)
    time.sleep(seconds)
    assert server.stop(number) == 0
    assert server.said.count("\n") == 1


def test_without_a_secret_it_says_so(place: Any) -> None:
    """With --insecure everybody may deliver, and the first line shouts it."""
    place.configure({"webhook_secret": []})
    server = place.serve("--insecure")
    assert "ANYBODY MAY DELIVER" in server.first_line
    with place.storage() as storage:
        body, headers = a_delivery(1)
        headers.pop("X-Hub-Signature")
        assert send(server.served(storage), body, headers).body["status"] == "stored"


def test_ipv6_address_can_be_had(place: Any) -> None:
    """The line can be copied into a browser."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    for framework in FRAMEWORKS:
        server = place.serve("--host", "::1", "--with", framework)
        assert server.url.startswith("http://[::1]:")
        with place.storage() as storage:
            assert send(server.served(storage), method="GET", path="/healthz").status == 200


# --- what it refuses -----------------------------------------------------------------------------------------


@pytest.fixture
def refused(place: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the command in this process and returns its one line of complaint."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("FIRST", SECRET)
    monkeypatch.setenv("SECOND", SECRET)

    def refused(*arguments: str) -> str:
        before = {path for path in place.folder.rglob("*") if path.is_file()}
        assert run(["serve", *arguments]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert re.fullmatch(r"rc: [^\n]+\n", err), err
        assert SECRET not in err
        assert {path for path in place.folder.rglob("*") if path.is_file()} == before
        return str(err)

    return refused


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bitbucket-webhook", "--with", "django"], "no web framework named 'django'; installed: fastapi, flask"),
        (["bitbucket-webhok"], "no command 'bitbucket-webhok'; did you mean 'bitbucket-webhook'?"),
        (["bitbucket-webhook", "--port", "70000"], "70000 is not in the range"),
        (["bitbucket-webhook", "--workers", "0"], "0 is not in the range"),
        (["bitbucket-webhook", "--path", "hooks"], "'hooks' is not a path such as"),
        (["bitbucket-webhook", "--path", "/{hooks}"], "is not a path such as"),
        (["bitbucket-webhook", "--config", "missing.yaml"], "missing.yaml: no such settings file"),
    ],
)
def test_wrong_use_is_one_line(refused: Callable[..., str], arguments: list[str], complaint: str) -> None:
    """What is wrong and what to do; nothing is written."""
    assert complaint in refused(*arguments)


def test_no_secret_is_refused(place: Any, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not configured, or not set: the line says which setting."""
    monkeypatch.delenv("SECOND")
    assert "config/settings.yaml: bitbucket.webhook_secret: environment variable SECOND" in refused("bitbucket-webhook")
    place.configure({"webhook_secret": []})
    assert "config/settings.yaml: bitbucket.webhook_secret is not set" in refused("bitbucket-webhook")
    (place.folder / "config" / "settings.yaml").unlink()
    assert "bitbucket.webhook_secret is not set" in refused("bitbucket-webhook", "--database", "other.db")


def test_wrong_settings_are_refused(place: Any, refused: Callable[..., str]) -> None:
    """Unknown keys, wrong limits, another program's database."""
    place.configure(webhook={"keep_days": 1})
    assert "did you mean 'webhooks'?" in refused("bitbucket-webhook")
    place.configure(webhooks={"body_limit": 0})
    assert "webhooks: body_limit must be above 0" in refused("bitbucket-webhook")
    with sqlite3.connect(place.folder / "theirs.db") as db:
        db.execute("CREATE TABLE t (x)")
    place.configure()
    assert "of another program" in refused("bitbucket-webhook", "--database", "theirs.db")


def test_address_that_cannot_be_had_is_refused(place: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """In use, not this machine's, or no address at all."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("FIRST", SECRET)
    monkeypatch.setenv("SECOND", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments in (
            ["--port", port],
            ["--host", "203.0.113.7"],
            ["--host", "no such host"],
            ["--host", "x" * 300],
        ):
            assert run(["serve", "bitbucket-webhook", *arguments]) == 2
            assert re.fullmatch(r"rc: .*: cannot listen there \(.+\); .*\n", capfd.readouterr().err)


def test_missing_framework_is_told(place: Any) -> None:
    """Without any, the line says what to install; with one, that one serves."""
    plugins = "webhook-fastapi,webhook-flask"
    done = place.rc("serve", "bitbucket-webhook", RC_DISABLED_PLUGINS=plugins)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"rc: no web framework is installed; pip install [^\n]+\n", done.stderr)
    place.environment["RC_DISABLED_PLUGINS"] = "webhook-fastapi"
    assert "(flask)" in place.serve().first_line


# --- how it ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("framework", "workers"), [("fastapi", "1"), ("fastapi", "2"), ("flask", "2")])
def test_requests_that_were_begun_are_answered(place: Any, framework: str, workers: str, number: int) -> None:
    """A signal comes in the middle of a body: that delivery is stored and answered, then the server is gone."""
    server = place.serve("--with", framework, "--workers", workers)
    body, headers = a_delivery(1)
    head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(body))}.items())
    address = urlsplit(server.url)
    with place.storage() as storage:
        assert send(server.served(storage), *a_delivery(2)).status == 202
        with socket.create_connection((address.hostname, address.port), timeout=20) as half:
            half.sendall(f"POST {server.path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body[:100])
            time.sleep(0.3)
            # A terminal sends Ctrl-C to all processes of the command.
            to = os.killpg if number == signal.SIGINT else os.kill
            to(server.process.pid, number)
            time.sleep(0.5)
            half.sendall(body[100:])
            answer = half.recv(1000)
        assert answer.startswith(b"HTTP/1.1 202"), answer
        assert server.process.wait(20) == 0
        assert {record.request_id for record in storage.deliveries()} == {"acme/api 1", "acme/api 2"}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=1)


@both
def test_what_was_answered_is_stored_after_a_kill(place: Any, framework: str) -> None:
    """SIGKILL hits all processes under load: each delivery that was answered 202 is there, and a restart goes on."""
    server = place.serve("--with", framework, "--workers", "2")
    storage = place.storage()
    served = server.served(storage)
    answered: list[int] = []
    numbers = iter(range(100_000))
    lock = threading.Lock()

    def load() -> None:
        while True:
            with lock:
                number = next(numbers)
            try:
                if send(served, *a_delivery(number, "acme/load")).status == 202:
                    answered.append(number)
            except (OSError, http.client.HTTPException):  # it is gone, or an answer was cut off
                return

    with storage, ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load) for _ in range(6)]
        while len(answered) < 150:
            time.sleep(0.01)
        server.kill()
        for done in loads:
            done.result()
        assert len(answered) >= 150
        again = place.serve("--with", framework)
        kept = {record.request_id for record in storage.deliveries()}
        assert {f"acme/load {number}" for number in answered} <= kept
        stored = {row["hash"] for row in storage.commits(repositories=["acme/load"])}
        assert {kit.hexadecimal(str(number)) for number in answered} <= stored
        # Neither a record without its commits nor commits without their record: it was one transaction.
        assert stored == {kit.hexadecimal(request_id.removeprefix("acme/load ")) for request_id in kept if request_id}
        last = answered[-1]
        assert send(again.served(storage), *a_delivery(last, "acme/load")).body["status"] == "duplicate"
        assert send(again.served(storage), *a_delivery(100_001, "acme/load")).body["status"] == "stored"
        assert again.stop() == 0


def test_two_servers_share_one_database(place: Any) -> None:
    """FastAPI and Flask, two workers each, take the same deliveries at once: each is stored once."""
    servers = [place.serve("--with", framework, "--workers", "2") for framework in FRAMEWORKS]
    with place.storage() as storage, ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda number: send(servers[number % 2].served(storage), *a_delivery(number // 2)).body["status"],
                range(200),
            )
        )
        assert (answers.count("stored"), answers.count("duplicate")) == (100, 100)
        assert [record.times for record in storage.deliveries()] == [2] * 100
        assert len(list(storage.commits())) == 100
