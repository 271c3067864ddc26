"""`rc ingest git-scan` as a real process: on a checkout without any settings, killed, interrupted, and without git."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

RC = Path(sys.executable).parent / "rc"


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Place:
    """A folder in which `rc` is run, with nothing in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("RC_", "GIT_"))}

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start `rc ingest git-scan`."""
        return subprocess.Popen(
            [RC, "ingest", "git-scan", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scan(self, *arguments: str | Path, **environment: str) -> Done:
        """Run it to its end."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, err)

    def rows(self, sql: str, database: str = "data/git/commits.db") -> list[tuple[Any, ...]]:
        """Ask the database, also while it is written."""
        db = sqlite3.connect(self.folder / database, timeout=10)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def documents(self) -> list[dict[str, Any]]:
        """Return the artifacts, oldest first."""
        found = sorted((self.folder / "artifacts/issues/wave3/git").glob("scan_*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in found]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an empty folder to work in."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Place(folder)


@pytest.fixture
def api(workspace: Any) -> Any:
    """Return a bare repository with a commit of RC-1 on `main`."""
    repository = workspace.add("api")
    repository.commit("main", "RC-1 Begin", hours_ago=2)
    return repository


def test_one_command_on_a_checkout(tmp_path: Path, api: Any) -> None:
    """In a checkout, without settings, the main branch's stories are told and everything lands in its usual place."""
    subprocess.run(["git", "clone", "-q", str(api.path), str(tmp_path / "api")], check=True)
    place = Place(tmp_path / "api")
    done = place.scan(".")
    assert done.code == 0, done.err
    assert "complete. 1 commit listed, 1 new" in done.out
    assert "RC-1" in done.out
    (document,) = place.documents()
    assert (document["source"], document["status"]) == ("git", "complete")
    assert [entry["hash"] for entry in document["payload"]] == [api.head("main")]
    assert [file["status"] for file in document["payload"][0]["files"]] == ["added"]
    assert place.rows("SELECT story_key FROM commit_story_keys") == [("RC-1",)]
    assert (place.folder / f"temp_data/git/scan_{document['run_id']}.log").is_file()
    stories = subprocess.run(
        [RC, "stories", "--database", "data/git/commits.db"],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RC-1" in stories.stdout


def test_several_paths_and_urls(place: Place, workspace: Any, api: Any) -> None:
    """Names behind the command and behind --repos are one list; --branches may follow."""
    web, tools = workspace.add("web"), workspace.add("tools")
    for repository in (web, tools):
        repository.commit("main", "RC-2")
        repository.commit("release/1", "RC-3")
    done = place.scan(api.path, web.path.as_uri(), "--repos", tools.path, "--branches", "main", "release/*")
    assert done.code == 0, done.err
    names = {entry["name"]: set(entry["heads_after"]) for entry in place.documents()[0]["repositories"]}
    assert names == {
        f"repositories/{name}": {"main", "release/1"} if name != "api" else {"main"} for name in ("api", "web", "tools")
    }
    assert [path.suffix for path in (place.folder / "temp_data/git/clones").glob("web-*")].count(".git") == 1


def test_settings_count_where_there_are_some(place: Place, api: Any) -> None:
    """A settings file names repositories and places; a mistake in it is told, not passed over."""
    file = place.folder / "config" / "settings.yaml"
    file.parent.mkdir()
    file.write_text(json.dumps({"git": {"repositories": [str(api.path)]}, "database": "here.db"}))
    assert place.scan().code == 0
    assert place.rows("SELECT count(*) FROM commits", "here.db") == [(1,)]
    assert place.scan("a*").code == 0
    file.write_text("git: {repositoris: []}")
    done = place.scan(api.path)
    assert (done.code, done.err) == (
        2,
        "rc: config/settings.yaml: git.repositoris: unknown key; did you mean 'repositories'?\n",
    )


def test_environment_counts_without_settings(place: Place, api: Any) -> None:
    """Variables work as they do with a file, alone or for a section; a wrong one is told."""
    assert place.scan(api.path, RC_DATABASE="one.db").code == 0
    assert place.rows("SELECT count(*) FROM commits", "one.db") == [(1,)]
    assert place.scan(RC_GIT__REPOSITORIES=f"[{api.path}]", RC_DATABASE="two.db").code == 0
    assert place.rows("SELECT count(*) FROM commits", "two.db") == [(1,)]
    wrong = place.scan(api.path, RC_GIT__REPOSITORIES="[half")
    assert wrong.code == 2
    assert re.fullmatch(r"rc: environment variable RC_GIT__REPOSITORIES: [^\n]+\n", wrong.err)


def test_mistakes_are_one_line(place: Place, api: Any) -> None:
    """What cannot be done as asked ends with code 2 and says what to do."""
    for arguments, problem in (
        ((), "nothing to scan; name a path or URL, or list them as git.repositories in the settings"),
        (("nowhere",), "nowhere: no such path, and no configured repository of that name; there are: none"),
        ((".",), ".: no git repository here; check the path"),
        ((api.path, "--files", "api"), "--files api: git repositories have no API; use auto, git or none"),
        (
            ("https://bot:s3cret@h/x",),
            "https://h/x: a password must not stand in an address; give it to git's credential helper",
        ),
    ):
        done = place.scan(*arguments)
        assert (done.code, done.err) == (2, f"rc: {problem}\n")


def test_only_sources_that_say_so_take_names(place: Place) -> None:
    """Other sources keep their flags: a name behind the command is a mistake there."""
    done = subprocess.run(
        [RC, "ingest", "bitbucket-scan", "api"], cwd=place.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unexpected extra argument" in done.stderr
    assert "[PATH-OR-URL]..." in place.scan("--help").out


def test_missing_git_is_one_line(place: Place, api: Any) -> None:
    """The run fails, and says what to install."""
    done = place.scan(api.path, PATH="/nowhere")
    assert (done.code, done.err) == (1, "rc: git is not installed, or not on the PATH; install git 2.32 or later\n")
    assert [document["status"] for document in place.documents()] == ["failed"]


# --- long histories, cut off -----------------------------------------------------------------------------------


@pytest.fixture
def long(workspace: Any) -> Any:
    """Return a repository whose history takes many pages."""
    repository = workspace.add("long")
    repository.history("main", [100 + n / 60 for n in range(6_000, 0, -1)])
    return repository


@pytest.fixture
def scanning(place: Place, long: Any) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Return a function that starts a scan of it and comes back when some of its pages are stored."""
    started = []

    def start() -> subprocess.Popen[str]:
        started.append(place.start(long.path, "--full"))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and started[-1].poll() is None:
            try:
                if place.rows("SELECT count(*) FROM commits") != [(0,)]:
                    break
            except sqlite3.OperationalError:  # not there yet, or without tables
                pass
            time.sleep(0.005)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def assert_whole(place: Place, repository: Any) -> None:
    """Compare what is stored with what git has."""
    stored = place.rows(
        "SELECT c.sha, coalesce(p.parent, '') FROM commits c LEFT JOIN commit_parents p ON p.sha = c.sha"
    )
    expected = [line.partition(" ")[::2] for line in repository.git("rev-list", "--parents", "main").splitlines()]
    assert sorted(stored) == sorted(expected)
    assert dict(place.rows("SELECT branch, sha FROM heads")) == repository.branches()
    assert place.rows("SELECT count(*) FROM walks") == [(0,)]
    assert place.rows("SELECT DISTINCT files_status FROM commits") == [("known",)]


def test_killed_scan_goes_on_where_it_was(place: Place, long: Any, scanning: Any) -> None:
    """Pages are stored while git is at work; after SIGKILL the next scan reads the rest, and the record is git's."""
    process = scanning()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    ((stored,),) = place.rows("SELECT count(*) FROM commits")
    assert 0 < stored < 6_000
    done = place.scan(long.path, "--full", "--json")
    assert done.code == 0
    assert json.loads(done.out)["repositories"][0]["listed"] == 6_000 - stored
    assert_whole(place, long)


def test_interrupted_scan_ends_git_and_tells(place: Place, long: Any, scanning: Any) -> None:
    """After Ctrl-C no git is left, the artifact says so, and the next scan goes on."""
    process = scanning()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert [document["status"] for document in place.documents()] == ["interrupted"]
    assert processes_in(long.path) == []
    assert place.scan(long.path, "--full").code == 0
    assert_whole(place, long)


def processes_in(folder: Path) -> list[str]:
    """Return the commands of all processes that were started on a repository (on Linux; elsewhere none are seen)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes()
        except OSError:  # it has just ended
            continue
        if str(folder).encode() in command and command.startswith(b"git\0"):
            found.append(command.decode())
    return found


# --- doctor ----------------------------------------------------------------------------------------------------


def test_doctor_looks_at_git_repositories_and_clones(place: Place, workspace: Any, api: Any) -> None:
    """Each configured repository answers or says what to do; without a main branch branches must be named."""
    place.scan(api.path.as_uri())
    empty = workspace.add("empty")
    section = {"repositories": [str(api.path), str(empty.path), "/nowhere", "http://127.0.0.1:9/acme/x.git"]}
    (place.folder / "settings.yaml").write_text(json.dumps({"git": section}))
    command = [
        RC,
        "doctor",
        "--source",
        "git",
        "--config",
        "settings.yaml",
        "--database",
        "data/git/commits.db",
        "--json",
    ]
    done = subprocess.run(command, cwd=place.folder, env=place.environment, capture_output=True, text=True, check=False)
    found: dict[str, list[tuple[str, str]]] = {}
    for row in json.loads(done.stdout):
        found.setdefault(row["check"], []).append((row["status"], row["text"]))
    assert done.returncode == 1
    assert re.fullmatch(r"git \d+\.\d+ will do", found["git: version"][0][1])
    assert [status for status, _ in found["git: repositories"]] == ["ok", "warning", "failed", "failed"]
    assert found["git: repositories"][0][1] == "repositories/api: 1 branches, main branch 'main'"
    assert found["git: clones"] == [("ok", "temp_data/git/clones: 1 clones, 0 of 2,000 MB")]
