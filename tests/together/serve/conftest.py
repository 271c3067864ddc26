"""`rc serve` as a real process with its workers, in a folder with a settings file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from releasecopilot_core import CommitStorage
from releasecopilot_core.testing import Served

RC = Path(sys.executable).parent / "rc"
SECRETS = ("first-s3cret", "second-s3cret")
LIMIT = 40_000
_OURS = re.compile(r"RC_|BITBUCKET_|SANDBOX_|PYTHONPATH$|COLUMNS$|LINES$")


class Place:
    """A folder in which `rc` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        self.environment |= {"FIRST": SECRETS[0], "SECOND": SECRETS[1], "SANDBOX_TOKEN": "s3cret-token"}
        self.servers: list[Server] = []

    def configure(self, bitbucket: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Write `config/settings.yaml`, with both secrets."""
        section = {"workspace": "acme", "webhook_secret": ["${FIRST}", "${SECOND}"], **(bitbucket or {})}
        values = {"bitbucket": section, "webhooks": {"body_limit": LIMIT}, "database": "commits.db", **more}
        file = self.folder / "config" / "settings.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(values), encoding="utf-8")

    def serve(self, *arguments: str) -> Server:
        """Start a server, and wait until it says where."""
        self.servers.append(Server(self, *arguments))
        return self.servers[-1]

    def rc(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [RC, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def storage(self) -> CommitStorage:
        """Open the database."""
        return CommitStorage(self.folder / "commits.db")

    def logs(self) -> str:
        """Return what all log files say."""
        return "".join(path.read_text() for path in sorted((self.folder / "temp_data" / "bitbucket").glob("*.log")))


class Server:
    """One `rc serve bitbucket-webhook` with its workers, a process group of its own."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self.errors = place.folder / f"stderr-{len(place.servers)}.txt"
        command = [RC, "serve", "bitbucket-webhook", "--port", "0", *arguments]
        with self.errors.open("w") as stderr:
            self.process = subprocess.Popen(
                command, cwd=place.folder, env=place.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while "\n" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline
            time.sleep(0.002)
        self.first_line = self.said.splitlines()[0]
        found = re.search(r"(http://\S+?)(/\S*) ", self.first_line)
        assert found is not None, self.said
        self.url, self.path = found.groups()

    @property
    def said(self) -> str:
        """Return what came on stderr so far."""
        return self.errors.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the first process; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def served(self, storage: CommitStorage) -> Served:
        """Return it as the contract wants it."""
        return Served(url=self.url, path=self.path, secrets=SECRETS, body_limit=LIMIT, store=storage)


def _place(folder: Path) -> Iterator[Place]:
    place = Place(folder)
    place.configure()
    yield place
    for server in place.servers:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a folder with settings, and end what was started in it."""
    yield from _place(tmp_path)


@pytest.fixture(scope="module")
def make_place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Iterator[Place]]:
    """Return a function that yields a folder for all tests of a module, and ends what was started in it."""
    return lambda name: _place(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def with_two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve with FastAPI in two processes, for all tests of a module."""
    for place in _place(tmp_path_factory.mktemp("two")):
        server = place.serve("--with", "fastapi", "--workers", "2")
        with place.storage() as storage:
            yield server.served(storage)
