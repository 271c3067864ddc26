"""Deliveries that come at once: they share a transaction, and nothing else."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from releasecopilot_bitbucket import testing as kit

from releasecopilot_core import Answer, CommitStorage, PullRequest, Repository, Webhook, _group_commit, open_webhook
from releasecopilot_core.testing import FakeDecoder
from releasecopilot_core.testing.stores import a_batch, a_commit
from releasecopilot_core.testing.strategies import SHAS

SECRET = "s3cret"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "commits.db") as storage:
        yield storage


def opened(storage: CommitStorage, decoder: FakeDecoder) -> Webhook:
    return open_webhook("test", storage=storage, plugins={"toy": decoder})


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["status"]


@attrs.define(eq=False)
class Several(FakeDecoder):
    """Tells what the body names: each number is a repository of its own, and `too much` no store can hold."""

    all_came: threading.Event = attrs.field(factory=threading.Event)

    def decode(self, delivery: Any) -> Any:
        """Return a batch, when all have come."""
        assert self.all_came.wait(10)
        return [told(delivery.payload["tell"])]


def told(name: Any) -> Any:
    """Return a batch of one repository."""
    return attrs.evolve(
        a_batch(pull_requests=(PullRequest(id=10**30),))
        if name == "too much"
        else a_batch(a_commit(SHAS[0], sightings=frozenset())),
        repository=Repository(source="test", uuid=str(name), full_name=f"acme/{name}"),
    )


def together(storage: CommitStorage, *tell: Any) -> list[Answer]:
    """Deliver several bodies at once."""
    decoder = Several()
    webhook = opened(storage, decoder)
    bodies = [json.dumps({"tell": name, "number": number}).encode() for number, name in enumerate(tell)]
    waiting = [webhook.submit([], body) for body in bodies]
    decoder.all_came.set()
    return [answer.result(30) for answer in waiting]


def test_deliveries_at_once_share_a_transaction(storage: CommitStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of another repository, they are written with one commit; of the same one they are not."""
    monkeypatch.setattr(_group_commit, "LONGEST_SECONDS", 60.0)
    committed: list[str] = []
    storage._connection.db.conn.set_trace_callback(lambda sql: committed.append(sql) if sql == "COMMIT" else None)
    assert {outcome(answer) for answer in together(storage, 1, 2, 3)} == {(202, "stored")}
    assert len(committed) == 1
    assert {outcome(answer) for answer in together(storage, 4, 5, 5, 5)} == {(202, "stored")}
    assert len(committed) == 1 + 3


def test_what_cannot_be_stored_takes_no_other_with_it(storage: CommitStorage) -> None:
    """One of those that came at once is kept as failed, the others are stored."""
    answers = together(storage, 1, "too much", 2)
    assert {outcome(answer) for answer in answers} == {(202, "stored")}
    found = {record.id: record.status for record in storage.deliveries()}
    assert [found[answer.body["delivery"]] for answer in answers] == ["stored", "failed", "stored"]
    assert {state.repository.uuid for state in storage.repositories("test")} == {"1", "2"}


def test_held_database_is_503_for_all_that_wait(storage: CommitStorage) -> None:
    """They have waited together, and are not made to wait again one after the other."""
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert {outcome(answer) for answer in together(storage, 1, 2, 3)} == {(503, "rejected")}
        assert time.monotonic() - begun < 9
        holder.execute("ROLLBACK")
    assert list(storage.deliveries()) == []


def test_held_database_is_503_in_time_for_each_of_many(storage: CommitStorage) -> None:
    """Also when each tells of the same repository, and so none shares a transaction: nobody waits twice."""
    webhook = opened(storage, FakeDecoder())
    waited: list[tuple[Any, float]] = []

    def deliver(number: int) -> None:
        begun = time.monotonic()
        answer = webhook.receive([], json.dumps({"branch": f"b{number}"}).encode())
        waited.append((outcome(answer), time.monotonic() - begun))

    with closing(sqlite3.connect(storage.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(max_workers=20) as pool:
            list(pool.map(deliver, range(20)))
        holder.execute("ROLLBACK")
    assert ({answer for answer, _ in waited}, max(seconds for _, seconds in waited) < 9) == ({(503, "rejected")}, True)
    assert outcome(webhook.receive([], b'{"branch": "main"}')) == (202, "stored")


def test_delivery_is_held_against_what_came_just_before(storage: CommitStorage) -> None:
    """A branch made of what was pushed to another one a moment ago has nothing of its own, as if they had come apart."""
    a, b = kit.hexadecimal("at once"), kit.hexadecimal("at once, then")
    commit = kit.commit(b, a, message="no key")
    bodies = [
        json.dumps(kit.push("acme/at-once", change)).encode()
        for change in (kit.updated("main", a, b, [commit]), kit.created("feature/RC-77", b, [commit]))
    ]
    headers = [kit.headers(kit.PUSH, **kit.signature(body, SECRET)).items() for body in bodies]
    webhook = open_webhook("bitbucket", storage=storage, secret=SECRET, repair=False)
    with storage._connection.reading():  # until both have come
        waiting = [webhook.submit(head, body) for head, body in zip(headers, bodies, strict=True)]
    assert {outcome(answer.result(30)) for answer in waiting} == {(202, "stored")}
    (row,) = (row for row in storage.commits(repositories=["acme/at-once"]) if row["hash"] == b)
    assert (row["branches"], row["story_keys"]) == (["main"], [])
