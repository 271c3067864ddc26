"""`rc stories`, `rc commits` and `rc runs` answer from the database that a scan filled."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest


def rows(text: str) -> list[list[str]]:
    """Return a table's cells, without its header."""
    return [re.split(r" {2,}", line) for line in text.splitlines()[1:]]


def test_stories_as_a_table(scanned: Any) -> None:
    """The story with the latest commit comes first, what belongs to none comes last."""
    done = scanned.rc("stories")
    assert done.err == ""
    assert done.out.splitlines()[0].split() == ["STORY", "COMMITS", "REPOSITORIES", "FIRST", "LAST"]
    assert [row[:3] for row in rows(done.out)] == [
        ["RC-2", "2", "acme/api, acme/web-shop"],
        ["RC-3", "1", "acme/api"],
        ["RC-1", "1", "acme/api"],
        ["(no story)", "1", "acme/web-shop"],
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", cell) for row in rows(done.out) for cell in row[3:])


def test_stories_as_json_and_csv(scanned: Any) -> None:
    """Nothing is cut; lists stay lists, times carry the Phoenix offset, and no story is null."""
    stories = scanned.rc("stories", "--json").json
    assert [(s["story_key"], s["commits"], s["repositories"]) for s in stories][:2] == [
        ("RC-2", 2, ["acme/api", "acme/web-shop"]),
        ("RC-3", 1, ["acme/api"]),
    ]
    assert stories[-1]["story_key"] is None
    assert all(story["last"].endswith("-07:00") for story in stories)
    table = list(csv.DictReader(io.StringIO(scanned.rc("stories", "--csv").out)))
    assert [line["story_key"] for line in table] == ["RC-2", "RC-3", "RC-1", ""]
    assert table[0]["repositories"] == "acme/api;acme/web-shop"


def test_questions_about_a_window_and_some_repositories(scanned: Any) -> None:
    """--hours and --repos narrow both questions; the workspace's name may be left out."""
    narrow = ("--hours", "2.5", "--repos", "acme/api", "--json")
    assert [story["story_key"] for story in scanned.rc("stories", *narrow).json] == ["RC-3", "RC-2"]
    assert {commit["repository"] for commit in scanned.rc("commits", *narrow).json} == {"acme/api"}
    assert len(scanned.rc("commits", *narrow).json) == 2
    assert len(scanned.rc("commits", "--repos", "web-shop", "api", "--json").json) == 5
    assert scanned.rc("commits", "--repos", "nope").out == "No commits are stored for that.\n"
    assert scanned.rc("stories", "--repos", "nope", "--json").json == []


def test_commits_as_a_table(scanned: Any) -> None:
    """The newest first, with the first line of each message."""
    text = scanned.rc("commits").out
    assert text.splitlines()[0].startswith("COMMIT")
    subjects = [row[-1] for row in rows(text)]
    assert subjects == ["RC-2 Too", 'Größe, "quoted"', "No story here", "RC-2 Go on", "RC-1 Begin"]


def test_commits_of_a_story_and_of_none(scanned: Any) -> None:
    """--story and --unassigned answer which commits are in a release, and which belong to nothing."""
    found = scanned.rc("commits", "--story", "RC-2", "--json").json
    assert [(commit["repository"], commit["message"]) for commit in found] == [
        ("acme/web-shop", "RC-2 Too"),
        ("acme/api", "RC-2 Go on"),
    ]
    (lost,) = scanned.rc("commits", "--unassigned", "--json").json
    assert (lost["message"], lost["story_keys"]) == ("No story here", [])


def test_commits_as_json_and_csv_are_whole(scanned: Any) -> None:
    """Line breaks, commas, quotes and umlauts in a message survive."""
    (commit,) = scanned.rc("commits", "--story", "RC-3", "--json").json
    assert commit["message"] == 'Größe, "quoted"\n\nand more'
    assert (commit["files_changed"], commit["branches"]) == (["a.txt", "b.txt"], ["feature/RC-3_fix"])
    assert all(commit[name].endswith("-07:00") for name in ("modified_on", "last_seen_at"))
    (line,) = csv.DictReader(io.StringIO(scanned.rc("commits", "--story", "RC-3", "--csv").out))
    assert (line["message"], line["hash"]) == (commit["message"], commit["hash"])
    assert line["files_changed"] == "a.txt;b.txt"


def test_question_needs_no_settings_file(scanned: Any, empty_shell: Any) -> None:
    """--database alone is enough."""
    database = scanned.folder / "commits.db"
    assert "RC-2" in empty_shell.rc("stories", "--database", database).out
    assert len(empty_shell.rc("commits", "--database", database, "--json").json) == 5
    assert len(empty_shell.rc("runs", "list", "--database", database, "--json").json) == 1
    assert empty_shell.files() == set()


def test_runs(scanned: Any) -> None:
    """The list tells how runs ended, the details are all that is kept of one."""
    (run,) = scanned.rc("runs", "list", "--json").json
    assert (run["kind"], run["status"], run["listed"], run["new"]) == ("scan", "complete", 5, 5)
    text = scanned.rc("runs", "list").out
    assert re.search(rf"^{run['run_id']} +scan +complete +5 +5 +0 +\d+$", text, re.MULTILINE)
    shown = scanned.rc("runs", "show", run["run_id"])
    assert shown.json == run
    assert [report["name"] for report in run["report"]["repositories"]] == ["acme/api", "acme/web-shop"]
    done = scanned.rc("runs", "show", "20260101T000000Z-000000")
    assert (done.code, done.problem.split(";")[0]) == (2, "no run '20260101T000000Z-000000' in this database")


def test_runs_are_limited(shell: Any, workspace: Any) -> None:
    """The newest come first, and so many as were asked for."""
    workspace.add("api").commit("main", "RC-1")
    ids = [shell.scan("--json").json["run_id"] for _ in range(2)]
    assert [run["run_id"] for run in shell.rc("runs", "list", "--json").json] in (ids[::-1], sorted(ids, reverse=True))
    assert len(shell.rc("runs", "list", "--limit", "1", "--json").json) == 1


@pytest.mark.parametrize("command", [("stories",), ("commits",), ("runs", "list")], ids=" ".join)
def test_nothing_stored_is_said(shell: Any, workspace: Any, command: tuple[str, ...]) -> None:
    """An empty record is an answer, not an error."""
    workspace.add("empty")
    shell.scan()
    done = shell.rc(*command)
    assert (done.code, done.err) == (0, "")
    assert command[0] == "runs" or done.out == "No commits are stored for that.\n"


def test_control_characters_do_not_reach_a_terminal(shell: Any, workspace: Any) -> None:
    """A message cannot drive somebody's screen; JSON keeps it as it is."""
    workspace.add("api").commit("main", "RC-1 \x1b[2Jgone\x07")
    shell.scan()
    assert "RC-1  [2Jgone " in shell.rc("commits").out.replace("\n", " \n")
    assert "\x1b" not in shell.rc("commits").out
    assert shell.rc("commits", "--json").json[0]["message"] == "RC-1 \x1b[2Jgone\x07"
