"""What every artifact sink must do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from releasecopilot_core import Problem, RepositoryReport, Run, Sink, Window

_MOMENT = datetime(2026, 11, 23, 17, tzinfo=UTC)


def a_run(**changes: Any) -> Run:
    """Return a finished run of one repository."""
    run = Run(
        run_id="20261123T170000Z-abcdef",
        kind="scan",
        source="test",
        window=Window.last(4, until=_MOMENT),
        started_at=_MOMENT,
        finished_at=_MOMENT,
        status="complete",
        plugins={"test": "1.0"},
        repositories=(RepositoryReport(name="acme/api", uuid="{1}", heads_after={"main": "a" * 40}),),
    )
    return attrs.evolve(run, **changes)


def an_entry(**changes: Any) -> dict[str, Any]:
    """Return one valid payload entry."""
    entry = {
        "hash": "a" * 40,
        "repository": "acme/api",
        "authorship": "Ann <ann@acme.example>",
        "branch": "main",
        "branches": ["main"],
        "files_changed": ["README.md"],
        "files": [{"path": "README.md", "status": "modified", "old_path": None, "lines_added": 1, "lines_removed": 0}],
        "files_status": "known",
        "story_keys": ["RC-12"],
        "modified_on": "2026-11-23T10:00:00-07:00",
        "source": "scan",
        "in_window": True,
        "new": True,
    }
    return {**entry, **changes}


class SinkContract:
    """Inherit, and give a fixture `sink`; override `published` to read a document back."""

    @pytest.fixture
    def sink(self) -> Sink:
        """Return an open sink."""
        raise NotImplementedError

    def published(self, where: str) -> dict[str, Any]:
        """Return the document at the place that `publish` returned."""
        raise NotImplementedError

    def test_document_has_opening_payload_and_closing(self, sink: Sink) -> None:
        """A published document carries the run's keys and its entries in order."""
        entries = [an_entry(hash=letter * 40) for letter in "abc"]
        document = self.published(sink.publish(a_run(), iter(entries), []))
        assert document["run_id"] == "20261123T170000Z-abcdef"
        assert document["payload"] == entries
        assert document["status"] == "complete"

    def test_invalid_entry_is_left_out_and_told(self, sink: Sink) -> None:
        """An entry that breaks the schema is missing, a problem names it, and the document is partial."""
        problems: list[Any] = []
        entries = [an_entry(), an_entry(hash="b" * 40, modified_on="2026-11-23T17:00:00Z")]
        document = self.published(sink.publish(a_run(), iter(entries), problems))
        assert [entry["hash"] for entry in document["payload"]] == ["a" * 40]
        assert ["b" * 40 in problem.message for problem in problems] == [True]
        assert document["status"] == "partial"
        assert len(document["problems"]) == 1

    def test_failed_run_leaves_a_document_that_says_so(self, sink: Sink) -> None:
        """A run without anything is published all the same."""
        problem = Problem(kind="authentication", message="refused")
        document = self.published(sink.publish(a_run(status="failed", repositories=()), iter(()), [problem]))
        assert (document["status"], document["payload"]) == ("failed", [])

    def test_broken_stream_leaves_nothing(self, sink: Sink) -> None:
        """When the entries break off, nothing appears, and a second attempt succeeds."""

        def broken() -> Any:
            yield an_entry()
            raise RuntimeError("the store went away")

        with pytest.raises(RuntimeError):
            sink.publish(a_run(), broken(), [])
        assert self.published(sink.publish(a_run(), iter(()), []))["payload"] == []

    def test_discard_of_nothing_is_no_error(self, sink: Sink) -> None:
        """Discarding an unknown run does nothing."""
        sink.discard("20200101T000000Z-000000")
