"""Send webhooks: signed, one after the other for each subscription, with few retries and in the background."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import socket
import ssl
import threading
import time
import uuid
from collections import defaultdict, deque
from typing import Any
from urllib.parse import urlsplit

import attrs

from .faults import Faults
from .subscriptions import Subscription

#: Larger bodies are not sent, and nobody is told (Atlassian's page "Troubleshoot webhooks").
LARGEST = 256 * 1024
_ATTEMPTS = 3
WAITING, DELIVERED, REFUSED, FAILED, DROPPED, TOO_LARGE = (
    "waiting",
    "delivered",
    "refused",
    "failed",
    "dropped",
    "too large",
)


@attrs.frozen
class Attempt:
    """One try: the status of the answer, or why there was none; `seconds` is how long it took."""

    status: int | None
    error: str | None
    seconds: float


@attrs.frozen
class Delivery:
    """One event for one subscription, and what came of it.

    `outcome` is `waiting`, `delivered` (2xx), `refused` (another answer below 500, which is final), `failed` (5xx three
    times, a time-out or no connection), `dropped` (by fault) or `too large`. `hook` is in braces, as everywhere but in
    the header.
    """

    hook: str
    event: str
    url: str
    headers: dict[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    attempts: tuple[Attempt, ...] = ()
    outcome: str = WAITING


class Sender:
    """Sends deliveries in threads of its own, one for each subscription, so that nobody waits for a slow receiver.

    `timeout` is for one attempt, in seconds; `pause` lies between attempts (its length on the live service is not known).
    Thread-safe.
    """

    def __init__(self, faults: Faults, *, timeout: float = 10.0, pause: float = 1.0) -> None:
        self._faults = faults
        self._timeout = timeout
        self._pause = pause
        self._deliveries: dict[int, Delivery] = {}
        self._numbers = itertools.count()
        self._waiting: defaultdict[str, deque[tuple[int, Subscription]]] = defaultdict(deque)
        self._held: defaultdict[str, list[tuple[int, Subscription]]] = defaultdict(list)
        self._workers: dict[str, threading.Thread] = {}
        self._connections: set[http.client.HTTPConnection] = set()
        self._change = threading.Condition()
        self._stopping = threading.Event()

    # --- what is to be sent ----------------------------------------------------------------------------------

    def send(self, hook: Subscription, event: str, value: Any, slug: str) -> None:
        """Send an event to a subscription, soon; `slug` is the repository for which faults may be on."""
        body = json.dumps(value).encode()
        with self._change:
            number = next(self._numbers)
            self._deliveries[number] = Delivery(hook.uuid, event, hook.url, _headers(hook, event, body), body)
            if len(body) > LARGEST:
                self._end(number, TOO_LARGE)
            elif self._faults.take("drop", "deliveries", slug):
                self._end(number, DROPPED)
            elif self._faults.take("reorder", "deliveries", slug):
                self._held[hook.uuid].append((number, hook))
            else:
                times = 2 if self._faults.take("duplicate", "deliveries", slug) else 1
                self._waiting[hook.uuid].extend([(number, hook)] * times)
                self._release(hook.uuid)
                self._work(hook.uuid)

    def _release(self, hook: str) -> None:
        """Let go of what was held back: it comes after what it was before, and the youngest first."""
        held = self._held.pop(hook, [])
        self._waiting[hook].extend(reversed(held))

    def _work(self, hook: str) -> None:
        if self._waiting[hook] and hook not in self._workers and not self._stopping.is_set():
            thread = threading.Thread(target=self._deliver, args=(hook,), name="sandbox-webhook", daemon=True)
            self._workers[hook] = thread
            thread.start()

    def _end(self, number: int, outcome: str, *attempts: Attempt) -> None:
        old = self._deliveries[number]
        self._deliveries[number] = attrs.evolve(old, outcome=outcome, attempts=(*old.attempts, *attempts))
        self._change.notify_all()

    # --- what was sent ---------------------------------------------------------------------------------------

    def all(self) -> list[Delivery]:
        """Return all deliveries, oldest first, as far as they are."""
        with self._change:
            return list(self._deliveries.values())

    def clear(self) -> None:
        """Forget those that have ended."""
        with self._change:
            kept = {number for queue in (*self._waiting.values(), *self._held.values()) for number, _ in queue}
            for number, delivery in list(self._deliveries.items()):
                if delivery.outcome != WAITING and number not in kept:
                    del self._deliveries[number]

    def flush(self, timeout: float) -> bool:
        """Let go of what is held back, and wait until nothing is on its way; returns whether that was in time."""
        with self._change:
            for hook in list(self._held):
                self._release(hook)
                self._work(hook)
            return self._change.wait_for(self._idle, timeout)

    def _idle(self) -> bool:
        return not (self._workers or any(self._waiting.values()) or any(self._held.values()))

    def start(self) -> None:
        """Send from now on, what was left when it was stopped first."""
        with self._change:
            self._stopping.clear()
            for hook in list(self._waiting):
                self._work(hook)

    def stop(self) -> None:
        """Stop sending: what is on its way is broken off and has failed, what waits is sent when it starts again."""
        self._stopping.set()
        with self._change:
            workers = list(self._workers.values())
            for connection in self._connections:
                _break_off(connection)
        for worker in workers:
            worker.join()

    # --- sending ---------------------------------------------------------------------------------------------

    def _deliver(self, hook: str) -> None:
        while True:
            with self._change:
                if self._stopping.is_set() or not self._waiting[hook]:
                    del self._workers[hook]
                    self._change.notify_all()
                    return
                number, subscription = self._waiting[hook].popleft()
                delivery = self._deliveries[number]
            for count in range(1, _ATTEMPTS + 1):
                attempt = self._attempt(subscription, delivery, count)
                outcome = _outcome(attempt, last=count == _ATTEMPTS)
                with self._change:
                    self._end(number, outcome, attempt)
                if outcome != WAITING:
                    break
                if self._stopping.wait(self._pause):
                    with self._change:
                        self._end(number, FAILED)
                    break

    def _attempt(self, hook: Subscription, delivery: Delivery, count: int) -> Attempt:
        began = time.monotonic()
        connection = _connection(hook, self._timeout)
        late = threading.Timer(self._timeout, _break_off, [connection])
        late.daemon = True
        status: int | None = None
        error: str | None = None
        with self._change:
            if self._stopping.is_set():
                return Attempt(None, "stopped", 0.0)
            self._connections.add(connection)
        try:
            late.start()
            parts = urlsplit(hook.url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, delivery.body, {**delivery.headers, "X-Attempt-Number": str(count)})
            status = connection.getresponse().status
        except (OSError, ValueError, http.client.HTTPException) as fault:
            seconds = time.monotonic() - began
            error = "timed out" if seconds >= self._timeout else f"{type(fault).__name__}: {fault}"
        finally:
            late.cancel()
            connection.close()
            with self._change:
                self._connections.discard(connection)
        return Attempt(status, error, time.monotonic() - began)


def _headers(hook: Subscription, event: str, body: bytes) -> dict[str, str]:
    """Return the headers of a delivery, all but the number of the attempt (Atlassian's page "Event payloads").

    The request's id is the same for all attempts, which nobody has proven. The signature is over the exact bytes
    (checked against jenkinsci/bitbucket-branch-source-plugin, `signed_payload.json`).
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Bitbucket-Webhooks/2.0",
        "X-Event-Key": event,
        "X-Hook-UUID": hook.uuid.strip("{}"),
        "X-Request-UUID": str(uuid.uuid4()),
    }
    if hook.secret is not None:
        digest = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature"] = f"sha256={digest}"
    return headers


def _outcome(attempt: Attempt, *, last: bool) -> str:
    """Return what an attempt means: only a 5xx is tried again (Atlassian's page "Troubleshoot webhooks" names no other)."""
    if attempt.status is None:
        return FAILED
    if attempt.status >= 500:
        return FAILED if last else WAITING
    return DELIVERED if 200 <= attempt.status < 300 else REFUSED


def _connection(hook: Subscription, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(hook.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)
    context = ssl.create_default_context()
    if hook.skip_cert_verification:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)


def _break_off(connection: http.client.HTTPConnection) -> None:
    # A receiver that sends a byte now and then would never time out by itself.
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
