"""Real git repositories, a real server over them, and a client that asks it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.server import Sandbox

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C.UTF-8",
}
ANN = "Ann Archer <ann@acme.example>"
Files = Mapping[str, str | bytes | None]


class Repository:
    """A bare git repository that a test fills, and the oracle that it is asked about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 1_700_000_000
        command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)]
        subprocess.run(command, check=True, env=ENVIRONMENT)

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        """Return what git prints."""
        command = ["git", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(command, input=given, check=True, capture_output=True, env=ENVIRONMENT)
        return done.stdout.decode("utf-8", "replace")

    def lines(self, *arguments: str) -> list[str]:
        """Return the lines that git prints."""
        return self.git(*arguments).splitlines()

    def commit(
        self,
        message: str | bytes = "A change\n",
        files: Files | None = None,
        *,
        branch: str = "main",
        parents: Sequence[str] | None = None,
        author: str = ANN,
        written: str | None = None,
        date: str | None = None,
    ) -> str:
        """Add a commit to a branch and return its sha; `parents` default to the branch's head."""
        self.seconds += 60
        stamp = date or f"{self.seconds} +0000"
        text = message if isinstance(message, bytes) else message.encode()
        parts = [f"commit refs/heads/{branch}\nmark :1\n".encode()]
        parts.append(f"author {author} {written or stamp}\ncommitter {author} {stamp}\n".encode())
        parts.append(b"data %d\n%s\n" % (len(text), text))
        if parents is None:
            head = self.lines("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
            parents = head
        for number, parent in enumerate(parents):
            parts.append(f"{'merge' if number else 'from'} {parent}\n".encode())
        for path, content in (files or {}).items():
            parts.append(_change(path, content))
        return self.git(
            "fast-import", "--quiet", "--force", "--cat-blob-fd=1", given=b"".join(parts) + b"\nget-mark :1\n"
        ).strip()

    def line(self, count: int, branch: str = "main", *, start: str | None = None) -> list[str]:
        """Make a branch of so many commits at once, all new or on top of one; returns their shas, newest first."""
        stamps = range(self.seconds, self.seconds + 60 * count, 60)
        head = f"commit refs/heads/{branch}\ncommitter {ANN}"
        parts = [f"{head} {stamp} +0000\ndata 2\nx\n" for stamp in stamps]
        if start is not None:
            parts[0] += f"from {start}\n"
        self.seconds += 60 * count
        self.git("fast-import", "--quiet", "--force", given="\n".join([*parts, ""]).encode())
        return self.lines("rev-list", f"--max-count={count}", branch)

    def tag(self, name: str, target: str, message: str = "Tagged") -> None:
        """Add an annotated tag."""
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "advice.nestedTag=false")
        self.git(*identity, "tag", "-a", "-m", message, name, target)

    def set_ref(self, name: str, sha: str) -> None:
        """Point a ref, such as `refs/tags/v1`, to something."""
        self.git("update-ref", name, sha)

    def drop_ref(self, name: str) -> None:
        """Delete a ref."""
        self.git("update-ref", "-d", name)

    def collect_garbage(self) -> None:
        """Delete what nothing leads to."""
        self.git("prune", "--expire=now")
        self.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")


def _change(path: str, content: str | bytes | None) -> bytes:
    quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    if content is None:
        return f"D {quoted}\n".encode()
    data = content if isinstance(content, bytes) else content.encode()
    return f"M 100644 inline {quoted}\n".encode() + b"data %d\n%s\n" % (len(data), data)


class Api:
    """A running sandbox, and a client for it; paths are below the repository `api` unless they start with a slash."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        # Nothing is verified over plain HTTP, and reading certificates takes longer than most tests.
        self.client = httpx.Client(timeout=20, trust_env=False, verify=False)

    def address(self, path: str) -> str:
        """Return the full address of a path."""
        if path.startswith("http"):
            return path
        return self.sandbox.url + (path if path.startswith("/") else f"/repositories/acme/api/{path}".rstrip("/"))

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for a path."""
        return self.client.get(self.address(path), **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a form."""
        return self.client.post(self.address(path), **options)

    def json(self, path: str, /, **params: Any) -> Any:
        """Return the JSON of a path that is answered with 200."""
        answer = self.get(path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def values(self, path: str, /, **params: Any) -> list[Any]:
        """Return the values of all pages."""
        page = self.json(path, **params)
        found = list(page["values"])
        while "next" in page:
            page = self.json(page["next"])
            found += page["values"]
        return found

    def hashes(self, path: str = "commits", /, **params: Any) -> list[str]:
        """Return the shas of all pages of a listing of commits."""
        return [value["hash"] for value in self.values(path, **params)]


class Receiver:
    """A server that takes webhooks and remembers them; `answers` are given one after the other, then 200.

    An answer is a status, or a number of seconds to be silent for.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int | float] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append((dict(self.headers.items()), body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if isinstance(answer, float):
                    receiver.over.wait(answer)
                    return
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/bitbucket?from=sandbox"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def keys(self) -> list[str]:
        """Return the events that were heard."""
        return [headers["X-Event-Key"] for headers, _ in self.heard]

    @property
    def bodies(self) -> list[Any]:
        """Return the bodies that were heard."""
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Take webhooks."""
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def subscribe(receiver: Receiver) -> Callable[..., Any]:
    """Return a function that makes a webhook at a sandbox, for the repository `api` by default."""

    def subscribe(api: Api, path: str = "hooks", **more: Any) -> Any:
        body = {"description": "x", "url": receiver.url, "active": True, "events": ["repo:push"], **more}
        answer = api.client.post(api.address(path), json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return subscribe


@pytest.fixture
def git(git_environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs git in a folder and returns what it did; it asks nobody for passwords."""
    environment = {**git_environment, "GIT_TERMINAL_PROMPT": "0", "HOME": str(tmp_path)}
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@acme.example")

    def run(*arguments: Any, folder: Path | None = None, check: bool = True, **variables: str) -> Any:
        command = ["git", *identity, *map(str, arguments)]
        given = {**environment, **variables}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=given)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def new_repository(tmp_path: Path) -> Callable[..., Repository]:
    """Make empty repositories below the folder that is served."""

    def make(name: str = "api") -> Repository:
        folder = tmp_path / "workspace"
        folder.mkdir(exist_ok=True)
        return Repository(folder / f"{name}.git")

    return make


@pytest.fixture
def repository(new_repository: Callable[..., Repository]) -> Repository:
    """Give an empty repository that is served as `api`."""
    return new_repository()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Serve the folder of repositories, or other paths."""
    running: list[Api] = []

    def start(*paths: Path, **options: Any) -> Api:
        (tmp_path / "workspace").mkdir(exist_ok=True)
        sandbox = Sandbox(*(paths or (tmp_path / "workspace",)), **options)
        sandbox.start()
        running.append(Api(sandbox))
        return running[-1]

    yield start
    for api in running:
        api.client.close()
        api.sandbox.stop()


@pytest.fixture
def api(repository: Repository, serve: Callable[..., Api]) -> Api:
    """Serve the repository `api` to anybody."""
    return serve()


@pytest.fixture
def repository_at() -> Callable[[Path], Repository]:
    """Make empty repositories anywhere."""
    return Repository


@pytest.fixture
def git_environment() -> dict[str, str]:
    """Give an environment in which nobody's settings for git count."""
    return dict(ENVIRONMENT)


@pytest.fixture
def forked(repository: Repository) -> dict[str, str]:
    """Give three commits on main and two on a side branch that forked after the first; name -> sha."""
    a = repository.commit("A\n", {"a": "1\n"})
    b = repository.commit("B\n", {"b": "1\n"})
    c = repository.commit("C\n", {"a": "2\n"})
    x = repository.commit("X\n", {"x": "1\n"}, branch="topic/side", parents=[a])
    y = repository.commit("Y\n", {"x": "2\n"}, branch="topic/side")
    return {"a": a, "b": b, "c": c, "x": x, "y": y}


@pytest.fixture
def feature(repository: Repository) -> dict[str, str]:
    """Give a branch `feature/x` with two commits of its own; name -> sha."""
    base = repository.commit("Base\n", {"a": "1\n"})
    main = repository.commit("Main\n", {"m": "1\n"})
    first = repository.commit("First\n", {"x": "1\n"}, branch="feature/x", parents=[base])
    tip = repository.commit("Second\n", {"x": "2\n"}, branch="feature/x")
    return {"base": base, "main": main, "first": first, "tip": tip}


@pytest.fixture
def send(api: Api) -> Callable[..., httpx.Response]:
    """Return a function that sends JSON to a path and returns the answer."""
    return lambda method, path, value=None, **options: api.client.request(
        method, api.address(path), json=value, **options
    )


@pytest.fixture
def opened(send: Callable[..., httpx.Response], feature: dict[str, str]) -> Callable[..., Any]:
    """Return a function that opens a pull request from a branch, `feature/x` by default, and returns it."""

    def opened(title: str = "RC-1 Round taxes", source: str = "feature/x", **more: Any) -> Any:
        answer = send("POST", "pullrequests", {"title": title, "source": {"branch": {"name": source}}, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return opened
