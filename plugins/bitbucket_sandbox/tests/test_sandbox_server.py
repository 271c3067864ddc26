"""The server: start and stop, connections, records, and administration over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.server import NotARepository, Sandbox, UnknownFault


def test_stop_leaves_nothing_behind(repository: Any) -> None:
    """After the with statement neither threads nor the address remain, though a client keeps its connection."""
    before = set(threading.enumerate())
    with httpx.Client(trust_env=False) as client:
        with Sandbox(repository.path) as sandbox:
            url = sandbox.url
            assert client.get(f"{url}/user").status_code == 200
        assert set(threading.enumerate()) == before
        with pytest.raises(httpx.ConnectError):
            client.get(f"{url}/user")


def test_start_and_stop_twice(repository: Any) -> None:
    """Starting or stopping a second time does nothing, and a stopped sandbox can be started again."""
    sandbox = Sandbox(repository.path)
    with pytest.raises(RuntimeError, match="not started"):
        print(sandbox.url)
    for _ in range(2):
        sandbox.start()
        sandbox.start()
        assert httpx.get(f"{sandbox.url}/user", trust_env=False).status_code == 200
        sandbox.stop()
        sandbox.stop()


def test_stop_does_not_wait_for_slow_answers(repository: Any) -> None:
    """An answer that would take an hour is sent at once when the sandbox stops."""
    with ThreadPoolExecutor(1) as pool, Sandbox(repository.path, faults={"slow": "3600"}) as sandbox:
        asked = pool.submit(httpx.get, f"{sandbox.url}/user", trust_env=False, timeout=30)
        while not sandbox._server._open:  # type: ignore[union-attr]
            pass
        sandbox.stop()
        assert asked.result().status_code == 200


def test_connections_are_kept(repository: Any, api: Any) -> None:
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


def test_bodies_without_length_are_refused(api: Any) -> None:
    """A chunked body is a 411: it could not be told from the next request."""
    assert api.post("commits", content=iter([b"include=x"])).status_code == 411


def test_many_clients_at_once(repository: Any, api: Any) -> None:
    """Answers to many threads are the same, and every request is recorded."""
    shas = repository.line(40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: api.hashes(pagelen=15), range(24)))
    assert found == [shas] * 24
    assert len(api.sandbox.requests) == 24 * 3


def test_requests_are_recorded(repository: Any, api: Any) -> None:
    """Method, path, query, kind, status and time of each request are kept until they are cleared."""
    api.get("commits?pagelen=2")
    api.post("commits")
    api.get("/nothing")
    found = [(s.method, s.path, s.query, s.kind, s.status) for s in api.sandbox.requests]
    assert found == [
        ("GET", "/2.0/repositories/acme/api/commits", "pagelen=2", "commits", 200),
        ("POST", "/2.0/repositories/acme/api/commits", "", "commits", 200),
        ("GET", "/2.0/nothing", "", "unknown", 404),
    ]
    assert api.sandbox.requests[0].time <= api.sandbox.requests[2].time
    api.sandbox.clear_requests()
    assert api.sandbox.requests == []


def test_callback_after_each_answer(repository: Any, api: Any) -> None:
    """A function is told of each answer, in the server's thread; it may switch faults; `None` ends it."""
    told: list[Any] = []

    def tell(served: Any) -> None:
        told.append((served.kind, served.status))
        if len(told) == 2:
            api.sandbox.set_fault("status", "503")

    api.sandbox.on_request(tell)
    api.get("")
    api.get("commits")
    while len(told) < 2:
        pass
    assert api.get("commits").status_code == 503
    while len(told) < 3:
        pass
    api.sandbox.on_request(None)
    api.get("commits")
    assert told == [("repository", 200), ("commits", 200), ("commits", 503)]


def test_repositories_are_added_and_removed(repository: Any, api: Any, tmp_path: Path) -> None:
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


def test_wrong_arguments(tmp_path: Path) -> None:
    """A path that is no folder and a fault that does not exist are refused before anything is served."""
    with pytest.raises(NotARepository, match="no such folder"):
        Sandbox(tmp_path / "nowhere")
    with pytest.raises(UnknownFault, match="did you mean 'slow'"):
        Sandbox(tmp_path, faults={"slwo": "1"})


def test_administration_over_http(repository: Any, api: Any) -> None:
    """Another process looks at requests and switches faults, without a credential and without being recorded."""
    admin = api.sandbox.url.removesuffix("/2.0") + "/_sandbox"
    api.get("commits")
    assert [(s["kind"], s["status"]) for s in api.client.get(f"{admin}/requests").json()] == [("commits", 200)]
    assert api.client.delete(f"{admin}/requests").json() == []
    assert api.client.put(f"{admin}/faults/status@commits:api", content="503:1").json() == {
        "status@commits:api": "503:1"
    }
    assert [api.get("commits").status_code for _ in range(2)] == [503, 200]
    api.client.put(f"{admin}/faults/removed")
    assert api.client.get(f"{admin}/faults").json() == {"removed": "1"}
    assert api.client.delete(f"{admin}/faults/removed").json() == {}
    api.client.put(f"{admin}/faults/missing")
    assert api.client.delete(f"{admin}/faults").json() == {}
    assert "did you mean" in api.client.put(f"{admin}/faults/slo", content="1").json()["error"]
    assert api.client.get(f"{admin}/other").status_code == 404
    assert len(api.sandbox.requests) == 2


def test_git_settings_of_the_environment_do_not_matter(
    repository: Any, tmp_path: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git directory in the environment, as in a hook, misleads nobody."""
    sha = repository.commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    code = (
        "import sys, urllib.request as u; from releasecopilot_bitbucket_sandbox.server import Sandbox\n"
        "with Sandbox(sys.argv[1]) as s: print(u.urlopen(s.url + '/repositories/acme/api/commits').read().decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository.path)], capture_output=True, text=True, check=True
    )
    assert sha in done.stdout


def test_package_is_light_and_independent() -> None:
    """Importing the package imports nothing heavy; the commands wait with the server until they run."""
    code = (
        "import sys; import releasecopilot_bitbucket_sandbox; a = set(sys.modules)\n"
        "import releasecopilot_bitbucket_sandbox.commands; b = set(sys.modules)\n"
        "import releasecopilot_bitbucket_sandbox.server; c = set(sys.modules)\n"
        "print('werkzeug' in a or 'click' in a, 'werkzeug' in b, 'releasecopilot_bitbucket' in c)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]
