"""The `Ingestor`: one path from a source to the store and the artifact, however it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from releasecopilot_core import (
    Batch,
    Commit,
    CommitStorage,
    Ingestor,
    Problem,
    Progress,
    Repository,
    Run,
    Scanned,
    Settings,
    Sighting,
    Walk,
    hookimpl,
    phoenix,
)
from releasecopilot_core._clock import utc_now
from releasecopilot_core.errors import AuthenticationError, SourceError, UsageError
from releasecopilot_core.testing import FakeSource

REPOSITORY = Repository(source="toy", uuid="{1}", full_name="acme/api", main_branch="main")


class Toy:
    """A plugin with one source; what it yields is decided by the test."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source

    @hookimpl
    def rc_sources(self) -> dict[str, Any]:
        return {"toy": lambda settings: self.source}


def commit(number: int, *, message: str = "RC-1 fix", branch: str = "main", hours_ago: float = 1) -> Commit:
    return Commit(
        sha=f"{number:040x}",
        author="Ann <ann@acme.example>",
        message=message,
        date=utc_now() - timedelta(hours=hours_ago),
        parents=(f"{number - 1:040x}",) if number > 1 else (),
        files=(),
        sightings=frozenset({Sighting("{1}", utc_now(), branch=branch, own=branch != "main")}),
    )


def complete(*commits: Commit, repository: Repository = REPOSITORY, branch: str = "main") -> list[Batch]:
    """Return the batches of one repository whose branch is walked to the end."""
    walk = Walk(branch=branch, target=commits[-1].sha, boundary=frozenset())
    return [
        Batch(repository=repository, commits=commits, walk=walk, walk_ended="done", listed=len(commits)),
        Batch(repository=repository, scanned=Scanned(name=repository.full_name, status="complete", branches=(branch,))),
    ]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Return a function that opens an ingestor with a toy source over this test's own files."""
    open_ones: list[Ingestor] = []

    def open_one(source: FakeSource | list[Batch], **plugins: Any) -> Ingestor:
        toy = Toy(source if isinstance(source, FakeSource) else FakeSource(source))
        ingestor = Ingestor(
            Settings(), plugins={"toy": toy, **plugins}, database=tmp_path / "c.db", artifacts=tmp_path / "artifacts"
        )
        open_ones.append(ingestor)
        return ingestor

    yield open_one
    for ingestor in open_ones:
        ingestor.close()


def document(run: Run) -> dict[str, Any]:
    assert run.artifact is not None
    return dict(json.loads(Path(run.artifact).read_text(encoding="utf-8")))


def test_scan_stores_finds_keys_and_publishes(opened: Any) -> None:
    """The lines of the documentation: one call, and the run says what came of it."""
    ingestor = opened(
        complete(commit(1), commit(2, message="no key", branch="feature/RC-2_x"), branch="feature/RC-2_x")
    )
    run = ingestor.scan("toy", hours=4)
    assert (run.status, run.new, sorted(run.story_keys)) == ("complete", 2, ["RC-1", "RC-2"])
    payload = {entry["hash"][-1]: entry for entry in document(run)["payload"]}
    assert payload["1"]["story_keys"] == ["RC-1"]
    assert (payload["2"]["branch"], payload["2"]["story_keys"]) == ("feature/RC-2_x", ["RC-2"])
    assert payload["1"]["modified_on"].endswith("-07:00")
    assert document(run)["repositories"][0]["heads_after"] == {"feature/RC-2_x": f"{2:040x}"}


def test_second_run_finds_nothing_new_and_refreshes(opened: Any) -> None:
    """Replays are harmless: the same commits are told as seen again."""
    ingestor = opened(complete(commit(1), commit(2)))
    assert ingestor.scan("toy").new == 2
    run = ingestor.scan("toy")
    assert (run.new, run.listed) == (0, 2)
    quiet = [Batch(repository=REPOSITORY, scanned=Scanned(name="acme/api", status="complete", branches=("main",)))]
    run = opened(quiet).scan("toy")
    assert (run.status, run.new, run.listed, run.refreshed) == ("complete", 0, 0, 2)
    assert [entry["new"] for entry in document(run)["payload"]] == [False, False]


def test_in_window_and_new_are_told_apart(opened: Any) -> None:
    """A late push is new but not in the window."""
    run = opened(complete(commit(1, hours_ago=100), commit(2))).scan("toy", hours=4)
    assert [(entry["in_window"], entry["new"]) for entry in document(run)["payload"]] == [(False, True), (True, True)]


def test_failed_repository_makes_the_run_partial(opened: Any) -> None:
    """The others go on; the run and the artifact name what is missing."""
    problem = Problem(kind="forbidden", message="acme/web: not allowed", repository="acme/web")
    web = attrs.evolve(REPOSITORY, uuid="{2}", full_name="acme/web")
    failed = Batch(repository=web, problems=(problem,), scanned=Scanned(name="acme/web", status="failed"))
    run = opened([failed, *complete(commit(1))]).scan("toy")
    assert (run.status, run.new, run.problems) == ("partial", 1, (problem,))
    assert {entry["name"]: entry["status"] for entry in document(run)["repositories"]} == {
        "acme/api": "complete",
        "acme/web": "failed",
    }


def test_all_repositories_failed_is_a_failed_run(opened: Any) -> None:
    """Nothing could be scanned: failed, with an artifact that says so."""
    failed = Batch(problems=(Problem(kind="x", message="m"),), scanned=Scanned(name="acme/web", status="failed"))
    run = opened([failed]).scan("toy")
    assert (run.status, document(run)["status"]) == ("failed", "failed")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(AuthenticationError("refused"), "authentication"), (SourceError("away", kind="unreachable"), "unreachable"),
     (ZeroDivisionError("a bug"), "plugin")],
)  # fmt: skip
def test_source_that_breaks_off_leaves_an_artifact(opened: Any, error: Exception, kind: str) -> None:
    """What was stored stays; run and artifact are failed and name the reason."""

    def broken(request: Any, memory: Any) -> Iterator[Batch]:
        yield complete(commit(1))[0]
        raise error

    ingestor = opened(FakeSource(broken))
    run = ingestor.scan("toy")
    assert (run.status, [problem.kind for problem in run.problems]) == ("failed", [kind])
    assert document(run)["status"] == "failed"
    assert [entry["hash"] for entry in document(run)["payload"]] == [f"{1:040x}"]
    assert len(list(ingestor.store("toy").commits())) == 1


def exits_half_way(request: Any, memory: Any) -> Iterator[Batch]:
    yield complete(commit(1))[0]
    raise SystemExit(7)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (exits_half_way, "plugin 'toy': source 'toy' failed (SystemExit: 7)"),
        (
            [complete(commit(1))[0], "no batch"],
            "plugin 'toy': source 'toy' failed (TypeError: expected a Batch, not 'no batch')",
        ),
        ([complete(commit(1))[0], None], "plugin 'toy': source 'toy' failed (TypeError: expected a Batch, not None)"),
    ],
    ids=["SystemExit", "text", "None"],
)
def test_source_that_misbehaves_is_blamed(opened: Any, batches: Any, message: str) -> None:
    """It neither ends the process nor passes as a complete run; what came before stays."""
    run = opened(FakeSource(batches)).scan("toy")
    assert (run.status, run.new, document(run)["status"]) == ("failed", 1, "failed")
    assert run.problems[0].message.startswith(message)


class BrokenSink:
    """A sink that raises when it has read one entry."""

    @hookimpl
    def rc_open_sink(self, url: str) -> BrokenSink:
        return self

    def publish(self, run: Run, entries: Iterator[Any], problems: list[Any]) -> str:
        next(entries)
        raise KeyError("acme")

    def discard(self, run_id: str) -> None:
        """Nothing is left over."""


def test_sink_that_raises_makes_the_run_partial(opened: Any, tmp_path: Path) -> None:
    """What was scanned is stored, and the run is recorded with what is missing."""
    run = opened(complete(commit(1)), **{"a-sink": BrokenSink()}).scan("toy")
    assert (run.status, run.new, run.artifact) == ("partial", 1, None)
    (problem,) = run.problems
    assert (problem.kind, problem.message.split(";")[0]) == (
        "artifact",
        "plugin 'a-sink': the artifact's sink failed (KeyError: 'acme')",
    )
    with CommitStorage(tmp_path / "c.db") as storage:
        assert [row["status"] for row in storage.runs()] == ["partial"]


def test_wrong_request_is_raised_and_leaves_no_artifact(opened: Any, tmp_path: Path) -> None:
    """An unknown repository is the caller's mistake: nothing was scanned, nothing is published."""

    def refuse(request: Any, memory: Any) -> Iterator[Batch]:
        raise UsageError("no repository 'x'")
        yield

    with pytest.raises(UsageError, match="no repository 'x'"):
        opened(FakeSource(refuse)).scan("toy")
    assert list((tmp_path / "artifacts").glob("*.json")) == []


def test_interrupted_scan_keeps_what_was_stored(opened: Any) -> None:
    """After Ctrl-C the artifact says `interrupted`, and the interruption goes on."""
    finished: list[Run] = []
    source = FakeSource()

    def interrupted(request: Any, memory: Any) -> Iterator[Batch]:
        yield complete(commit(1))[0]
        raise KeyboardInterrupt

    source.batches = interrupted
    with pytest.raises(KeyboardInterrupt):
        opened(source).scan("toy", on_finish=finished.append)
    (run,) = finished
    assert (run.status, document(run)["status"]) == ("interrupted", "interrupted")
    assert document(run)["repositories"][0]["status"] == "partial"
    assert source.closed


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e9, True, "4"])
def test_hours_must_be_a_length_of_time(opened: Any, hours: Any) -> None:
    """Anything else is refused before anything is opened."""
    with pytest.raises(UsageError, match="hours: "):
        opened([]).scan("toy", hours=hours)


def test_plugin_that_fails_to_load_makes_the_run_partial(opened: Any) -> None:
    """The run goes on without it, names it, and `strict` refuses to start."""
    ingestor = opened(complete(commit(1)), broken=[])
    run = ingestor.scan("toy")
    assert run.status == "partial"
    assert "plugin 'broken': failed to load" in run.problems[0].message
    with pytest.raises(UsageError, match=r"plugin 'broken'.*\(--strict\)"):
        ingestor.scan("toy", strict=True)


def test_unknown_settings_key_is_refused(tmp_path: Path) -> None:
    """A top-level key that nobody answers to is a typing mistake."""
    settings = Settings({"tyo": {}}, origin="s.yaml")
    with Ingestor(settings, plugins={"toy": Toy(FakeSource())}, database=tmp_path / "c.db") as ingestor:
        with pytest.raises(UsageError, match=r"s\.yaml: tyo: unknown key; did you mean 'toy'\?"):
            ingestor.scan("toy")


def test_progress_counts_repositories(opened: Any) -> None:
    """How many will come is told as soon as it is known."""
    seen: list[Progress] = []
    opened([Batch(expected=1), *complete(commit(1))]).scan("toy", on_progress=seen.append)
    assert [(progress.finished, progress.expected) for progress in seen] == [(0, 1), (1, 1)]
    assert seen[-1].report.status == "complete"


def test_two_ingestors_and_threads_share_one_database(opened: Any, tmp_path: Path) -> None:
    """Usable twice in one process and from several threads; every commit is there once."""
    others = [attrs.evolve(REPOSITORY, uuid=f"{{{n}}}", full_name=f"acme/r{n}") for n in range(4)]
    runs: list[Run] = []

    def scan(number: int) -> None:
        seen = attrs.evolve(next(iter(commit(1).sightings)), repository=others[number].uuid)
        commits = [attrs.evolve(commit(n), sightings=frozenset({seen})) for n in range(1, 30)]
        runs.append(opened(complete(*commits, repository=others[number])).scan("toy"))

    threads = [threading.Thread(target=scan, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.status for run in runs] == ["complete"] * 4
    assert len({run.run_id for run in runs}) == 4
    with CommitStorage(tmp_path / "c.db") as store:
        assert len(list(store.commits())) == 4 * 29


def test_one_ingestor_scans_from_several_threads(opened: Any) -> None:
    """One object serves them all; each run sees its own commits only."""
    shared = opened([])
    runs: list[Run] = []

    def scan(number: int) -> None:
        runs.append(shared.scan("toy"))

    threads = [threading.Thread(target=scan, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.status for run in runs] == ["complete"] * 4


def test_abandoned_run_is_marked_and_its_temporary_file_removed(opened: Any, tmp_path: Path) -> None:
    """After `kill -9` the next run cleans up."""
    ingestor = opened(complete(commit(1)))
    ingestor.scan("toy", run_id="20200101T000000Z-dead00")
    with CommitStorage(tmp_path / "c.db") as store, store._connection.writing() as db:
        db.execute("UPDATE runs SET status = 'running', pid = 999999999")
    part = tmp_path / "artifacts" / ".20200101T000000Z-dead00.json.part"
    part.write_text("{")
    ingestor.scan("toy")
    assert not part.exists()
    assert [run["status"] for run in ingestor.store("toy").runs()] == ["complete", "abandoned"]


# --- story keys ----------------------------------------------------------------------------------------------


def test_changed_rules_are_noticed_and_rekey_mends(opened: Any, tmp_path: Path) -> None:
    """With an allow-list added, stored keys are stale until they are derived anew."""
    opened(complete(commit(1, message="RC-1 and MOB-2"))).scan("toy")
    settings = Settings({"story_keys": {"projects": ["RC"]}})
    with Ingestor(settings, database=tmp_path / "c.db") as ingestor:
        assert ingestor.keys_are_stale("toy")
        ((sha, before, now),) = ingestor.rekey("toy", apply=False)
        assert ({key.key for key in before}, {key.key for key in now}) == ({"RC-1", "MOB-2"}, {"RC-1"})
        assert ingestor.keys_are_stale("toy")
        ingestor.rekey("toy")
        assert not ingestor.keys_are_stale("toy")
        assert ingestor.rekey("toy", apply=False) == []
        assert [row["story_key"] for row in ingestor.store("toy").stories()] == ["RC-1"]


def test_same_rules_are_never_stale(opened: Any) -> None:
    """A scan with today's rules leaves nothing to mend, whatever ran before."""
    ingestor = opened(complete(commit(1)))
    assert not ingestor.keys_are_stale("toy")
    ingestor.scan("toy")
    ingestor.scan("toy")
    assert not ingestor.keys_are_stale("toy")
    assert ingestor.rekey("toy", apply=False) == []


def test_phoenix_has_no_daylight_saving() -> None:
    """The offset is the same in summer."""
    assert phoenix(utc_now().replace(year=2026, month=7, day=1)).endswith("-07:00")
