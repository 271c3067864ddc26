"""`rc sandbox` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from releasecopilot_bitbucket_sandbox.commands import sandbox
from releasecopilot_bitbucket_sandbox.demo import make

RC = Path(sys.executable).parent / "rc"
NOW = "2026-11-23T10:00:00-07:00"


def rc(*arguments, environment=None, folder=None):
    """Run `rc` to its end."""
    return subprocess.run(
        [str(RC), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=folder,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Make the demo's workspace in a folder, beside one that is empty."""
    folder = tmp_path_factory.mktemp("demo")
    assert rc("sandbox", "demo", folder / "demo", "--now", NOW).returncode == 0
    for name, text in (("empty", ""), ("state", '{"version": 1, "pull_requests": []}'), ("old", '{"version": 0}')):
        (folder / name).mkdir()
        if text:
            (folder / name / "sandbox.json").write_text(text)
    return folder / "demo"


def refs(folder, git_environment):
    """Return all refs of all repositories of a folder."""
    found = {}
    for path in sorted(folder.glob("*.git")):
        command = ["git", f"--git-dir={path}", "for-each-ref", "--format=%(objectname) %(refname)"]
        found[path.name] = subprocess.run(command, check=True, capture_output=True, env=git_environment).stdout
    return found


# --- serve -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_it_is_told_to_end(demo, number):
    """The first line on stdout is the address, which answers at once; a signal ends it with 0 and no more words."""
    command = [str(RC), "sandbox", "serve", str(demo), "--verbose"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        answer = httpx.get(f"{url}/repositories/acme?pagelen=50", trust_env=False, timeout=20)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)

    assert url.startswith("http://127.0.0.1:")
    assert url.endswith("/2.0")
    assert {value["slug"] for value in answer.json()["values"]} >= {"api", "web-shop"}
    assert process.returncode == 0
    assert rest == ""
    assert "200 GET /2.0/repositories/acme?pagelen=50" in errors
    assert "Traceback" not in errors


def test_signal_right_after_the_address(demo):
    """Who ends it as soon as the address is there gets 0 as well."""
    with subprocess.Popen(
        [str(RC), "sandbox", "serve", str(demo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.terminate()
        process.communicate(timeout=20)

    assert process.returncode == 0


def test_serve_with_credentials_and_faults(demo):
    """Users, tokens, workspace and faults can be given on the command line."""
    options = ["--workspace", "umbrella", "--user", "a@b.example:t:1", "--token", "x", "--fault", "status@commits=503"]
    command = [str(RC), "sandbox", "serve", str(demo / "api.git"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip() + "/repositories/umbrella/api"
        with httpx.Client(trust_env=False, timeout=20) as client:
            found = [
                client.get(address).status_code,
                client.get(address, auth=("a@b.example", "t:1")).status_code,
                client.get(address, headers={"Authorization": "Bearer x"}).status_code,
                client.get(f"{address}/commits", headers={"Authorization": "Bearer x"}).status_code,
            ]
        process.terminate()
        process.communicate(timeout=20)

    assert found == [401, 200, 200, 503]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "nowhere"),
        (["empty"], "no git repository"),
        ([], "PATH"),
        (["demo", "--fault", "statu=503"], "did you mean 'status'"),
        (["demo", "--fault", "status=200"], "CODE"),
        (["demo", "--fault", "status"], "NAME=VALUE"),
        (["demo", "--user", "secret-without-colon"], "EMAIL:TOKEN"),
        (["demo", "--port", "99999"], "99999"),
        (["demo", "--app-password", "secret"], "NAME:PASSWORD"),
        (["demo", "--state", "state"], "is no state of the sandbox"),
        (["demo", "--state", "old"], "another version"),
        (["demo", "--state", "demo/api.git/HEAD"], "cannot be used"),
        (["demo", "--host", "256.256.256.256"], "256.256.256.256"),
    ],
)
def test_bad_input_is_one_line(demo, options, words, monkeypatch):
    """What was typed wrong is one line on stderr and exit code 2, without secrets."""
    monkeypatch.chdir(demo.parent)

    done = CliRunner().invoke(sandbox, ["serve", *options])

    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr.strip().splitlines()[-1]
    assert "secret" not in done.stderr


def test_bad_input_of_a_process(demo):
    """A process says the same, and has no traceback."""
    done = rc("sandbox", "serve", demo, "--fault", "statu=503")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rc: no fault 'statu'; did you mean 'status'?\n"


def test_port_that_is_taken(demo):
    """A port that is taken is one line and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = rc("sandbox", "serve", demo, "--port", port)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(port) in done.stderr


def test_variables_of_a_git_hook_do_not_count(demo, tmp_path):
    """Started where git has set its variables, it serves what it was given."""
    environment = {**os.environ, "GIT_DIR": str(tmp_path), "GIT_OBJECT_DIRECTORY": str(tmp_path), "GIT_INDEX_FILE": "x"}
    command = [str(RC), "sandbox", "serve", str(demo)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        url = process.stdout.readline().strip()
        answer = httpx.get(f"{url}/repositories/acme/api/commits", trust_env=False, timeout=20)
        process.terminate()
        process.communicate(timeout=20)

    assert answer.json()["values"]


def test_command_of_its_own(demo):
    """Without `rc` the same command is there, and says what is wrong in one line as well."""
    command = [sys.executable, "-m", "releasecopilot_bitbucket_sandbox", "serve", str(demo), "--fault", "statu=503"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bitbucket-sandbox: no fault 'statu'; did you mean 'status'?\n"


# --- demo --------------------------------------------------------------------------------------------------------


def test_demo_is_the_same_for_the_same_time(demo, tmp_path, git_environment):
    """The same --now gives the same shas, in whatever zone it is told and whoever makes it."""
    environment = {**os.environ, "GIT_AUTHOR_NAME": "X", "GIT_DIR": str(tmp_path), "TZ": "Asia/Tokyo"}
    other = rc("sandbox", "demo", tmp_path / "other", "--now", "2026-11-23T17:00:00+00:00", environment=environment)

    assert other.returncode == 0, other.stderr
    assert refs(demo, git_environment) == refs(tmp_path / "other", git_environment)


def test_demo_is_remade(demo, tmp_path, git_environment):
    """A folder that it made is made anew, without what has been added; another --now gives other shas."""
    make(tmp_path / "mine", datetime.fromisoformat("2026-11-24T10:00:00-07:00"))
    other = refs(tmp_path / "mine", git_environment)
    heads = tmp_path / "mine" / "api.git" / "refs" / "heads"
    (heads / "more").write_bytes((heads / "main").read_bytes())

    assert rc("sandbox", "demo", tmp_path / "mine", "--now", NOW).returncode == 0
    assert refs(tmp_path / "mine", git_environment) == refs(demo, git_environment) != other


def test_demo_in_an_empty_folder(tmp_path):
    """An empty folder is filled."""
    (tmp_path / "empty").mkdir()

    assert rc("sandbox", "demo", tmp_path / "empty").returncode == 0
    assert (tmp_path / "empty" / "api.git").is_dir()


def test_demo_leaves_other_folders_alone(tmp_path):
    """A folder that holds something else is refused in one line, and keeps what it holds."""
    (tmp_path / "mine.txt").write_text("mine")

    done = rc("sandbox", "demo", tmp_path)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_demo_leaves_files_alone(tmp_path):
    """A file in its place is refused in one line."""
    (tmp_path / "file").write_text("mine")

    done = rc("sandbox", "demo", tmp_path / "file")

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_time_that_is_none(tmp_path):
    """A --now that is no time is refused in one line, and nothing is written."""
    done = rc("sandbox", "demo", tmp_path / "demo", "--now", "yesterday")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("now", ["0001-01-01T00:00:00+00:00", "1970-01-02T00:00:00"])
def test_time_before_all_times(tmp_path, now):
    """A --now from which the demo cannot count back is refused in one line, and nothing is written."""
    done = rc("sandbox", "demo", tmp_path / "demo", "--now", now)

    assert done.returncode == 2
    assert "too early" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "demo").exists()
