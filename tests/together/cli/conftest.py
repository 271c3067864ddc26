"""The installed `rc` as a real process: in a folder with a settings file, on a workspace that the sandbox serves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
import yaml

RC = Path(sys.executable).parent / "rc"
TOKEN = "s3cret-token"

#: What a test's own machine may have set must not reach the commands.
_OURS = re.compile(r"RC_|BITBUCKET_|SANDBOX_|PYTHONPATH$|COLUMNS$|LINES$")


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one document on stdout."""
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """Return the one line on stderr, after checking that it is one, and that stdout is empty."""
        assert self.out == ""
        assert re.fullmatch(r"rc: [^\n]+\n", self.err), self.err
        return self.err.removeprefix("rc: ").rstrip("\n")


class Shell:
    """A working directory in which `rc` is run, as a person or a scheduler would."""

    program = RC

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        self.environment["SANDBOX_TOKEN"] = TOKEN

    def configure(self, values: Mapping[str, Any]) -> None:
        """Write `config/settings.yaml`."""
        file = self.folder / "config" / "settings.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")

    def start(self, *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
        """Start `rc` and return the process, its output piped."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        environment = {**self.environment, **pipes.pop("environment", {})}
        return subprocess.Popen([RC, *arguments], cwd=self.folder, env=environment, encoding="utf-8", **pipes)

    def rc(self, *arguments: str | Path, **environment: str) -> Done:
        """Run `rc` to its end, with more environment variables."""
        process = self.start(*arguments, environment=environment)
        return ended(process)

    def scan(self, *arguments: str | Path, **environment: str) -> Done:
        """Run `rc ingest bitbucket-scan`."""
        return self.rc("ingest", "bitbucket-scan", *arguments, **environment)

    def on_terminal(self, *arguments: str | Path, typed: str = "") -> tuple[Done, str]:
        """Run `rc` with stdin and stderr on a terminal; returns how it ended and what the screen showed."""
        import pty  # not on Windows

        master, slave = pty.openpty()
        process = self.start(*arguments, stdin=slave, stderr=slave, environment={"TERM": "xterm"})
        os.close(slave)
        os.write(master, typed.encode())
        screen = bytearray()
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        while part := _read(master):
            screen += part
        done = ended(process)
        watchdog.cancel()
        os.close(master)
        return done, screen.decode("utf-8", "replace")

    def files(self) -> set[str]:
        """Return the paths of all files but those of the repositories."""
        return {path for path in self.entries() if (self.folder / path).is_file()}

    def entries(self) -> set[str]:
        """Return the paths of all files and folders but the repositories."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return {str(path) for path in found if path.parts[0] != "repositories"}

    def documents(self, folder: str = "artifacts") -> list[dict[str, Any]]:
        """Return the artifacts in a folder, oldest first; each must fit the schema that lies beside it."""
        place = self.folder / folder
        # By time: the names of runs of one second are in no order.
        paths = sorted(place.glob("*_*.json"), key=lambda path: path.stat().st_mtime_ns)
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for document in found:
            schema = json.loads((place / "run.schema.json").read_text(encoding="utf-8"))
            jsonschema.Draft202012Validator(schema).validate(document)
        return found


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for a command."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Done(process.returncode, out or "", err or "")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # Linux says so when the last process has left the terminal
        return b""


def configured(shell: Shell, workspace: Any, **bitbucket: Any) -> Shell:
    """Point a shell at a workspace; what `Workspace` asks of the database is what `rc` writes."""
    settings = workspace.settings(**bitbucket)
    values = {"database": "commits.db", "artifacts": "artifacts", "logs": "logs"}
    shell.configure({"bitbucket": settings.raw("bitbucket"), **values})
    return shell


@pytest.fixture
def shell(workspace: Any) -> Shell:
    """Return a shell beside the repositories of a workspace of its own."""
    return configured(Shell(workspace.folder), workspace)


@pytest.fixture
def shell_for() -> Callable[[Any], Shell]:
    """Return a function that makes a shell beside the repositories of a workspace."""
    return lambda workspace: configured(Shell(workspace.folder), workspace)


@pytest.fixture
def configure() -> Callable[..., Shell]:
    """Return the function that writes a shell's settings for a workspace, with other `bitbucket` keys."""
    return configured


@pytest.fixture
def empty_shell(tmp_path: Path) -> Shell:
    """Return a shell in an empty folder."""
    return Shell(tmp_path)


@pytest.fixture
def wait_for() -> Callable[[subprocess.Popen[str]], Done]:
    """Return the function that waits for a command that was started."""
    return ended


# --- a workspace that has been scanned, for all tests of a module that only read -------------------------------


@pytest.fixture(scope="module")
def scanned(shared_workspace: Any) -> Shell:
    """Return a shell beside two repositories that `rc` has scanned."""
    api, web = shared_workspace.add("api"), shared_workspace.add("web-shop")
    base = api.commit("main", "RC-1 Begin", hours_ago=50, files={"a.txt": "1"})
    api.commit("main", "RC-2 Go on", hours_ago=2, files={"a.txt": "2"})
    message = 'Größe, "quoted"\n\nand more'
    api.commit("feature/RC-3_fix", message, hours_ago=1, parents=[base], files={"a.txt": "3", "b.txt": "b"})
    web.commit("main", "No story here", hours_ago=1.5)
    web.commit("main", "RC-2 Too", hours_ago=0.5)
    shell = configured(Shell(shared_workspace.folder), shared_workspace)
    done = shell.scan("--hours", "100")
    assert done.code == 0, done.err
    return shell


# --- plugins that are installed for real -----------------------------------------------------------------------


def _wheel(folder: Path, name: str, code: str, entry_points: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a wheel with one module, as any build backend would."""
    module = name.replace("-", "_")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in entry_points.items()
    ]
    info = f"{module}-2.5.dist-info"
    files = {
        f"{module}.py": textwrap.dedent(code),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "\n".join(groups),
    }
    record = [f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join(record) + f"{info}/RECORD,,\n"
    path = folder / f"{module}-2.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


@pytest.fixture(scope="module")
def install(tmp_path_factory: Any) -> Callable[..., str]:
    """Return a function that installs distributions with pip, apart from ours; it returns a `PYTHONPATH` for `rc`.

    Each distribution is (name, code of its one module, group -> entry points); its version is 2.5.
    """

    def install(*distributions: tuple[str, str, Mapping[str, Mapping[str, str]]]) -> str:
        folder = tmp_path_factory.mktemp("plugins")
        wheels = [_wheel(folder, *distribution) for distribution in distributions]
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
        apart = [
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--root-user-action=ignore",
            "--target",
            str(folder / "site"),
        ]
        subprocess.run([*pip, *apart, *map(str, wheels)], check=True)
        return str(folder / "site")

    return install
