"""Deliveries without any framework: what is answered, what is kept, and what a decoder or store may do wrong."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_bitbucket import testing as kit

from releasecopilot_core import (
    Answer,
    CommitStorage,
    Ingestor,
    PullRequest,
    Webhook,
    open_webhook,
)
from releasecopilot_core._webhooks import Receiver, prune
from releasecopilot_core.errors import SettingsError, UnknownNameError, UsageError
from releasecopilot_core.testing import FakeDecoder, mangled
from releasecopilot_core.testing.stores import a_batch
from releasecopilot_core.testing.strategies import REPOSITORY, SHAS

SECRET = "s3cret"


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


def delivered(webhook: Any, payload: Any = None, **headers: str) -> Answer:
    body = json.dumps({"branch": "main"} if payload is None else payload).encode()
    answer = webhook.receive([(f"X-{name}", value) for name, value in headers.items()], body)
    assert isinstance(answer, Answer)
    return answer


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["status"]


# --- what a decoder may do wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("the 'hash' is\nno text"), KeyError("hash"), RecursionError()])
def test_body_that_cannot_be_decoded_is_kept_as_failed(make: Any, storage: CommitStorage, error: Exception) -> None:
    """The answer is 202, the record says why in one line, and nothing else is stored."""
    answer = delivered(make(FakeDecoder({"decode": error})), Event="push")
    assert outcome(answer) == (202, "stored")
    record = storage.delivery(answer.body["delivery"])
    assert record is not None
    assert (record.status, record.body) == ("failed", b'{"branch": "main"}')
    assert "\n" not in (record.reason or "\n")
    assert list(storage.commits()) == []


TOO_MUCH = a_batch(pull_requests=(PullRequest(id=10**30),))


@pytest.mark.parametrize("opened", [True, False], ids=["storage", "database"])
@pytest.mark.parametrize(("batch", "error"), [(TOO_MUCH, "OverflowError"), ("no batch", "AttributeError")])
def test_what_a_store_cannot_hold_is_kept_as_failed(
    make: Any, storage: CommitStorage, batch: Any, error: str, opened: bool
) -> None:
    """A decoder that lets through what no database takes loses nothing: the body can be replayed."""
    where = {} if opened else {"storage": None, "database": storage.path}
    answer = delivered(make(FakeDecoder({"decode": [batch]}), **where))
    assert outcome(answer) == (202, "stored")
    (record,) = storage.deliveries()
    assert (record.id, record.status) == (answer.body["delivery"], "failed")
    assert error in (record.reason or "")


def test_decoder_that_fails_to_check_a_proof_has_not_checked_it(make: Any) -> None:
    """An error is no pass."""
    webhook = make(FakeDecoder({"verify": TypeError("not ASCII")}), secret=SECRET)
    assert outcome(delivered(webhook, Proof=SECRET)) == (401, "rejected")


@pytest.mark.parametrize(
    "names", [ValueError("?"), (None, None), (7, ["x"]), ("\ud800\n", "\x00" * 5000), ("e" * 5000, "")]
)
def test_names_are_stored_as_one_short_line(make: Any, storage: CommitStorage, names: Any) -> None:
    """An event and a request id are whatever somebody sent."""
    answer = delivered(make(FakeDecoder({"identify": names})))
    assert outcome(answer) == (202, "stored")
    (record,) = storage.deliveries()
    for name in (record.event, record.request_id):
        assert name is None or (len(name) <= 200 and name.isprintable())


def test_of_a_header_that_came_twice_no_value_hides_another(make: Any, storage: CommitStorage) -> None:
    """One wrong proof beside a right one is a wrong proof, in whatever order."""
    webhook = make(FakeDecoder(), secret=SECRET)
    for first, second in ((SECRET, "wrong"), ("wrong", SECRET), (SECRET, SECRET)):
        headers = [("X-Proof", first), ("x-proof", second)]
        assert outcome(webhook.receive(headers, b'{"branch": "main"}')) == (401, "rejected")


def test_only_named_headers_are_kept(make: Any, storage: CommitStorage) -> None:
    """A secret in any header, known or not, is not stored; a kept one is cut."""
    webhook = make(FakeDecoder(), secret=SECRET)
    answer = delivered(webhook, Proof=SECRET, Event="push" * 1000, Relay=SECRET, Id="1")
    record = storage.delivery(answer.body["delivery"])
    assert record is not None
    assert {name: len(value) for name, value in record.headers.items()} == {"x-event": 1000}


# --- what a store may do wrong -------------------------------------------------------------------------------


def test_store_out_of_reach_is_503(make: Any, storage: CommitStorage, caplog: pytest.LogCaptureFixture) -> None:
    """The sender is to send it again; health says the same, and nobody hears more."""
    webhook = make(FakeDecoder())
    storage.close()
    assert outcome(delivered(webhook)) == (503, "rejected")
    assert (webhook.health().status, webhook.health().body["store"]) == (503, "out of reach")
    assert "the store is closed" in caplog.text


def test_unexpected_fault_of_a_store_is_503(make: Any, storage: CommitStorage) -> None:
    """Even a mistake in somebody's store makes the sender try again, rather than lose the delivery."""
    webhook = make(FakeDecoder())
    db = sqlite3.connect(storage.path)
    with closing(db):
        db.execute("ALTER TABLE deliveries RENAME TO elsewhere")
    assert outcome(delivered(webhook)) == (503, "rejected")


def test_what_follows_a_delivery_may_fail(make: Any, storage: CommitStorage) -> None:
    """It is stored by then, once, and that is what is answered."""
    webhook = make(FakeDecoder())

    def fail() -> None:
        raise RuntimeError("nobody listens")

    webhook._receiver.steps.on_stored = fail
    assert outcome(delivered(webhook)) == (202, "stored")
    assert [record.times for record in storage.deliveries()] == [1]


@pytest.mark.parametrize("step", ["verify", "identify", "decode", "store"])
def test_exit_in_a_plugin_is_a_fault_of_that_delivery(make: Any, storage: CommitStorage, step: str) -> None:
    """Whoever calls `sys.exit` in a server ends neither it nor the thread that serves all senders."""

    class Leaving(FakeDecoder):
        def _answer(self, name: str, otherwise: Any) -> Any:
            if name == step:
                raise SystemExit(3)
            return super()._answer(name, otherwise)

    class Store(CommitStorage):
        def deliver_all(self, told: Any) -> Any:
            raise SystemExit(3)

    with Store(storage.path) as leaving:
        more = {"storage": leaving} if step == "store" else {}
        answer = delivered(make(Leaving(), secret=SECRET, **more), Proof=SECRET)
    assert outcome(answer) == ((401, "rejected") if step == "verify" else (503, "rejected"))
    assert outcome(delivered(make(FakeDecoder()))) == (202, "stored")


def test_store_that_takes_no_deliveries_is_refused(tmp_path: Path) -> None:
    """One of an earlier release is found out when it is given, not by the first delivery."""

    class Earlier:
        """Has nothing."""

    with pytest.raises(UsageError, match="Earlier has no 'deliver_all'"):
        open_webhook("test", storage=cast(Any, Earlier()), plugins={"toy": FakeDecoder()})


def test_webhook_that_is_thrown_away_leaves_nothing(make: Any, storage: CommitStorage) -> None:
    """Its thread ends with it, and starts again when it is used again."""
    before = set(threading.enumerate())
    webhook = make(FakeDecoder())
    assert outcome(delivered(webhook)) == (202, "stored")
    (worker,) = (t for t in set(threading.enumerate()) - before if t.name == "releasecopilot-commits")
    webhook.close()
    assert not worker.is_alive()
    webhook.start()
    assert outcome(delivered(webhook)) == (202, "duplicate")


def test_held_database_is_503_in_time(make: Any, storage: CommitStorage) -> None:
    """While another process holds the file, the answer comes well before the sender's ten seconds are over."""
    webhook = make(FakeDecoder())
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert outcome(delivered(webhook)) == (503, "rejected")
        assert time.monotonic() - begun < 9
        holder.execute("ROLLBACK")
    assert outcome(delivered(webhook)) == (202, "stored")


# --- real bodies, mangled, repeated, replayed ----------------------------------------------------------------


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    path = tmp_path_factory.mktemp("mangled") / "commits.db"
    with CommitStorage(path) as storage, Ingestor(storage=storage) as ingestor:
        yield ingestor.receiver("bitbucket", secrets=[SECRET])


def a_push(full_name: str = "acme/api") -> dict[str, Any]:
    a, b, c, d = map(kit.hexadecimal, "abcd")
    return kit.push(
        full_name,
        kit.updated("main", a, c, [kit.commit(c, b, d, message="RC-3 merge"), kit.commit(b, a), kit.commit(d, a)]),
        kit.created("feature/RC-4", d, [kit.commit(d, a)], truncated=True),
        kit.deleted("feature/RC-1", a),
        kit.tagged("v1", c),
    )


@settings(max_examples=150)
@given(data=st.data())
def test_mangled_bodies_never_raise(receiver: Receiver, data: st.DataObject) -> None:
    """Whatever is wrong with a body, it is taken or refused, and what was kept can be replayed."""
    event = data.draw(st.sampled_from([kit.PUSH, *kit.PULL_REQUEST_EVENTS]))
    payload = a_push() if event == kit.PUSH else kit.pull_request("acme/api", event, 7, merged="f" * 40)
    body = data.draw(mangled(payload))
    answer = receiver.receive(kit.headers(event, **kit.signature(body, SECRET)).items(), body)
    assert outcome(answer) in {(202, "stored"), (202, "ignored"), (202, "duplicate"), (400, "rejected")}
    if answer.status == 202:
        with Ingestor(storage=receiver.store) as ingestor:
            assert ingestor.replay("bitbucket", answer.body["delivery"]) in {"stored", "ignored", "failed"}


def everything(storage: CommitStorage) -> Any:
    """Return what deliveries told, but for times and counts."""
    commits = [{**row, "last_seen_at": None} for row in storage.commits()]
    stories = [{**row} for row in storage.stories()]
    marks = {
        state.repository.full_name: (
            {branch: (s.reason, s.target) for branch, s in storage.stale_branches(state.repository).items()},
            set(storage.stale_pull_requests(state.repository)),
            dict(storage.pull_request_updates(state.repository)),
        )
        for state in storage.repositories("bitbucket")
    }
    return sorted(commits, key=str), stories, marks


@settings(max_examples=15)
@given(data=st.data())
def test_repeated_deliveries_change_nothing(tmp_path_factory: Any, data: st.DataObject) -> None:
    """However often what came is sent again, under the same or a new request id, the content is the same."""
    source = ("main", kit.hexadecimal("c"))
    bodies = [
        (kit.PUSH, json.dumps(a_push()).encode(), "1"),
        (kit.PUSH, json.dumps(a_push("acme/web")).encode(), "2"),
        *(
            (event, json.dumps(kit.pull_request("acme/api", event, 7, title=event, source=source)).encode(), event)
            for event in kit.PULL_REQUEST_EVENTS
        ),
    ]
    order = data.draw(st.permutations(bodies))
    again = data.draw(st.lists(st.tuples(st.sampled_from(bodies), st.booleans()), max_size=8))
    once, often = (CommitStorage(tmp_path_factory.mktemp("again") / "commits.db") for _ in range(2))
    with once, often:
        for storage in (once, often):
            with Ingestor(storage=storage) as ingestor:
                receiver = ingestor.receiver("bitbucket", secrets=())
                for event, body, request in order:
                    headers = kit.headers(event, request_id=request)
                    assert outcome(receiver.receive(headers.items(), body)) == (202, "stored")
                if storage is often:
                    for (event, body, request), fresh in again:
                        headers = kit.headers(event, request_id=None if fresh else request)
                        assert outcome(receiver.receive(headers.items(), body)) == (202, "duplicate")
        assert everything(often) == everything(once)
        assert sum(record.times for record in often.deliveries()) == len(order) + len(again)


def test_failed_delivery_is_stored_by_a_replay_after_an_upgrade(make: Any, storage: CommitStorage) -> None:
    """The body was kept; decoding it anew stores what it tells, and the record says so."""
    delivery = delivered(make(FakeDecoder({"decode": ValueError("new shape")}))).body["delivery"]
    with Ingestor(plugins={"toy": FakeDecoder()}, storage=storage) as ingestor:
        assert ingestor.replay("test", delivery) == "stored"
    record = storage.delivery(delivery)
    assert record is not None
    assert (record.status, record.reason) == ("stored", None)
    assert [row["hash"] for row in storage.commits()] == [SHAS[0]]
    assert set(storage.stale_branches(REPOSITORY)) == {"main"}


def test_replay_of_what_a_store_cannot_hold_fails_again(make: Any, storage: CommitStorage) -> None:
    """It stays failed, with the reason of today."""
    delivery = delivered(make(FakeDecoder({"decode": ValueError("then")}))).body["delivery"]
    toy = FakeDecoder({"decode": [TOO_MUCH]})
    with Ingestor(plugins={"toy": toy}, storage=storage) as ingestor:
        assert ingestor.replay("test", delivery) == "failed"
    record = storage.delivery(delivery)
    assert record is not None
    assert "OverflowError" in (record.reason or "")


def test_pruned_delivery_cannot_be_replayed(make: Any, storage: CommitStorage) -> None:
    """The raw body goes, the record and what it told stay."""
    delivery = delivered(make(FakeDecoder())).body["delivery"]
    assert prune(storage, 1) == 0
    later = storage.delivery(delivery)
    assert later is not None
    assert storage.prune_deliveries(later.received_at + timedelta(seconds=1)) == 1
    with Ingestor(plugins={"toy": FakeDecoder()}, storage=storage) as ingestor:
        assert ingestor.replay("test", delivery) is None
        assert ingestor.replay("test", "no such id") is None
    assert [row["hash"] for row in storage.commits()] == [SHAS[0]]


# --- opening -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", [], ["", "x"], ["x", ""], [None], b"bytes", [b"bytes"]])
def test_empty_secret_is_refused(storage: CommitStorage, secret: Any) -> None:
    """It would be a proof that anybody can give: a variable was not what it was thought to be."""
    with pytest.raises(SettingsError, match="the webhook's secret"):
        open_webhook("bitbucket", storage=storage, secret=secret)


def test_without_a_secret_everybody_may_deliver(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """That is allowed, and warned of."""
    webhook = make(FakeDecoder())
    assert "anybody who reaches this address may deliver" in caplog.text
    assert not webhook.is_proving
    assert outcome(delivered(webhook)) == (202, "stored")


def test_secret_of_the_settings_is_the_default(make: Any) -> None:
    """An argument wins over it."""
    toy = FakeDecoder()
    toy.secrets = (SECRET,)
    assert [outcome(delivered(make(toy), Proof=proof))[0] for proof in (SECRET, "other")] == [202, 401]
    assert [outcome(delivered(make(toy, secret="other"), Proof=proof))[0] for proof in (SECRET, "other")] == [401, 202]


def test_path_for_a_store_is_refused(tmp_path: Path) -> None:
    """The remedy is in the line."""
    with pytest.raises(UsageError, match=r"CommitStorage\(PATH\)"):
        open_webhook("bitbucket", storage=str(tmp_path / "commits.db"), secret=SECRET)


def test_unknown_service_is_refused(storage: CommitStorage) -> None:
    """The line names what is installed."""
    with pytest.raises(UnknownNameError, match="no webhook named 'gitbucket'; installed: bitbucket"):
        open_webhook("gitbucket", storage=storage, secret=SECRET)


def test_refusals_are_warned_of_once_a_minute(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reaches the address cannot fill the log; and a wrong secret shows in it."""
    webhook = make(FakeDecoder(), secret=SECRET)
    for _ in range(5):
        delivered(webhook, Proof="a-guess")
    assert caplog.text.count("was refused") == 1
    assert "a-guess" not in caplog.text


def test_closed_webhook_can_be_started_again(tmp_path: Path) -> None:
    """An application whose lifespan runs twice, as in tests, goes on with its own store."""
    webhook = open_webhook("test", database=tmp_path / "own.db", plugins={"toy": FakeDecoder()})
    for number in range(2):
        with webhook:
            assert outcome(delivered(webhook, {"branch": f"b{number}"})) == (202, "stored")
        assert outcome(delivered(webhook, {"branch": "late"})) == (503, "rejected")


def test_secret_shows_nowhere(make: Any) -> None:
    """Neither in the receiver's text nor in the webhook's."""
    webhook = make(FakeDecoder(), secret=SECRET)
    assert SECRET not in repr(webhook) + repr(webhook._receiver)
