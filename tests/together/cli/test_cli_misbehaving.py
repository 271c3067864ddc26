"""Installed plugins that do what they must not: one line names each, the run is recorded, and no traceback is shown."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

PLUGIN = '''
"""A source, an extractor, a store and a sink; the environment says what each does wrong."""

import os
from datetime import UTC, datetime

from releasecopilot_core import Batch, Commit, CommitStorage, Plan, Repository, Scanned, Sighting, Walk, hookimpl

WRONG = os.environ.get("WRONG", "")
API = Repository(source="odd", uuid="{1}", full_name="acme/api", main_branch="main")
SECRET = "hunter2-" * 3


def good(uuid="{1}"):
    now = datetime.now(UTC)
    seen = frozenset({Sighting(uuid, now, branch="main", own=True)})
    commit = Commit(sha="a" * 40, author="Ann", date=now, message="RC-1", files=(), parents=(), sightings=seen)
    walk = Walk(branch="main", target="a" * 40, boundary=frozenset())
    return Batch(repository=API, commits=(commit,), walk=walk, walk_ended="done", listed=1)


LAST = Batch(repository=API, scanned=Scanned(name="acme/api", status="complete", branches=("main",)))


def batches():
    if WRONG == "foreign commits":
        yield good("{2}")
    if WRONG == "commits of nothing":
        yield Batch(commits=good().commits)
    yield good()
    if WRONG == "text":
        yield "a text" * 50
    if WRONG == "text inside":
        yield Batch(repository=API, commits=("a text",))
    if WRONG == "problem inside":
        yield Batch(repository=API, problems=("all is lost",))
    if WRONG == "raises":
        token = SECRET
        raise RuntimeError("out of\\nluck")
    if WRONG == "exits":
        raise SystemExit(0)
    yield LAST
    if WRONG == "cancels":
        raise GeneratorExit


class Source:
    begun = False

    if WRONG != "no requests":
        @property
        def requests(self):
            return {}["requests"] if WRONG == "requests raise" and self.begun else 0

    if WRONG != "no scan":
        def scan(self, request, memory):
            self.begun = True
            if WRONG == "no iterator":
                return None
            return list(batches()) if WRONG == "a list" else batches()

    def plan(self, request, memory):
        if WRONG == "plan raises":
            raise RuntimeError("no plan")
        return [] if WRONG == "plan of none" else Plan(entries=())

    if WRONG != "no close":
        def close(self):
            if WRONG == "close raises":
                raise RuntimeError("it is jammed")


class Store(CommitStorage):
    pass


def broken(self, *arguments, **named):
    raise RuntimeError("the disk is on fire")


if WRONG.startswith("store "):
    setattr(Store, WRONG.removeprefix("store "), broken)


class Lacking:
    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        if name == "apply":
            raise AttributeError(name)
        return getattr(self._store, name)


class Sink:
    if WRONG != "sink without publish":
        def publish(self, run, entries, problems):
            for entry in entries:
                if WRONG == "sink raises":
                    raise RuntimeError("the ink is dry")
                if WRONG == "sink exits":
                    raise SystemExit(0)
            return None if WRONG == "sink of nothing" else "odd:paper"

    def discard(self, run_id):
        raise RuntimeError("nothing to tear up")


@hookimpl
def rc_sources():
    def open_odd(settings):
        """Scan something odd."""
        return Source()

    open_odd.needs_settings = False
    return {"odd": open_odd}


@hookimpl
def rc_open_store(url, create):
    if not url.startswith("odd:"):
        return None
    store = Store(url.removeprefix("odd:"), create=create)
    return Lacking(store) if WRONG == "store lacks" else store


@hookimpl
def rc_open_sink(url):
    return Sink() if url.startswith("odd:") else None


@hookimpl
def rc_story_keys(commit):
    if WRONG == "extractor exits":
        raise SystemExit(0)
    if WRONG == "extractor raises":
        raise RuntimeError("lost the key")
'''

SCAN = ("ingest", "odd-scan", "--database", "commits.db", "--artifact-dir", "artifacts")
WHOSE = "plugin 'misbehaving': "
SOURCE, SINK = f"{WHOSE}source 'odd' failed", f"{WHOSE}the artifact's sink failed"
LOG = "; the log has the traceback"


@pytest.fixture(scope="module")
def plugin(install: Any) -> str:
    """Return the path of the installed plugin."""
    return str(install(("odd-things", PLUGIN, {"releasecopilot": {"misbehaving": "odd_things"}})))


@pytest.fixture
def rc(empty_shell: Any, plugin: str) -> Any:
    """Return a function that runs a command with the plugin, which does one thing wrong."""

    def run(wrong: str, *arguments: str) -> Any:
        done = empty_shell.rc(*arguments, PYTHONPATH=plugin, WRONG=wrong, RC_LOGS="logs")
        assert "Traceback" not in done.out + done.err
        assert "hunter2" not in done.out + done.err + "".join(log(empty_shell))
        return done

    return run


def log(shell: Any) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((shell.folder / "logs").glob("*.log"))]


def recorded(rc: Any) -> list[tuple[str, list[str]]]:
    """Return how the runs in the database ended, newest first."""
    rows = json.loads(rc("", "runs", "list", "--database", "commits.db", "--json").out)
    return [(row["status"], [p["message"] for p in (row["report"] or {}).get("problems", [])]) for row in rows]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "foreign commits",
            "(ValueError: commit aaaaaaaaaaaa was sighted in '{2}', and the Batch is of acme/api ('{1}'))",
        ),
        ("commits of nothing", "(ValueError: a Batch with commits, pull requests or a walk must name its repository)"),
        ("text", "(TypeError: expected a Batch, not 'a texta text"),
        ("text inside", "(TypeError: Batch.commits: expected a Commit, not 'a text')"),
        ("problem inside", "(TypeError: Batch.problems: expected a Problem, not 'all is lost')"),
        ("raises", "(RuntimeError: out of luck)"),
        ("exits", "(SystemExit: 0)"),
        ("cancels", "(GeneratorExit)"),
        ("no iterator", "(TypeError: 'NoneType' object is not iterable)"),
    ],
)
def test_source_fails_the_run(rc: Any, empty_shell: Any, wrong: str, message: str) -> None:
    """What came before stays, the artifact and the record say `failed`, and the next scan is as good as any."""
    done = rc(wrong, *SCAN)
    (line,) = [line for line in done.err.splitlines() if line.startswith("rc: ")]
    assert (done.code, line.startswith(f"rc: {SOURCE} {message}"), line.endswith(LOG)) == (1, True, True), line
    assert [document["status"] for document in empty_shell.documents()] == ["failed"]
    assert recorded(rc) == [("failed", [line.removeprefix("rc: ")])]
    assert "Traceback" in log(empty_shell)[0]
    assert rc("", *SCAN).code == 0


@pytest.mark.parametrize("wrong", ["no scan", "no requests", "no close"])
def test_source_that_lacks_something_is_refused(rc: Any, empty_shell: Any, wrong: str) -> None:
    """Before anything is begun: no database, no artifact, no log."""
    done = rc(wrong, *SCAN)
    expected = f"{WHOSE}its source 'odd' has no {wrong.removeprefix('no ')!r}; fix it, or upgrade it"
    assert (done.code, done.problem) == (1, expected)
    assert empty_shell.files() == set()


def test_source_that_closes_badly_has_done_its_work(rc: Any, empty_shell: Any) -> None:
    """All is stored by then: the log tells, and the run is complete; a list instead of a generator will do as well."""
    assert (rc("close raises", *SCAN).code, rc("a list", *SCAN).code) == (0, 0)
    assert [status for status, _ in recorded(rc)] == ["complete", "complete"]
    # Which log comes first is open: two runs of one second differ by chance only.
    assert ["it is jammed" in text for text in log(empty_shell)].count(True) == 1


def test_source_that_cannot_count_is_told_of(rc: Any) -> None:
    """How many requests it sent is not known; all else is."""
    done = rc("requests raise", *SCAN)
    assert (done.code, f"rc: {SOURCE} (KeyError: 'requests'){LOG}" in done.err) == (3, True)
    assert [status for status, _ in recorded(rc)] == ["partial"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("plan raises", f"{WHOSE}plan of source 'odd' failed (RuntimeError: no plan)"),
        ("plan of none", f"{WHOSE}source 'odd' planned list, not a Plan"),
    ],
)
def test_plan_that_fails_is_one_line(rc: Any, empty_shell: Any, wrong: str, message: str) -> None:
    """A dry run writes nothing, whatever happens."""
    done = rc(wrong, *SCAN, "--dry-run")
    assert (done.code, done.problem, empty_shell.files()) == (1, message, set())


@pytest.mark.parametrize(
    ("method", "code", "status"),
    [
        ("begin_run", 1, None),
        ("heads", 1, "failed"),
        ("apply", 1, "failed"),
        ("refresh", 1, "failed"),
        ("owed_count", 1, "failed"),
        ("sighted", 3, "partial"),
        ("finish_run", 3, "running"),
    ],
)
def test_store_that_raises_is_blamed(rc: Any, method: str, code: int, status: str | None) -> None:
    """The run is recorded as far as the store lets us; the exit code tells in any case."""
    done = rc(f"store {method}", "ingest", "odd-scan", "--database", "odd:commits.db", "--artifact-dir", "artifacts")
    told = f"{WHOSE}the store's {method!r} failed (RuntimeError: the disk is on fire); what was stored stays"
    assert (done.code, told in done.err) == (code, True), done.err
    found = recorded(rc)
    assert [found_status for found_status, _ in found] == ([] if status is None else [status])
    if status not in (None, "running"):
        assert told in found[0][1]


def test_store_that_lacks_something_is_blamed(rc: Any) -> None:
    """One that was written for an older release, say."""
    done = rc("store lacks", "ingest", "odd-scan", "--database", "odd:commits.db", "--artifact-dir", "artifacts")
    told = f"rc: {WHOSE}its store has no 'apply'; fix it, or upgrade it"
    assert (done.code, told in done.err.splitlines()) == (1, True)
    assert [status for status, _ in recorded(rc)] == ["failed"]


def test_questions_to_a_store_that_raises_are_one_line(rc: Any) -> None:
    """The same outside of runs."""
    assert rc("", *SCAN).code == 0
    done = rc("store stories", "stories", "--database", "odd:commits.db")
    assert (done.code, done.problem.split(" (")[0]) == (1, f"{WHOSE}the store's 'stories' failed")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sink raises", "(RuntimeError: the ink is dry)"),
        ("sink exits", "(SystemExit: 0)"),
        ("sink of nothing", "(TypeError: publish returned None, not where the artifact is)"),
    ],
)
def test_sink_makes_the_run_partial(rc: Any, wrong: str, message: str) -> None:
    """What was scanned is stored."""
    done = rc(wrong, "ingest", "odd-scan", "--database", "commits.db", "--artifact-dir", "odd:x")
    line = f"{SINK} {message}{LOG}; what was scanned is stored"
    assert (done.code, f"rc: {line}" in done.err.splitlines()) == (3, True), done.err
    assert recorded(rc) == [("partial", [line])]


def test_sink_without_publish_is_refused(rc: Any) -> None:
    """Before the database is made."""
    done = rc("sink without publish", "ingest", "odd-scan", "--database", "commits.db", "--artifact-dir", "odd:x")
    assert (done.code, done.problem) == (1, f"{WHOSE}its artifact folder has no 'publish'; fix it, or upgrade it")


def test_sink_that_cannot_discard_is_told_of(rc: Any, empty_shell: Any) -> None:
    """What a killed run left is not its last word: the run goes on, and is partial."""
    import sqlite3

    assert rc("", *SCAN).code == 0
    db = sqlite3.connect(empty_shell.folder / "commits.db")
    db.execute("UPDATE runs SET status = 'running', process = 'random 0', pid = 999999999")
    db.commit()
    db.close()
    done = rc("", "ingest", "odd-scan", "--database", "commits.db", "--artifact-dir", "odd:x")
    assert (done.code, f"rc: {SINK} (RuntimeError: nothing to tear up){LOG}" in done.err.splitlines()) == (3, True)
    assert [status for status, _ in recorded(rc)] == ["partial", "abandoned"]


@pytest.mark.parametrize(
    ("wrong", "message"), [("extractor exits", "SystemExit: 0"), ("extractor raises", "RuntimeError: lost the key")]
)
def test_extractor_makes_the_run_partial(rc: Any, wrong: str, message: str) -> None:
    """The others' keys are there; the line says how to mend it."""
    done = rc(wrong, *SCAN)
    told = (
        rf"^rc: {WHOSE}rc_story_keys failed .*\({message}\); fix it and run `rc rekey`, or set RC_DISABLED_PLUGINS=misb"
    )
    assert (done.code, bool(re.search(told, done.err, re.MULTILINE))) == (3, True), done.err
    assert [status for status, _ in recorded(rc)] == ["partial"]


def test_rekey_keeps_keys_while_a_plugin_fails(rc: Any) -> None:
    """What an extractor that is broken just now had found would be lost: one line names it, and no key goes."""
    assert rc("", *SCAN).code == 0
    for more in ("--dry-run", "--yes"):
        done = rc("extractor raises", "rekey", "--database", "commits.db", "--source", "odd", more)
        message = (
            rf"{WHOSE}rc_story_keys failed .*\(RuntimeError: lost the key\); fix it and run `rc rekey`, or set RC_.*"
        )
        assert (done.code, bool(re.fullmatch(message, done.problem))) == (1, True), done.problem
    told = json.loads(rc("", "stories", "--database", "commits.db", "--json").out)
    assert [story["story_key"] for story in told] == ["RC-1"]
