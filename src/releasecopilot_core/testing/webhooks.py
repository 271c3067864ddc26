"""What every web framework must do with deliveries: one table of requests, sent to a real server."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from releasecopilot_core import DeliveryRecord, Repository

from .mangling import mangled
from .webhook_cases import CASES, FIRST, STORED, UNPROVEN, Box, Case, DeliveryKit, Expected, Served, one_commit, signed

#: Seconds in which a request must be answered; services give up after ten.
PATIENCE = 10.0


@attrs.frozen
class Answered:
    """An answer: HTTP status, body (JSON if it is labelled so), and headers by lower-case name."""

    status: int
    body: Any
    headers: Mapping[str, str]


def send(
    served: Served,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    path: str | None = None,
    chunked: bool = False,
) -> Answered:
    """Send a request on a connection of its own and return the answer."""
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=PATIENCE)
    try:
        data = [body[n : n + 10_000] for n in range(0, len(body), 10_000)] if chunked and body is not None else body
        # It may be answered, and closed, before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path or served.path, data, dict(headers or {}), encode_chunked=chunked)
        response = connection.getresponse()
        text = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        is_json = found.get("content-type") == "application/json"
        return Answered(response.status, json.loads(text) if is_json and text else text, found)
    finally:
        connection.close()


def exchanged(served: Served, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Send a request as it is, right or wrong, and return the beginning of the answer."""
    address = urlsplit(served.url)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=PATIENCE) as connection:
        connection.sendall(f"POST {served.path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body)
        return connection.recv(1000)


class WebhookContract:
    """Inherit, and give the fixtures `kit` and `served`; a server may serve all tests of the class.

    The server has two secrets, and lets bodies through that are a few kilobytes long.
    """

    @pytest.fixture
    def kit(self) -> DeliveryKit:
        """Return how the service's deliveries look."""
        raise NotImplementedError

    @pytest.fixture
    def served(self) -> Served:
        """Return a server that is up."""
        raise NotImplementedError

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_answer_and_what_is_kept(self, kit: DeliveryKit, served: Served, case: Case) -> None:
        """Each request of the table is answered, and leaves in the store, what is written beside it."""
        box = Box(name=case.name, kit=kit, served=served)
        first = None if case.after is None else _sent(box, case.after)
        before = {record.id for record in served.store.deliveries()}
        body, headers = _request_of(box, case)
        answered = send(served, body, headers, chunked=case.chunked)
        assert _told(answered) == (case.expected.status, case.expected.answer, first or answered.body["delivery"])
        assert case.expected.reason in answered.body.get("reason", "")
        new = {record.id for record in served.store.deliveries()} - before
        assert len(new) == (case.expected.kept is not None and first is None)
        if case.expected.kept is not None:
            _check_record(served, answered.body["delivery"], case, box, body if first is None else None)
        _check_rows(box, case.expected)

    @pytest.mark.parametrize("sign", [True, False], ids=["signature", "secret"])
    @pytest.mark.parametrize(
        "secrets", [(0, 2), (2, 0), (0, 1)], ids=["wrong one last", "wrong one first", "both right"]
    )
    def test_one_proof_is_enough(self, kit: DeliveryKit, served: Served, sign: bool, secrets: tuple[int, int]) -> None:
        """The same header twice is no proof, whatever a server makes of it: no value may hide another."""
        box = Box(name=f"twice {sign} {secrets}", kit=kit, served=served)
        body, headers = _request_of(box, attrs.evolve(CASES[0], proofs=lambda box, body: {}))
        known = [*served.secrets, "wr0ng"]
        proofs = [kit.signature(body, known[n]) if sign else kit.proof(known[n]) for n in secrets]
        lines = [(name, value) for proof in proofs for name, value in proof.items()]
        answer = exchanged(served, [*headers.items(), *lines, ("Content-Length", str(len(body)))], body)
        assert answer.startswith(b"HTTP/1.1 401 ")
        _check_rows(box, UNPROVEN)

    @pytest.mark.parametrize(
        ("length", "body"),
        [
            (("Transfer-Encoding", "chunked"), b"zz\r\n{}\r\n0\r\n\r\n"),
            (("Transfer-Encoding", "chunked"), b"2\r\n{}{}{}\r\n0\r\n\r\n"),
            (("Transfer-Encoding", "chunked"), b"-2\r\n{}\r\n0\r\n\r\n"),
            (("Content-Length", "-2"), b"{}"),
            (("Content-Length", "two"), b"{}"),
        ],
    )
    def test_body_that_breaks_http_is_refused(self, served: Served, length: tuple[str, str], body: bytes) -> None:
        """Whoever finds it, the server or the application: the fault is the sender's."""
        answer = exchanged(served, [length], body)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ")), answer

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "DELIVER"])
    def test_only_post_delivers(self, served: Served, method: str) -> None:
        """Any other method is told what would be right."""
        answered = send(served, method=method)
        assert (answered.status, answered.headers["allow"]) == (405, "POST")

    def test_health_tells_of_the_store(self, served: Served) -> None:
        """Monitoring asks without a secret, and gets none."""
        answered = send(served, method="GET", path="/healthz")
        assert answered.status == 200
        assert answered.headers["content-type"] == "application/json"
        assert {**answered.body, "repairs": "off"} == {"status": "ok", "store": "ok", "repairs": "off"}

    def test_many_at_once_are_stored_once_each(self, kit: DeliveryKit, served: Served) -> None:
        """Eight senders, each delivery three times: one of the three is stored, two are duplicates."""
        boxes = [Box(name=f"crowd {number}", kit=kit, served=served) for number in range(20)]
        requests = [_request_of(box, _with_own_id(box)) for box in boxes] * 3
        answers: list[Answered] = []
        rest = iter(requests)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    request = next(rest, None)
                if request is None:
                    return
                answers.append(send(served, *request))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter((answer.status, answer.body["status"]) for answer in answers) == {
            (202, "stored"): 20,
            (202, "duplicate"): 40,
        }
        for box in boxes:
            _check_rows(box, STORED)

    def test_slow_sender_keeps_nobody_waiting(self, kit: DeliveryKit, served: Served) -> None:
        """While one body trickles in, others are answered; and the slow one is, too."""
        box, other = (Box(name=name, kit=kit, served=served) for name in ("slow", "quick"))
        body, headers = _request_of(box, CASES[0])
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(body))}.items())
        address = urlsplit(served.url)
        with socket.create_connection((str(address.hostname), address.port or 80), timeout=PATIENCE) as slow:
            slow.sendall(f"POST {served.path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body[:100])
            assert send(served, *_request_of(other, CASES[0])).body["status"] == "stored"
            slow.sendall(body[100:])
            assert slow.recv(12) == b"HTTP/1.1 202"

    def test_sender_that_hangs_up_harms_nobody(self, kit: DeliveryKit, served: Served) -> None:
        """Half a request stores nothing, and the next one is answered."""
        box, other = (Box(name=name, kit=kit, served=served) for name in ("half", "whole"))
        body, headers = _request_of(box, CASES[0])
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(body))}.items())
        address = urlsplit(served.url)
        with socket.create_connection((str(address.hostname), address.port or 80), timeout=PATIENCE) as half:
            half.sendall(f"POST {served.path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body[:100])
        assert send(served, *_request_of(other, CASES[0])).body["status"] == "stored"
        assert list(served.store.commits(repositories=[box.repository])) == []

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_mangled_bodies_are_answered(self, kit: DeliveryKit, served: Served, data: st.DataObject) -> None:
        """Whatever is wrong with a body, the answer is one of the contract, and in time."""
        box = Box(name="mangled", kit=kit, served=served)
        event = data.draw(st.sampled_from([kit.PUSH, *kit.PULL_REQUEST_EVENTS]))
        payload = one_commit(box) if event == kit.PUSH else kit.pull_request(box.repository, event, 7)
        body = data.draw(mangled(payload))
        answered = send(served, body, kit.headers(event, **signed(box, body)))
        assert (answered.status, answered.body["status"]) in {
            (202, "stored"), (202, "ignored"), (202, "duplicate"), (400, "rejected"), (413, "rejected"),
        }  # fmt: skip


def _with_own_id(box: Box) -> Case:
    return attrs.evolve(FIRST, request_id=f"id of {box.name}")


def _request_of(box: Box, case: Case) -> tuple[bytes, dict[str, str]]:
    given = case.body(box)
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    headers = box.kit.headers(case.event(box.kit), request_id=case.request_id, **case.proofs(box, body))
    return body, {case.spelling(name): value for name, value in {**headers, **case.headers}.items()}


def _sent(box: Box, case: Case) -> str:
    answered = send(box.served, *_request_of(box, case))
    assert (answered.status, answered.body["status"]) == (202, "stored")
    return str(answered.body["delivery"])


def _told(answered: Answered) -> tuple[int, str, str | None]:
    assert answered.headers["content-type"] == "application/json"
    assert set(answered.body) == {"status", "delivery"} | (
        {"reason"} if answered.body["status"] == "rejected" else set()
    )
    return answered.status, answered.body["status"], answered.body["delivery"]


def _check_record(served: Served, delivery: str, case: Case, box: Box, body: bytes | None) -> None:
    record = served.store.delivery(delivery)
    assert isinstance(record, DeliveryRecord)
    assert (record.service, record.status) == (box.kit.SERVICE, case.expected.kept)
    assert bool(record.reason) == (case.expected.kept == "failed")
    assert record.times == (1 if case.after is None else 2)
    assert body is None or record.body == body
    everything = repr(attrs.asdict(record))
    assert all(secret not in everything for secret in (*served.secrets, "sha256=", "wr0ng"))


def _check_rows(box: Box, expected: Expected) -> None:
    store, named = box.served.store, box.kit.repository(box.repository)
    repository = Repository(source=box.kit.SERVICE, uuid=named["uuid"], full_name=box.repository)
    stored = {row["hash"] for row in store.commits(repositories=[box.repository])}
    assert stored == {box.sha(letter) for letter in expected.commits}
    stale = {branch: mark.reason for branch, mark in store.stale_branches(repository).items()}
    assert set(stale) == set(expected.stale)
    assert all(stale[branch].startswith(reason) for branch, reason in expected.stale.items())
    assert tuple(store.pull_request_updates(repository)) == expected.pull_requests
    # What a delivery tells of a branch is never taken for all there is.
    assert store.heads(repository) == {}
