"""Clones, fetches and pushes: git's smart HTTP, answered by `git http-backend`.

Requests and answers are streamed: no pack is ever held in memory.
"""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import attrs

from .answers import Answer
from .bodies import BrokenBody
from .git import ENVIRONMENT, Git

UPLOAD, RECEIVE = "git-upload-pack", "git-receive-pack"
_ADDRESS = re.compile(
    r"/(?P<workspace>[^/]+)/(?P<slug>[^/]+?)(?:\.git)?/(?P<path>info/refs|git-upload-pack|git-receive-pack)"
)
_PIECE = 65_536
#: What a served repository's own settings cannot change. Nothing is written into its configuration.
_SETTINGS = (
    ("safe.directory", "*"),
    ("http.uploadpack", "true"),
    ("http.receivepack", "true"),
    ("http.getanyfile", "false"),
    # Like the API: branches and tags are served, and not what else a clone of somebody's holds.
    ("transfer.hideRefs", "refs/"),
    ("transfer.hideRefs", "!refs/heads/"),
    ("transfer.hideRefs", "!refs/tags/"),
    # Bitbucket runs nobody's hooks, and what is collected is up to whoever owns the repository.
    ("core.hooksPath", "/dev/null"),
    ("receive.autogc", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
)


@attrs.frozen
class GitRequest:
    """What a request to a repository's git address is after; `service` is `git-upload-pack` or `git-receive-pack`."""

    workspace: str
    slug: str
    path: str
    service: str

    @property
    def scope(self) -> str:
        """Return the scope that it needs: fetching is reading, pushing is writing."""
        return "repository:write" if self.service == RECEIVE else "repository"

    @property
    def pushes(self) -> bool:
        """Whether refs may have changed when it is done."""
        return self.path == RECEIVE


def requested(path: str, arguments: Mapping[str, str]) -> GitRequest | None:
    """Return what a request to git is after, `None` for one that is not to git.

    git's older protocol, which asks for files one by one, is not spoken: it names no service.
    """
    match = _ADDRESS.fullmatch(path)
    if match is None or match["workspace"] == "2.0":
        return None
    service = arguments.get("service", "") if match["path"] == "info/refs" else match["path"]
    return (
        GitRequest(match["workspace"], match["slug"], match["path"], service) if service in (UPLOAD, RECEIVE) else None
    )


def answer(
    git: Git, asked: GitRequest, environ: Mapping[str, Any], *, who: str, filters: bool, done: Callable[[], object]
) -> Answer:
    """Start `git http-backend` and return its answer, whose body is still being made.

    `filters` allows partial clones (observed at Bitbucket in August 2026 by constructorfabric/insight). `who` is noted
    in reflogs. `done` is called when a push has ended, before the client hears of its end.
    """
    settings = (*_SETTINGS, ("uploadpack.allowFilter", str(filters).lower()), ("uploadpack.allowAnySHA1InWant", "true"))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["git", "http-backend"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**ENVIRONMENT, **_cgi(git, asked, environ, who), **_configuration(settings)},
        )
        running = _Running(process, environ["wsgi.input"], done)
        headers = running.headers()
        if not headers:
            running.close()
            errors.seek(0)
            said = errors.read(2_000).decode("utf-8", "replace").strip()
            return Answer(500, f"git http-backend gave no answer: {said or 'no reason either'}")
    status = int(headers.pop("status", "200").split()[0])
    return Answer(status, running, headers)


def _cgi(git: Git, asked: GitRequest, environ: Mapping[str, Any], who: str) -> dict[str, str]:
    given = {
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROJECT_ROOT": str(git.folder.resolve()),
        "PATH_INFO": f"/{asked.path}",
        "QUERY_STRING": f"service={asked.service}" if asked.path == "info/refs" else "",
        "REMOTE_USER": who,
        "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", ""),
    }
    names = (
        "REQUEST_METHOD",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "REMOTE_ADDR",
        "HTTP_CONTENT_ENCODING",
        "HTTP_GIT_PROTOCOL",
    )
    # The Authorization header stays here.
    return given | {name: value for name in names if (value := environ.get(name))}


def _configuration(settings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return settings as git takes them from its environment."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


class _Running:
    """A backend at work: its output as an iterator, while a thread of its own hands it the request's body."""

    def __init__(self, process: subprocess.Popen[bytes], body: io.BufferedReader, done: Callable[[], object]) -> None:
        self._process = process
        self._input = cast("io.BufferedWriter", process.stdin)
        self._output = cast("io.BufferedReader", process.stdout)
        self._body = body
        self._done: Callable[[], object] | None = done
        self._feeder = threading.Thread(target=self._feed, name="sandbox-git", daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        try:
            with self._input as sink:
                while piece := self._body.read1(_PIECE):
                    sink.write(piece)
        except BrokenPipeError:
            return  # git has heard enough; the server reads the rest
        except (BrokenBody, ValueError):
            self._process.kill()  # half a pack is no push

    def headers(self) -> dict[str, str]:
        """Return the headers that the backend gives, names in lower case; none if it failed."""
        found = {}
        while (line := self._output.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            found[name.lower()] = value.strip()
        return found

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._output.read1(_PIECE):
            yield piece
        self._finish()

    def close(self) -> None:
        """End it, if the client has gone away or the answer is not wanted."""
        if self._process.poll() is None:
            self._process.kill()
        self._finish()

    def _finish(self) -> None:
        self._process.wait()
        # Only one thread reads the body at a time: the server drains it after us.
        self._feeder.join()
        self._output.close()
        if self._done is not None:
            done, self._done = self._done, None
            done()
