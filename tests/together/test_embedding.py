"""The library inside somebody's program: several times in one process, from several threads, leaving nothing behind."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from releasecopilot_core import CommitStorage, Ingestor


def content(workspace: Any) -> list[Any]:
    """Return what is stored but for the times of sightings."""
    tables = {
        "commits": "sha, author, date, message, files_status",
        "commit_parents": "*",
        "commit_files": "*",
        "commit_story_keys": "*",
        "heads": "branch, sha",
    }
    return [sorted(workspace.rows(f"SELECT {columns} FROM {table}")) for table, columns in tables.items()]


def grown(workspace: Any, slugs: tuple[str, ...] = ("api", "web", "tools")) -> set[str]:
    """Write some history into repositories; returns the shas."""
    shas: set[str] = set()
    for slug in slugs:
        repository = workspace.add(slug)
        shas |= set(repository.history("main", [3.0, 2.5, 2.0], message=f"RC-1 {slug} {{}}"))
        shas.add(repository.commit("feature/MOB-2", parents=[repository.head("main")]))
    return shas


def test_lines_of_the_readme(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file, one call, and the run tells how it went."""
    shas = grown(workspace)
    monkeypatch.chdir(workspace.folder)
    Path("config").mkdir()
    Path("config/settings.yaml").write_text(yaml.safe_dump({"bitbucket": workspace.settings().raw("bitbucket")}))
    with Ingestor.from_settings("config/settings.yaml") as ingestor:
        run = ingestor.scan("bitbucket", hours=4)
    assert (run.status, run.new, sorted(run.story_keys)) == ("complete", len(shas), ["MOB-2", "RC-1"])
    artifact = json.loads(Path(run.artifact).read_text(encoding="utf-8"))
    assert {entry["hash"] for entry in artifact["payload"]} == shas


def test_twice_in_one_process(make_workspace: Callable[[], Any]) -> None:
    """Two ingestors that are open at once know nothing of each other: other workspaces, databases, rules."""
    first, second = make_workspace(), make_workspace()
    shas, others = grown(first), grown(second, ("other",))
    with Ingestor(first.settings()) as one, Ingestor(second.settings(default_branches=["main"])) as two:
        runs = [one.scan("bitbucket"), two.scan("bitbucket"), one.scan("bitbucket")]
    assert [(run.status, run.new) for run in runs] == [("complete", 12), ("complete", 3), ("complete", 0)]
    assert first.stored() == shas
    assert second.stored() < others
    assert not first.stored() & second.stored()


def test_one_ingestor_from_several_threads(workspace: Any) -> None:
    """Scans of one repository each, at once, and questions meanwhile: the record is that of one scan after the other."""
    shas = grown(workspace)
    slugs = ["api", "web", "tools"]
    with Ingestor(workspace.settings()) as ingestor, ThreadPoolExecutor(6) as pool:
        scans = [pool.submit(ingestor.scan, "bitbucket", repositories=[slug]) for slug in slugs]
        questions = [pool.submit(lambda: list(ingestor.store("bitbucket").stories())) for _ in slugs]
        runs = [scan.result(timeout=60) for scan in scans]
        assert all(isinstance(question.result(timeout=60), list) for question in questions)
    assert [(run.status, [r.name for r in run.repositories]) for run in runs] == [
        ("complete", [f"acme/{slug}"]) for slug in slugs
    ]
    assert len({run.run_id for run in runs}) == 3
    assert workspace.stored() == shas


def test_several_ingestors_on_one_database(make_workspace: Callable[[], Any]) -> None:
    """Threads with an ingestor each scan everything at once; each commit is new to exactly one of them.

    They may leave repositories to each other, and say so.
    """
    workspace, alone = make_workspace(), make_workspace()
    shas = grown(workspace)
    grown(alone)
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: workspace.scan(), range(3)))
    assert {run.status for run in runs} <= {"complete", "partial"}
    assert {problem.kind for run in runs for problem in run.problems} <= {"busy"}
    assert sum(run.new for run in runs) == len(shas)
    assert workspace.stored() == shas
    alone.scan()
    assert content(workspace) == content(alone)


def test_record_can_be_read_while_it_is_written(workspace: Any) -> None:
    """A reader of its own sees whole batches during a scan, and hinders nobody."""
    shas = grown(workspace)
    seen: list[int] = []

    def look(_: Any) -> None:
        with CommitStorage(workspace.folder / "commits.db", create=False) as storage:
            seen.append(sum(1 for _ in storage.commits()))

    with Ingestor(workspace.settings()) as ingestor:
        run = ingestor.scan("bitbucket", on_progress=look)
    assert run.status == "complete"
    assert seen == sorted(seen)
    assert seen[-1] == len(shas)


def test_process_is_left_as_it_was(workspace: Any) -> None:
    """No handler of signals or logs stays, and none is set up during a scan."""
    grown(workspace)
    before = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), list(logging.getLogger().handlers)]
    during: list[Any] = []

    def look(_: Any) -> None:
        during.append([signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)])

    with Ingestor(workspace.settings()) as ingestor:
        ingestor.scan("bitbucket", on_progress=look)
    assert all(found == before[:2] for found in during)
    after = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), list(logging.getLogger().handlers)]
    assert after == before
    assert not (workspace.folder / "logs").exists()
