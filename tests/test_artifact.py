"""The JSON artifact: whole and valid, or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from releasecopilot_core import Problem
from releasecopilot_core.builtin.json_artifact.artifact import EntryCheck, JsonArtifacts, folder_of, schema
from releasecopilot_core.errors import ArtifactError
from releasecopilot_core.testing import SinkContract, mangled
from releasecopilot_core.testing.sinks import a_run, an_entry


class TestContract(SinkContract):
    """The JSON artifact keeps the contract of all sinks."""

    @pytest.fixture
    def sink(self, tmp_path: Path) -> JsonArtifacts:
        return JsonArtifacts(tmp_path)

    def published(self, where: str) -> dict[str, Any]:
        document = json.loads(Path(where).read_text(encoding="utf-8"))
        Draft202012Validator(schema()).validate(document)
        return dict(document)


def test_name_and_neighbours(tmp_path: Path) -> None:
    """The file is called by kind and run, its schema lies beside it, and nothing else is left."""
    where = JsonArtifacts(tmp_path / "new" / "folder").publish(a_run(), iter([an_entry()]), [])
    names = sorted(path.name for path in Path(where).parent.iterdir())
    assert names == ["run.schema.json", "scan_20261123T170000Z-abcdef.json"]
    assert json.loads((Path(where).parent / "run.schema.json").read_text()) == schema()


def test_keys_come_in_the_documented_order(tmp_path: Path) -> None:
    """Opening keys, payload, closing keys: a reader that streams knows the run before its entries."""
    document = json.loads(Path(JsonArtifacts(tmp_path).publish(a_run(), iter(()), [])).read_text())
    assert list(document) == [
        "run_id", "kind", "source", "generated_at", "timezone", "window", "payload",
        "repositories", "problems", "plugins", "requests", "git_sha", "status",
    ]  # fmt: skip
    assert document["timezone"] == "America/Phoenix"
    assert document["generated_at"] == "2026-11-23T10:00:00-07:00"
    assert document["window"] == {
        "start": "2026-11-23T06:00:00-07:00",
        "end": "2026-11-23T10:00:00-07:00",
        "hours": 4.0,
        "repositories": ["acme/api"],
    }


@pytest.mark.parametrize("status", ["complete", "partial", "failed", "interrupted"])
def test_every_way_to_end_is_valid(tmp_path: Path, status: str) -> None:
    """However a run ended, its document says so and keeps to the schema."""
    problems = [Problem(kind="forbidden", message="acme/api: not allowed", repository="acme/api")]
    run = a_run(status=status, problems=tuple(problems))
    document = json.loads(Path(JsonArtifacts(tmp_path).publish(run, iter(()), problems)).read_text())
    Draft202012Validator(schema()).validate(document)
    assert document["status"] == status


@pytest.mark.parametrize(
    "fault",
    [
        {"modified_on": "2026-11-23T17:00:00Z"},
        {"modified_on": "2026-11-23T10:00:00-06:00"},
        {"hash": "abc"},
        {"files": [{"path": "a"}]},
        {"branches": "main"},
        {"surprise": 1},
        {"in_window": None},
    ],
)
def test_schema_refuses(fault: dict[str, Any]) -> None:
    """An entry with a time that is not Phoenix, a short hash or an unknown key is not valid."""
    definition = schema()
    check = Draft202012Validator({**definition["$defs"]["entry"], "$defs": definition["$defs"]})
    assert not list(check.iter_errors(an_entry()))
    assert list(check.iter_errors(an_entry(**fault)))


DEFINITION = schema()
CHECK = EntryCheck(DEFINITION)
WHOLE = Draft202012Validator({**DEFINITION["$defs"]["entry"], "$defs": DEFINITION["$defs"]})


@given(body=mangled(an_entry()))
def test_quick_check_agrees_with_the_schema(body: bytes) -> None:
    """An entry that is mangled anywhere passes exactly when jsonschema passes it."""
    try:
        entry = json.loads(body)
    except (ValueError, RecursionError):
        return
    assert (CHECK.fault_of(entry) is None) == WHOLE.is_valid(entry)


def test_entries_are_checked_one_in_a_hundred_in_the_long_run(tmp_path: Path) -> None:
    """The first 5,000 are all checked, and later every hundredth: entry 5,000 is, entry 5,001 is not."""
    problems: list[Any] = []
    entries = (an_entry(hash="bad" if number in (4_999, 5_000, 5_001) else f"{number:040x}") for number in range(5_010))
    where = JsonArtifacts(tmp_path).publish(a_run(), entries, problems)
    assert len(problems) == 2
    assert len(json.loads(Path(where).read_text())["payload"]) == 5_008


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_full_disk_is_one_line(tmp_path: Path) -> None:
    """It is no question of rights; nothing half-written stays, and the next run writes its artifact."""
    run = a_run()
    partial = tmp_path / f".{run.run_id}.json.part"
    partial.symlink_to("/dev/full")
    with pytest.raises(ArtifactError, match=r"No space left on device\); free some space, or choose another"):
        JsonArtifacts(tmp_path).publish(run, iter([an_entry()]), [])
    assert list(tmp_path.iterdir()) == []
    assert Path(JsonArtifacts(tmp_path).publish(run, iter([an_entry()]), [])).exists()


def test_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """A file where the folder should be is found out before anything is scanned."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match=r"cannot write artifacts here .*; make it writable, or choose another"):
        JsonArtifacts(tmp_path / "file")


def test_odd_text_survives(tmp_path: Path) -> None:
    """Any text that a commit carries is read back as it was."""
    entry = an_entry(authorship='Zoë "Z" <z@acme.example>\u2028\x00', files_changed=["päth\n"])
    where = JsonArtifacts(tmp_path).publish(a_run(), iter([entry]), [])
    assert json.loads(Path(where).read_text(encoding="utf-8"))["payload"] == [entry]


@pytest.mark.parametrize(
    ("url", "folder"),
    [("a/b", "a/b"), ("file:/a/b%20c", "/a/b c"), ("file:///a", "/a"), ("s3://bucket", None), ("C:\\a", "C:\\a")],
)
def test_url_or_path(url: str, folder: str | None) -> None:
    """A scheme has two letters or more; only `file` is ours."""
    assert folder_of(url) == (None if folder is None else Path(folder))
