"""Plugins that are installed as distributions of their own: found, asked, listed, and blamed by name."""

from __future__ import annotations

import re
from typing import Any

import pytest

TOY = '''
"""A source of one commit, and a command."""

from datetime import UTC, datetime

import click

from releasecopilot_core import Batch, Commit, PlanEntry, Repository, Scanned, Sighting, Walk, hookimpl

API = Repository(source="toy", uuid="{1}", full_name="toys/api", main_branch="main")
SHA = "a" * 40


class ToySource:
    requests = 0

    def scan(self, request, memory):
        now = datetime.now(UTC)
        seen = frozenset({Sighting(API.uuid, now, branch="main", own=True)})
        message = "RC-12 Fix what ticket #7 says"
        commit = Commit(sha=SHA, author="Ann <ann@acme.example>", date=now, message=message, files=(), sightings=seen)
        yield Batch(expected=1)
        walk = Walk(branch="main", target=SHA, boundary=frozenset())
        yield Batch(repository=API, commits=(commit,), walk=walk, walk_ended="done", listed=1)
        yield Batch(repository=API, scanned=Scanned(name=API.full_name, status="complete", branches=("main",)))

    def plan(self, request, memory):
        yield PlanEntry(repository=API.full_name, requests=0, note="a toy")

    def close(self):
        pass


def open_toy(settings):
    """Scan a box of toys.

    There is one in it.
    """
    return ToySource()


@hookimpl
def rc_sources():
    return {"toy": open_toy}


@click.command()
@click.option("--loud", is_flag=True)
def play(loud):
    """Play with it."""
    click.echo("PLAYING" if loud else "playing")
'''

# The whole extractor of the README.
ACME = r"""
import re
from releasecopilot_core import hookimpl

TICKET = re.compile(r"\bticket #(\d+)", re.IGNORECASE)


@hookimpl
def rc_story_keys(commit):
    return [f"ACME-{n}" for text in commit.texts for n in TICKET.findall(text)]
"""

BROKEN = "import rex_is_not_installed\n"

MISSPELT = """
from releasecopilot_core import hookimpl

@hookimpl
def rc_storykeys(commit):
    return []
"""

RAISING = """
from releasecopilot_core import hookimpl

@hookimpl
def rc_story_keys(commit):
    return [1 / 0]
"""

PLAY = {"releasecopilot.commands": {"play": "toy_source:play", "crash": "toy_source:nothing_of_that_name"}}


@pytest.fixture(scope="module")
def toy(install: Any) -> str:
    """Return the path of an installed source with a command."""
    return str(install(("toy-source", TOY, {"releasecopilot": {"toy": "toy_source"}, **PLAY})))


@pytest.fixture(scope="module")
def acme(install: Any) -> str:
    """Return the path of an installed extractor."""
    return str(install(("acme-keys", ACME, {"releasecopilot": {"acme": "acme_keys"}})))


@pytest.fixture(scope="module")
def faulty(install: Any) -> str:
    """Return the path of three installed plugins that are wrong, each in its way."""
    return str(
        install(
            ("broken", BROKEN, {"releasecopilot": {"broken": "broken"}}),
            ("misspelt", MISSPELT, {"releasecopilot": {"misspelt": "misspelt"}}),
            ("raising", RAISING, {"releasecopilot": {"raising": "raising"}}),
        )
    )


def test_installed_source_gets_its_command(empty_shell: Any, toy: str) -> None:
    """`rc ingest` knows sources by what is installed; the opener's docstring is the help."""
    listed = empty_shell.rc("ingest", "--help", PYTHONPATH=toy).out
    assert re.search(r"^  toy-scan +Scan a box of toys\.$", listed, re.MULTILINE)
    assert "toy-scan" not in empty_shell.rc("ingest", "--help").out
    text = empty_shell.rc("ingest", "toy-scan", "--help", PYTHONPATH=toy).out
    assert "There is one in it." in text
    assert "--repos NAME…" in text


def test_installed_source_scans(empty_shell: Any, toy: str) -> None:
    """It has all that comes with a source: database, artifact, logs, questions, and places named after it."""
    (empty_shell.folder / "settings.yaml").write_text("{}\n")
    done = empty_shell.rc("ingest", "toy-scan", "--config", "settings.yaml", "--json", PYTHONPATH=toy)
    assert done.code == 0
    assert (done.json["source"], done.json["status"], done.json["plugins"]["toy"]) == ("toy", "complete", "2.5")
    (document,) = empty_shell.documents("artifacts/issues/wave3/toy")
    assert [(entry["repository"], entry["story_keys"]) for entry in document["payload"]] == [("toys/api", ["RC-12"])]
    assert {"data/toy/commits.db", f"temp_data/toy/scan_{document['run_id']}.log"} <= empty_shell.files()
    stories = empty_shell.rc("stories", "--source", "toy", "--config", "settings.yaml", "--json", PYTHONPATH=toy)
    assert [story["story_key"] for story in stories.json] == ["RC-12"]


def test_installed_extractor_changes_the_keys(shell: Any, workspace: Any, acme: str) -> None:
    """The README's plugin adds its keys to what the built-in one finds; keys stored before are announced as stale."""
    workspace.add("api").commit("main", "RC-12 Fix what ticket #7 says")
    shell.scan()
    assert shell.documents()[0]["payload"][0]["story_keys"] == ["RC-12"]
    assert "run `rc rekey`" in shell.rc("stories", PYTHONPATH=acme).err
    assert shell.rc("rekey", "--yes", PYTHONPATH=acme).code == 0
    done = shell.scan(PYTHONPATH=acme)
    assert (done.code, "ACME-7" in done.out) == (0, True)
    assert workspace.rows("SELECT story_key, origin, plugin FROM commit_story_keys ORDER BY story_key") == [
        ("ACME-7", "message", "acme"),
        ("RC-12", "message", "jira-keys"),
    ]


def test_installed_command_is_one_of_rc(empty_shell: Any, toy: str) -> None:
    """It is listed without being imported, runs, and is blamed by name when it cannot be loaded."""
    listed = empty_shell.rc("--help", PYTHONPATH=toy).out
    assert re.search(r"^  play +From toy-source\.$", listed, re.MULTILINE)
    assert empty_shell.rc("play", "--loud", PYTHONPATH=toy).out == "PLAYING\n"
    done = empty_shell.rc("crash", PYTHONPATH=toy)
    assert (done.code, done.problem.split(" (")[0]) == (1, "command 'crash'")
    assert "failed to load (AttributeError" in done.err


def test_plugins_are_listed(empty_shell: Any, acme: str) -> None:
    """Name, version, status, hooks and error of each, as a table and as JSON; exit code 0 when all is well."""
    done = empty_shell.rc("plugins", PYTHONPATH=acme)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split() == ["PLUGIN", "VERSION", "STATUS", "HOOKS", "ERROR"]
    assert re.search(r"^acme +2\.5 +loaded +rc_story_keys$", done.out, re.MULTILINE)
    plugins = {plugin["name"]: plugin for plugin in empty_shell.rc("plugins", "--json", PYTHONPATH=acme).json}
    assert {"acme", "bitbucket", "jira-keys", "json-artifact", "sqlite-store"} <= set(plugins)
    assert {"rc_settings_forms", "rc_sources"} <= set(plugins["bitbucket"]["hooks"])
    assert plugins["acme"] == {
        "name": "acme",
        "version": "2.5",
        "status": "loaded",
        "hooks": ["rc_story_keys"],
        "error": None,
    }


def test_faulty_plugins_are_listed_with_their_errors(empty_shell: Any, faulty: str) -> None:
    """What cannot be loaded and what is misspelt is named with its error; exit code 3 says that something is wrong."""
    done = empty_shell.rc("plugins", PYTHONPATH=faulty)
    assert done.code == 3
    assert sorted(done.err.splitlines()) == [
        "rc: plugin 'broken': ModuleNotFoundError: No module named 'rex_is_not_installed'",
        "rc: plugin 'misspelt': unknown hook 'rc_storykeys'; did you mean 'rc_story_keys'?",
    ]
    done = empty_shell.rc("plugins", "--json", PYTHONPATH=faulty)
    assert done.code == 3
    assert {plugin["name"]: plugin["status"] for plugin in done.json if plugin["version"] == "2.5"} == {
        "broken": "failed",
        "misspelt": "failed",
        "raising": "loaded",
    }


def test_faulty_plugins_make_a_scan_partial(shell: Any, workspace: Any, faulty: str) -> None:
    """The run goes on without them, names each with a remedy, and exits 3; blocked by name they do no harm."""
    sha = workspace.add("api").commit("main", "RC-1")
    done = shell.scan(PYTHONPATH=faulty)
    assert (done.code, workspace.stored()) == (3, {sha})
    for name in ("broken", "misspelt", "raising"):
        assert re.search(rf"^rc: plugin '{name}': .*RC_DISABLED_PLUGINS={name}$", done.err, re.MULTILINE)
    (document,) = shell.documents()
    assert (document["status"], {problem["kind"] for problem in document["problems"]}) == ("partial", {"plugin"})
    assert document["payload"][0]["story_keys"] == ["RC-1"]
    blocked = shell.scan("--json", PYTHONPATH=faulty, RC_DISABLED_PLUGINS="broken,misspelt,raising")
    assert (blocked.code, blocked.json["problems"]) == (0, [])


def test_strict_refuses_to_start(shell: Any, workspace: Any, faulty: str) -> None:
    """With --strict a plugin that failed to load is a reason to do nothing at all."""
    workspace.add("api").commit("main", "RC-1")
    before = shell.entries()
    done = shell.scan("--strict", PYTHONPATH=faulty)
    assert done.code == 2
    assert done.problem.startswith("plugin 'broken': failed to load (ModuleNotFoundError")
    assert (workspace.sandbox.requests, shell.entries()) == ([], before)
    assert shell.scan("--strict").code == 0


def test_misspelt_source_tells_of_plugins_that_failed(empty_shell: Any, faulty: str) -> None:
    """The command may be missing because its plugin is broken: the line says so."""
    done = empty_shell.rc("ingest", "brokn-scan", PYTHONPATH=faulty)
    assert done.code == 2
    assert "no command 'brokn-scan'" in done.problem
    assert "plugin 'broken': failed to load" in done.err
