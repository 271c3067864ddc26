"""Deliveries that come again, come under another event, or come while the database is held."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import CommitStorage, open_webhook
from releasecopilot_core.testing import FakeDecoder
from releasecopilot_core.testing.strategies import REPOSITORY

HELD = "releasecopilot_core.builtin.sqlite_store.connection.BUSY_SECONDS"


def take(storage: CommitStorage, decoder: FakeDecoder, branch: str = "main", **headers: str) -> Mapping[str, Any]:
    webhook = open_webhook("test", storage=storage, plugins={"toy": decoder})
    answer = webhook.receive(headers.items(), json.dumps({"branch": branch}).encode())
    return {**answer.body, "code": answer.status}


def test_failed_delivery_that_comes_again_after_an_upgrade_is_stored(tmp_path: Path) -> None:
    """Whoever sends it again, by hand or by a retry, need not replay it as well."""
    with CommitStorage(tmp_path / "t.db") as storage:
        first = take(storage, FakeDecoder({"decode": ValueError("new shape")}))
        again = take(storage, FakeDecoder())
        assert (again["status"], again["delivery"]) == ("stored", first["delivery"])
        (record,) = storage.deliveries()
        assert (record.status, record.reason, record.times) == ("stored", None, 2)
        assert set(storage.stale_branches(REPOSITORY)) == {"main"}
        assert take(storage, FakeDecoder())["status"] == "duplicate"


def test_same_body_of_another_event_is_no_duplicate(tmp_path: Path) -> None:
    """What one event does not use may be what another one tells."""
    with CommitStorage(tmp_path / "t.db") as storage:
        one = take(storage, FakeDecoder(), **{"X-Event": "created"})
        other = take(storage, FakeDecoder(), **{"X-Event": "updated"})
        assert (one["status"], other["status"]) == ("stored", "stored")
        assert one["delivery"] != other["delivery"]


def test_threads_that_wait_for_a_held_database_wait_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them are answered 503 after one wait, and not one after the other after four."""
    monkeypatch.setattr(HELD, 1.0)
    with CommitStorage(tmp_path / "t.db") as storage:
        holder = sqlite3.connect(storage.path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        begun, took = time.monotonic(), []

        def work(number: int) -> None:
            assert take(storage, FakeDecoder(), f"b{number}")["code"] == 503
            took.append(time.monotonic() - begun)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holder.close()
        assert len(took) == 4
        assert max(took) < 3
