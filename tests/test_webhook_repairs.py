"""What deliveries announce is repaired in the background: when, by whom, how often, and what ends it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from releasecopilot_core import Announced, Batch, Commit, CommitStorage, DeliveryRecord, Scanned, Webhook, open_webhook
from releasecopilot_core import _repairing as repairing
from releasecopilot_core.errors import SourceError
from releasecopilot_core.testing import FakeDecoder, FakeSource
from releasecopilot_core.testing.stores import a_batch, a_commit
from releasecopilot_core.testing.strategies import REPOSITORY, SHAS


def settled(request: Any, memory: Any) -> Iterator[Batch]:
    """Repair everything: settle each mark, as if what was announced had been fetched."""
    assert request.repair
    for repository in memory.to_repair("test"):
        marks = {branch: stale.marks for branch, stale in memory.stale_branches(repository).items()}
        yield Batch(repository=repository, settled_branches=marks)
        yield Batch(repository=repository, scanned=Scanned(name=repository.full_name, status="complete"))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CommitStorage]:
    with CommitStorage(tmp_path / "commits.db") as storage:
        yield storage


@pytest.fixture
def make(storage: CommitStorage, tmp_path: Path) -> Iterator[Callable[..., Webhook]]:
    """Return a function that opens a webhook of the toy service."""
    opened: list[Webhook] = []
    places = {"artifacts": str(tmp_path / "artifacts"), "logs": str(tmp_path / "logs")}

    def make(toy: FakeDecoder, **more: Any) -> Webhook:
        more = {"storage": storage, "settings": places, "plugins": {"toy": toy}, **more}
        opened.append(open_webhook("test", **more))
        return opened[-1]

    yield make
    for webhook in opened:
        webhook.close()


def deliver(webhook: Webhook, branch: str = "main") -> None:
    """Deliver a push to a branch."""
    assert webhook.receive([], json.dumps({"branch": branch}).encode()).status == 202


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits three hundredfold."""
    for name in ("GATHER_SECONDS", "LOOK_SECONDS", "FIRST_WAIT", "LONGEST_WAIT"):
        monkeypatch.setattr(repairing, name, getattr(repairing, name) / 300)


def wait_until(true: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def kinds(storage: CommitStorage) -> list[tuple[str, str]]:
    return [(run["kind"], run["status"]) for run in storage.runs(limit=100)]


def test_delivery_is_repaired_within_five_seconds(make: Any, storage: CommitStorage) -> None:
    """What was announced is fetched soon, with an artifact, and health says that this is on."""
    toy = FakeDecoder(can_repair=True, source=FakeSource(settled))
    webhook = make(toy)
    assert webhook.health().body["repairs"] == "off"
    with webhook:
        assert webhook.health().body["repairs"] == "on"
        deliver(webhook)
        assert set(storage.stale_branches(REPOSITORY)) == {"main"}
        wait_until(lambda: not storage.stale_branches(REPOSITORY))
        wait_until(lambda: kinds(storage) == [("repair", "complete")])
    assert Path(storage.runs()[0]["artifact"]).exists()


@pytest.mark.usefixtures("quick")
def test_what_an_earlier_process_left_is_repaired_at_start(make: Any, storage: CommitStorage) -> None:
    """Nobody needs to deliver anything for that."""
    storage.apply(a_batch(stale_branches={"main": Announced("pushed")}))
    toy = FakeDecoder(can_repair=True, source=FakeSource(settled))
    with make(toy):
        wait_until(lambda: not storage.stale_branches(REPOSITORY))


@pytest.mark.usefixtures("quick")
def test_one_process_repairs_at_a_time(make: Any, storage: CommitStorage) -> None:
    """While another one holds the lease nothing is asked; when it is given back, what is left is repaired."""
    toy = FakeDecoder(can_repair=True, source=FakeSource(settled))
    assert storage.lease("repairs of test", "somebody else", 60)
    with make(toy) as webhook:
        deliver(webhook)
        time.sleep(0.3)
        assert toy.source.requests == 0
        storage.release("repairs of test", "somebody else")
        wait_until(lambda: not storage.stale_branches(REPOSITORY))


class Faulty:
    """A source that fails in some way until it is mended."""

    def __init__(self, fault: Callable[[], Iterator[Batch]]) -> None:
        self.fault: Callable[[], Iterator[Batch]] | None = fault
        self.asked: list[float] = []
        self.requests = 0

    def scan(self, request: Any, memory: Any) -> Iterator[Batch]:
        self.asked.append(time.monotonic())
        yield from self.fault() if self.fault is not None else settled(request, memory)

    def close(self) -> None:
        pass


def _raises() -> Iterator[Batch]:
    raise SourceError("the service is down", kind="unreachable")
    yield


def _breaks() -> Iterator[Batch]:
    raise RuntimeError("a mistake in the source")
    yield


def _leaves_something() -> Iterator[Batch]:
    yield Batch(repository=REPOSITORY, scanned=Scanned(name=REPOSITORY.full_name, status="complete"))


def _is_partial() -> Iterator[Batch]:
    yield Batch(repository=REPOSITORY, scanned=Scanned(name=REPOSITORY.full_name, status="partial"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [_raises, _breaks, _leaves_something, _is_partial])
def test_repair_that_left_something_is_tried_again_ever_more_seldom(
    make: Any, storage: CommitStorage, caplog: Any, fault: Any
) -> None:
    """Waits grow while nothing gets better; deliveries are taken all the same; once it works all is repaired."""
    source = Faulty(fault)
    toy = FakeDecoder(can_repair=True, source=source)
    with make(toy) as webhook:
        deliver(webhook)
        wait_until(lambda: len(source.asked) >= 4)
        told = [record.args[1] for record in caplog.records if "tried again" in record.msg]
        assert told[1:3] == [2 * told[0], 4 * told[0]]
        waits = [later - earlier for earlier, later in zip(source.asked, source.asked[1:], strict=False)]
        assert all(wait >= least for wait, least in zip(waits, told, strict=False))
        deliver(webhook, "other")
        source.fault = None
        wait_until(lambda: not storage.stale_branches(REPOSITORY), 10)


@pytest.mark.usefixtures("quick")
def test_what_another_worker_takes_during_a_repair_is_repaired_next(
    make: Any, storage: CommitStorage, caplog: Any
) -> None:
    """It was not left: nobody complains, and nothing waits longer than usual."""

    meanwhile = [{"main": Announced("pushed"), "other": Announced("pushed")}]

    def settled_meanwhile(request: Any, memory: Any) -> Iterator[Batch]:
        batches = list(settled(request, memory))
        if meanwhile:
            # The same branch once more, and another one, without this worker's knowledge.
            storage.apply(a_batch(stale_branches=meanwhile.pop()))
        owed = memory.owed_files(REPOSITORY, 10)
        yield Batch(repository=REPOSITORY, commits=tuple(Commit(sha=sha, files=()) for sha in owed))
        yield from batches

    with make(FakeDecoder(can_repair=True, source=FakeSource(settled_meanwhile))) as webhook:
        caplog.clear()
        deliver(webhook)
        wait_until(lambda: len(kinds(storage)) >= 2 and not storage.stale_branches(REPOSITORY))
    assert {status for _, status in kinds(storage)} == {"complete"}
    assert not [record for record in caplog.records if "tried again" in record.msg]


@pytest.mark.usefixtures("quick")
def test_close_ends_a_repair_between_two_batches(make: Any, storage: CommitStorage) -> None:
    """The run is recorded as interrupted, and what is left stays marked for the next process."""
    halfway, on = threading.Event(), threading.Event()

    def slow() -> Iterator[Batch]:
        yield a_batch(a_commit(SHAS[1]))
        halfway.set()
        on.wait(5)
        yield a_batch(a_commit(SHAS[2]))
        yield a_batch(a_commit(SHAS[3]))

    toy = FakeDecoder(can_repair=True, source=Faulty(slow))
    webhook = make(toy)
    webhook.start()
    deliver(webhook)
    assert halfway.wait(5)
    closing_it = threading.Thread(target=webhook.close)
    closing_it.start()
    time.sleep(0.1)
    on.set()
    closing_it.join(5)
    assert not closing_it.is_alive()
    assert kinds(storage) == [("repair", "interrupted")]
    assert set(storage.stale_branches(REPOSITORY)) == {"main"}
    assert SHAS[3] not in {row["hash"] for row in storage.commits()}


def test_without_credentials_nothing_is_repaired(make: Any, storage: CommitStorage) -> None:
    """The marks stay for the next scan; the same when the caller wants no repairs."""
    toy = FakeDecoder()
    for webhook in (make(toy), make(toy, repair=False)):
        toy.can_repair = True
        with webhook:
            deliver(webhook)
            assert webhook.health().body["repairs"] == "off"
    assert not any(thread.name == "releasecopilot-repairs" for thread in threading.enumerate())


def test_old_bodies_are_pruned_at_start(make: Any, storage: CommitStorage) -> None:
    """A month later the raw body goes; what it told and that it came stays."""
    old, young = datetime.now(UTC) - timedelta(days=31), datetime.now(UTC) - timedelta(days=29)
    for name, moment in (("old", old), ("young", young)):
        record = DeliveryRecord(
            id=name, service="test", received_at=moment, status="stored", body=b"{}", body_sha256=name, request_id=name
        )
        storage.deliver_all([(record, [])])
    toy = FakeDecoder(can_repair=True, source=FakeSource(settled))
    with make(toy):
        wait_until(lambda: getattr(storage.delivery("old"), "body", b"") is None)
    assert getattr(storage.delivery("young"), "body", None) == b"{}"
