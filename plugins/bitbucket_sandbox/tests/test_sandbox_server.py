"""The server: start and stop, connections, what is served, and who hears of requests."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.server import NotARepository, Sandbox, UnknownFault


def test_stop_leaves_nothing_behind(repository):
    """After the with statement neither threads nor the address remain, though a client keeps its connection."""
    before = set(threading.enumerate())
    with httpx.Client(trust_env=False) as client:
        with Sandbox(repository.path) as sandbox:
            url = sandbox.url
            assert client.get(f"{url}/user").status_code == 200
        assert set(threading.enumerate()) == before
        with pytest.raises(httpx.ConnectError):
            client.get(f"{url}/user")


def test_start_and_stop_twice(repository):
    """Starting or stopping a second time does nothing, and a stopped sandbox can be started again."""
    sandbox = Sandbox(repository.path)
    with pytest.raises(RuntimeError, match="not started"):
        _ = sandbox.url
    for _ in range(2):
        sandbox.start()
        sandbox.start()
        assert httpx.get(f"{sandbox.url}/user", trust_env=False).status_code == 200
        sandbox.stop()
        sandbox.stop()


def test_stop_does_not_wait_for_slow_answers(repository):
    """An answer that would take an hour is sent at once when the sandbox stops."""
    with ThreadPoolExecutor(1) as pool, Sandbox(repository.path, faults={"slow": "3600"}) as sandbox:
        asked = pool.submit(httpx.get, f"{sandbox.url}/user", trust_env=False, timeout=30)
        while not sandbox._server._open:
            pass
        sandbox.stop()
        assert asked.result().status_code == 200


def test_connections_are_kept(repository, api):
    """Several requests share one connection, those with bodies and errors included."""
    repository.commit()
    with socket.create_connection(api.sandbox.url[7:].split("/")[0].split(":")) as connection:
        reader = connection.makefile("rb")
        for head, body in (
            ("POST /2.0/repositories/acme/none/commits", "include=x"),
            ("GET /2.0/repositories/acme/api", ""),
            ("PUT /2.0/nothing", "ignored"),
            ("HEAD /2.0/user", ""),
            ("GET /2.0/user", ""),
        ):
            connection.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            assert reader.readline().startswith(b"HTTP/1.1 ")
            length = 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.decode().partition(":")
                length = int(value) if name == "Content-Length" else length
                assert name != "Connection"
            assert head.startswith("HEAD") or len(reader.read(length)) == length > 0


def test_bodies_in_chunks(repository, api):
    """A body without a length is read chunk by chunk, and the connection goes on."""
    shas = repository.line(3)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    for _ in range(2):
        answer = api.post("commits", content=iter([b"incl", b"ude=main&excl", f"ude={shas[1]}".encode()]), headers=form)
        assert [value["hash"] for value in answer.json()["values"]] == shas[:1]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: -1", b""),
        ("Content-Length: x", b""),
        ("Transfer-Encoding: gzip", b""),
        ("Transfer-Encoding: chunked", b"zz\r\n"),
        ("Transfer-Encoding: chunked", b"3\r\nabcdef\r\n"),
        ("Transfer-Encoding: chunked", b"3\r\nab"),
        ("Content-Length: 10", b"abc"),
    ],
)
def test_bodies_that_are_none(repository, api, head, body, capfd):
    """A body whose end cannot be told ends its connection, and nothing else."""
    with socket.create_connection(api.sandbox.git_url[7:].split(":"), timeout=10) as connection:
        form = "Content-Type: application/x-www-form-urlencoded"
        start = f"POST /2.0/repositories/acme/api/commits HTTP/1.1\r\nHost: x\r\n{form}\r\n{head}\r\n\r\n"
        connection.sendall(start.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert api.get("").status_code == 200
    assert capfd.readouterr().err == ""


def test_many_clients_at_once(repository, api):
    """Answers to many threads are the same, and every request is recorded."""
    shas = repository.line(40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: api.hashes(pagelen=15), range(24)))
    assert found == [shas] * 24
    assert len(api.sandbox.requests) == 24 * 3


def test_callback_after_each_answer(repository, api):
    """A function is told of each answer, in the server's thread; it may switch faults; `None` ends it."""
    told = queue.Queue()

    def tell(served):
        if served.kind == "repository":
            api.sandbox.set_fault("status", "503:1")
        told.put((served.kind, served.status))

    api.sandbox.on_request(tell)
    api.get("")
    assert told.get(timeout=10) == ("repository", 200)
    assert api.get("commits").status_code == 503
    assert told.get(timeout=10) == ("commits", 503)
    api.sandbox.on_request(None)
    assert api.get("commits").status_code == 200
    assert told.empty()


def test_repositories_are_added_and_removed(repository, api, tmp_path):
    """More folders can be served while it runs, and single repositories taken out."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "extra")], check=True)
    api.sandbox.add(tmp_path / "extra")
    assert [found.slug for found in api.sandbox.repositories] == ["api", "extra"]
    api.sandbox.remove("api")
    assert [api.get(f"/repositories/acme/{slug}").status_code for slug in ("api", "extra")] == [404, 200]
    api.sandbox.add(repository.path)
    assert api.get("").status_code == 200
    with pytest.raises(NotARepository, match="none"):
        api.sandbox.remove("none")
    with pytest.raises(NotARepository, match="no such folder"):
        api.sandbox.add(tmp_path / "nowhere")


def test_wrong_arguments(tmp_path):
    """A path that is no folder and a fault that does not exist are refused before anything is served."""
    with pytest.raises(NotARepository, match="no such folder"):
        Sandbox(tmp_path / "nowhere")
    with pytest.raises(UnknownFault, match="did you mean 'slow'"):
        Sandbox(tmp_path, faults={"slwo": "1"})


def test_package_is_light_and_independent():
    """Importing the package imports nothing heavy; the commands wait with the server until they run."""
    code = (
        "import sys; import releasecopilot_bitbucket_sandbox; a = set(sys.modules)\n"
        "import releasecopilot_bitbucket_sandbox.commands; b = set(sys.modules)\n"
        "import releasecopilot_bitbucket_sandbox.server; c = set(sys.modules)\n"
        "print('werkzeug' in a or 'click' in a, 'werkzeug' in b, 'releasecopilot_bitbucket' in c)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]
