"""A webhook delivery in, an answer out, without any web framework."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import timedelta

import attrs

from ._clock import utc_now
from ._deliveries import Answer, DeliverySteps, Taken, decoded, parsed, reason_of, too_large
from ._group_commit import GroupCommit
from ._interfaces import Store, WebhookDecoder
from ._keys import KeyFinder
from ._preparing import prepared
from ._run import Delivery, DeliveryStatus
from .errors import StoreError

_log = logging.getLogger("releasecopilot_core")


@attrs.define
class Receiver:
    """Takes deliveries of one service: proves them genuine, stores them durably, and only then answers.

    Thread-safe; those that come at once share a transaction. Nothing that a sender can send makes it raise. Without secrets
    in its `steps` every delivery passes; whoever opens a receiver so must know why. `repairs` tells how repairs stand, for
    `health`.
    """

    steps: DeliverySteps
    repairs: Callable[[], str] | None = None
    _groups: GroupCommit[Delivery, Taken, Answer] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Make room for the deliveries that come at once."""
        self._groups = GroupCommit(self.steps)

    @property
    def service(self) -> str:
        """The name of the service whose deliveries are taken."""
        return self.steps.service

    @property
    def store(self) -> Store:
        """Where deliveries are stored."""
        return self.steps.store

    @property
    def path(self) -> str:
        """The path at which deliveries are expected by default."""
        return f"/webhooks/{self.service}"

    def receive(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Return the answer to a request with these headers and this raw body. Blocking.

        202 `stored`, `ignored` (an event that is not used) or `duplicate`; 400 no JSON object, 401 no or a wrong proof,
        413 too large, 503 the store is out of reach: send it again.
        """
        return self.submit(headers, body).result()

    def submit(self, headers: Iterable[tuple[str, str]], body: bytes) -> Future[Answer]:
        """Return the answer to come; see `receive`. Nothing is waited for: only the proof is checked here."""
        delivery = Delivery(headers=_joined(headers), body=body)
        refusal = self.steps.refusal(delivery)
        if refusal is None:
            return self._groups.submit(delivery)
        answer: Future[Answer] = Future()
        answer.set_result(refusal)
        return answer

    def too_large(self) -> Answer:
        """Return the answer to a body beyond the limit, of which the rest need not be read."""
        return too_large(self.steps.body_limit)

    def health(self) -> Answer:
        """Return 200 when deliveries can be stored, 503 when not; asks the store one cheap question."""
        state = "ok"
        try:
            for _ in self.store.deliveries(limit=1):
                pass
        except StoreError as error:
            _log.error("health: %s", error)
            state = "out of reach"
        repairs = self.repairs() if self.repairs is not None else "off"
        body = {"status": "ok" if state == "ok" else "failing", "store": state, "repairs": repairs}
        return Answer(200 if state == "ok" else 503, body)

    def close(self) -> None:
        """Wait for what has been submitted; what comes later is taken as before."""
        self._groups.close()


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; of one that came several times no value may hide another (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def replay(store: Store, decoder: WebhookDecoder, keys: KeyFinder, delivery_id: str) -> DeliveryStatus | None:
    """Decode a kept delivery anew and store what it tells; returns how it went, `None` when its body is gone.

    Harmless for one that was stored before: sightings merge.
    """
    record = store.delivery(delivery_id)
    if record is None or record.body is None:
        return None
    delivery = Delivery(headers=record.headers, body=record.body, payload=parsed(record.body))
    status, reason, batches = decoded(decoder, delivery)
    try:
        store.redeliver(delivery_id, [prepared(batch, store, keys) for batch in batches], status, reason)
    except StoreError:
        raise
    except Exception as error:  # what a decoder lets through may still be more than a store can hold
        _log.exception("what delivery %s tells could not be stored", delivery_id)
        status = "failed"
        store.redeliver(delivery_id, (), status, reason_of(error))
    return status


def prune(store: Store, days: float) -> int:
    """Drop raw bodies that are older than so many days; returns of how many deliveries."""
    return store.prune_deliveries(utc_now() - timedelta(days=days))
