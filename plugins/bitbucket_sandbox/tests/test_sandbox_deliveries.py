"""Deliveries: what a receiver gets, how often, and when nothing at all."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
import time

import pytest

SECRET = "a secret of Zoë"


@pytest.fixture
def timeout():
    """Give the seconds that an attempt may take."""
    return 10.0


@pytest.fixture
def hooked(serve, repository, subscribe, timeout):
    """Serve a repository of one commit with a webhook."""
    repository.commit("Base\n")
    api = serve(webhook_timeout=timeout, webhook_pause=0.05)
    api.hook = subscribe(api, secret=SECRET)
    return api


@pytest.fixture
def push(hooked, repository):
    """Return a function that pushes a commit, waits until all is sent, and returns the delivery."""

    def push(message="Work\n", *, branch="main"):
        repository.commit(message, branch=branch)
        hooked.sandbox.flush(20)
        return hooked.sandbox.deliveries[-1]

    return push


def test_headers(hooked, push, receiver):
    """Event, hook without braces, request, attempt, and a signature over the exact bytes."""
    delivery = push()

    ((headers, body),) = receiver.heard
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "Bitbucket-Webhooks/2.0"
    assert headers["X-Event-Key"] == "repo:push"
    assert f"{{{headers['X-Hook-UUID']}}}" == hooked.hook["uuid"]
    assert len(headers["X-Request-UUID"]) == 36
    assert headers["X-Attempt-Number"] == "1"
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature"] == f"sha256={digest}"
    assert (delivery.outcome, delivery.body, delivery.event) == ("delivered", body, "repo:push")
    assert [attempt.status for attempt in delivery.attempts] == [200]
    assert SECRET not in repr(delivery)


def test_no_secret_no_signature(serve, repository, receiver, subscribe):
    """Without a secret there is no signature."""
    api = serve()
    subscribe(api)

    repository.commit()
    api.sandbox.flush(20)

    assert "X-Hub-Signature" not in receiver.heard[0][0]


@pytest.mark.parametrize(
    ("answers", "outcome", "count"),
    [
        ([500, 503, 202], "delivered", 3),
        ([502, 502, 502, 200], "failed", 3),
        ([400], "refused", 1),
        ([404], "refused", 1),
        ([429], "refused", 1),
        ([302], "refused", 1),
        ([503, 410], "refused", 2),
    ],
)
def test_retries(push, receiver, answers, outcome, count):
    """Only a 5xx is tried again, twice at most, as the same request; all else is final."""
    receiver.answers = list(answers)

    delivery = push()

    assert (delivery.outcome, len(receiver.heard)) == (outcome, count)
    assert [headers["X-Attempt-Number"] for headers, _ in receiver.heard] == [str(n + 1) for n in range(count)]
    assert len({(headers["X-Request-UUID"], body) for headers, body in receiver.heard}) == 1
    assert [attempt.status for attempt in delivery.attempts] == answers[:count]


@pytest.mark.parametrize("timeout", [0.3])
def test_receiver_that_is_silent(push, receiver):
    """An attempt that takes too long is the last one."""
    receiver.answers = [30.0]

    delivery = push()

    assert (delivery.outcome, len(receiver.heard)) == ("failed", 1)
    assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(None, "timed out")]


@pytest.mark.parametrize("timeout", [0.3])
def test_receiver_that_drips(hooked, push):
    """A receiver that sends a byte now and then is given up after the time-out, not after the last byte."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                while not over.wait(0.1):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        hooked.client.put(hooked.address(f"hooks/{hooked.hook['uuid']}"), json={"url": url})

        delivery = push()
        over.set()

    assert (delivery.outcome, delivery.attempts[0].error) == ("failed", "timed out")


def test_receiver_that_is_not_there(hooked, push):
    """No connection is no delivery, and no second try."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    hooked.client.put(hooked.address(f"hooks/{hooked.hook['uuid']}"), json={"url": url})

    delivery = push()

    assert (delivery.outcome, len(delivery.attempts)) == ("failed", 1)
    assert "refused" in delivery.attempts[0].error


@pytest.mark.parametrize(("size", "outcome"), [(40_000, "delivered"), (140_000, "too large")])
def test_large_bodies_are_silence(push, receiver, size, outcome):
    """A body above 256 KB is not sent at all."""
    delivery = push("x" * size)

    assert delivery.outcome == outcome
    assert (len(delivery.body) > 256 * 1024, len(receiver.heard)) == (
        outcome == "too large",
        int(outcome == "delivered"),
    )


def test_slow_receiver_holds_up_nobody(serve, new_repository, repository, receiver, subscribe, git, tmp_path):
    """A push and other subscriptions do not wait for a receiver that is silent."""
    repository.commit()
    api = serve()
    subscribe(api)
    subscribe(api, "/workspaces/acme/hooks")
    receiver.answers = [30.0]
    git("clone", "-q", f"{api.sandbox.git_url}/acme/api.git", tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")

    git("push", "-q", folder=tmp_path / "c")
    while len(receiver.heard) < 2:
        time.sleep(0.01)

    assert () in [delivery.attempts for delivery in api.sandbox.deliveries]
    with pytest.raises(TimeoutError):
        api.sandbox.flush(0.01)


def test_stop_waits_for_nobody(hooked, repository, receiver):
    """A sandbox that stops breaks off what is on its way, and leaves no thread behind."""
    before = set(threading.enumerate())
    receiver.answers = [30.0]
    hooked.client.put(hooked.address(f"hooks/{hooked.hook['uuid']}"), json={"description": "y"})
    repository.commit()
    while not receiver.heard:
        time.sleep(0.01)

    hooked.sandbox.stop()

    left = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("sandbox")}
    assert left == set()


# --- faults ------------------------------------------------------------------------------------------------------


def messages(receiver):
    """Return the subject of the newest commit of each event that was heard."""
    return [body["push"]["changes"][0]["commits"][0]["message"] for body in receiver.bodies]


def test_dropped(hooked, push, receiver):
    """As many deliveries as wanted never leave."""
    hooked.sandbox.set_fault("drop", 2)

    found = [push(f"{number}").outcome for number in range(3)]

    assert found == ["dropped", "dropped", "delivered"]
    assert messages(receiver) == ["2"]
    assert hooked.sandbox.faults == {}


def test_duplicated(hooked, push, receiver):
    """As many deliveries as wanted arrive twice, to the byte."""
    hooked.sandbox.set_fault("duplicate@deliveries:api", 1)

    push("a")
    push("b")

    assert messages(receiver) == ["a", "a", "b"]
    assert receiver.heard[0] == receiver.heard[1]


def test_reordered(hooked, repository, receiver):
    """As many deliveries as wanted are overtaken by the next one, or leave with the flush."""
    hooked.sandbox.set_fault("reorder", 2)
    for number in range(3):
        repository.commit(f"{number}")
        while len(hooked.sandbox.deliveries) <= number:
            time.sleep(0.02)
    hooked.sandbox.flush(20)
    hooked.sandbox.set_fault("reorder", 1)
    repository.commit("last")
    hooked.sandbox.flush(20)

    assert messages(receiver) == ["2", "1", "0", "last"]


def test_empty_changes(hooked, push, receiver):
    """As many pushes as wanted are told without their changes."""
    hooked.sandbox.set_fault("empty-changes", 1)

    push("a")
    push("b")

    assert [len(body["push"]["changes"]) for body in receiver.bodies] == [0, 1]


# --- over HTTP ---------------------------------------------------------------------------------------------------


def test_deliveries_over_http(hooked, repository, receiver):
    """Another process waits for deliveries, reads them with their bodies, and forgets them."""
    address = f"{hooked.sandbox.git_url}/_sandbox"
    repository.commit("Größe\n")

    assert hooked.client.post(f"{address}/flush").status_code == 200
    (delivery,) = hooked.client.get(f"{address}/deliveries").json()

    assert (delivery["outcome"], delivery["hook"], delivery["attempts"][0]["status"]) == (
        "delivered",
        hooked.hook["uuid"],
        200,
    )
    assert delivery["body"] == receiver.bodies[0]
    assert hooked.client.delete(f"{address}/deliveries").json() == hooked.sandbox.deliveries == []


def test_clear(hooked, push):
    """Deliveries can be forgotten."""
    push()

    hooked.sandbox.clear_deliveries()

    assert hooked.sandbox.deliveries == []
