"""Real git repositories, served over real HTTP, with git as the oracle."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket_sandbox.server import Sandbox

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
ANN = "Ann Archer <ann@acme.example>"


class Repository:
    """A bare repository that a test writes by `git fast-import`, and asks as the oracle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds = 1_790_000_000
        init = ["git", "init", "-q", "--bare", "--initial-branch=main", str(path)]
        subprocess.run(init, check=True, env=ENVIRONMENT)

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        """Return what git prints."""
        command = ["git", f"--git-dir={self.path}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=True, env=ENVIRONMENT)
        return done.stdout.decode("utf-8", "replace")

    def commit(
        self,
        message: str | bytes = "work\n",
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        branch: str = "main",
        parents: Sequence[str] | None = None,
        author: str = ANN,
        written: str | None = None,
        date: str | None = None,
    ) -> str:
        """Add a commit to a branch, on top of its head unless `parents` are given; returns its sha."""
        self._seconds += 60
        stamp = date or f"{self._seconds} +0200"
        text = message.encode() if isinstance(message, str) else message
        if parents is None:
            parents = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").split()
        elif not parents:
            self.git("update-ref", "-d", f"refs/heads/{branch}")
        stream = (
            f"commit refs/heads/{branch}\nauthor {author} {written or stamp}\ncommitter {author} {stamp}\n".encode()
        )
        stream += b"data %d\n%b\n" % (len(text), text)
        for number, sha in enumerate(parents):
            stream += f"{'merge' if number else 'from'} {sha}\n".encode()
        for path, content in (files or {}).items():
            quoted = '"' + path.replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
            body = content.encode() if isinstance(content, str) else content or b""
            line = f"D {quoted}\n" if content is None else f"M 100644 inline {quoted}\ndata {len(body)}\n"
            stream += line.encode() + (b"" if content is None else body + b"\n")
        self.git("fast-import", "--quiet", "--force", given=stream)
        return self.git("rev-parse", f"refs/heads/{branch}").strip()

    def line(self, count: int, branch: str = "main") -> list[str]:
        """Add a straight line of commits; returns their shas, newest first."""
        stamps = range(1_790_000_000, 1_790_000_000 + 60 * count, 60)
        parts = [f"commit refs/heads/{branch}\ncommitter {ANN} {stamp} +0000\ndata 2\nx\n\n" for stamp in stamps]
        self.git("fast-import", "--quiet", "--force", given="".join(parts).encode())
        return self.listed(branch)

    def listed(self, *arguments: str) -> list[str]:
        """Return what `git rev-list` prints."""
        return self.git("rev-list", "--topo-order", *arguments).split()

    def collect_garbage(self) -> None:
        """Drop everything that no ref reaches."""
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "--quiet", "--prune=now")


class Api:
    """An HTTP client of a sandbox; paths are below the repository `api` unless they start with a slash."""

    def __init__(self, sandbox: Sandbox, client: httpx.Client) -> None:
        self.sandbox = sandbox
        self.client = client
        self.slug = "api"

    def address(self, path: str) -> str:
        """Return the full address of a path."""
        if path.startswith("http"):
            return path
        below = path if path.startswith("/") else f"/repositories/acme/{self.slug}/{path}".rstrip("/")
        return self.sandbox.url + below

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return self.client.get(self.address(path), **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return self.client.post(self.address(path), **options)

    def values(self, path: str, **params: Any) -> list[Any]:
        """Return the values of all pages."""
        answer = self.get(path, params=params or None)
        found = []
        while True:
            assert answer.status_code == 200, answer.text
            found += answer.json()["values"]
            if "next" not in answer.json():
                return found
            answer = self.get(answer.json()["next"])

    def hashes(self, path: str = "commits", **params: Any) -> list[str]:
        """Return the hashes of all pages of a listing of commits."""
        return [value["hash"] for value in self.values(path, **params)]


@pytest.fixture
def new_repository(tmp_path: Path) -> Callable[..., Repository]:
    """Return a function that makes an empty repository in the folder that is served."""
    folder = tmp_path / "repositories"
    folder.mkdir()
    return lambda name="api": Repository(folder / f"{name}.git")


@pytest.fixture
def repository(new_repository: Callable[..., Repository]) -> Repository:
    """Return the empty repository `api`."""
    return new_repository()


@pytest.fixture
def serve(tmp_path: Path, new_repository: Callable[..., Repository]) -> Iterator[Callable[..., Api]]:
    """Return a function that starts a sandbox, over the folder or other paths, and returns a client for it."""
    with ExitStack() as stack:

        def start(*paths: Path, **options: Any) -> Api:
            sandbox = stack.enter_context(Sandbox(*(paths or (tmp_path / "repositories",)), **options))
            return Api(sandbox, stack.enter_context(httpx.Client(timeout=20, trust_env=False)))

        yield start


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    """Return a client of a sandbox over the folder."""
    return serve()
