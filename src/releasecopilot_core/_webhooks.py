"""A webhook delivery in, an answer out, without any web framework."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets as random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from ._batch import Batch
from ._clock import utc_now
from ._interfaces import Store, WebhookDecoder
from ._keys import KeyFinder
from ._preparing import prepared
from ._run import Delivery, DeliveryRecord, DeliveryStatus
from .errors import StoreError

_log = logging.getLogger("releasecopilot_core")

#: Header names that any service sends, and that are kept with a delivery beside those of its decoder.
_KEPT_HEADERS = frozenset({"content-type", "content-length", "user-agent"})

#: Seconds between two warnings of refused deliveries: whoever reaches the address could fill the log.
_COMPLAIN_SECONDS = 60.0

#: Seconds that a delivery waits for those before it; then it goes on beside them, and the store decides how long it waits.
_TURN_SECONDS = 1.0


@attrs.frozen
class Answer:
    """What is answered to a delivery: an HTTP status and a JSON body."""

    status: int
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """The body as it is sent, to be labelled `application/json`."""
        return json.dumps(dict(self.body)).encode()


@attrs.define
class Receiver:
    """Takes deliveries of one service: proves them genuine, stores them durably, and only then answers.

    Thread-safe, and blocking: an event loop calls it in a thread. Nothing that a sender can send makes it raise. Without
    `secrets` every delivery passes; whoever opens a receiver so must know why.

    `body_limit` is in bytes. `on_stored` is called after a delivery that was stored and is no duplicate; `repairs` tells
    how repairs stand, for `health`.
    """

    service: str
    store: Store
    decoder: WebhookDecoder
    keys: KeyFinder
    secrets: Sequence[str] = attrs.field(default=(), repr=False)
    body_limit: int = 1 << 20
    on_stored: Callable[[], object] | None = None
    repairs: Callable[[], str] | None = None
    _complained: float = attrs.field(default=-_COMPLAIN_SECONDS, init=False)
    _turn: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False, eq=False)

    @property
    def path(self) -> str:
        """The path at which deliveries are expected by default."""
        return f"/webhooks/{self.service}"

    def receive(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Return the answer to a request with these headers and this raw body.

        202 `stored`, `ignored` (an event that is not used) or `duplicate`; 400 no JSON object, 401 no or a wrong proof,
        413 too large, 503 the store is out of reach: send it again.
        """
        if len(body) > self.body_limit:
            return self.too_large()
        delivery = Delivery(headers=_joined(headers), body=body)
        if not self._is_proven(delivery):
            self._complain()
            return rejected(401, "no proof, or a wrong one, that the sender knows the webhook's secret")
        # One after the other: threads that run Python fight for the interpreter whenever one of them asks the database.
        mine = self._turn.acquire(timeout=_TURN_SECONDS)
        try:
            return self._taken(delivery)
        finally:
            if mine:
                self._turn.release()

    def _taken(self, delivery: Delivery) -> Answer:
        body = delivery.body
        try:
            payload = parsed(body)
        except (ValueError, RecursionError):
            return rejected(400, "the body is not JSON")
        if not isinstance(payload, dict):
            return rejected(400, "the body is not a JSON object")
        try:
            return self._store(Delivery(headers=delivery.headers, body=body, payload=payload))
        except StoreError as error:
            _log.error("a delivery could not be stored: %s", error)
        except Exception:  # a store that is not ours; the sender may only hear what makes it send again
            _log.exception("a delivery could not be stored")
        return rejected(503, "the store is out of reach; send it again later")

    def too_large(self) -> Answer:
        """Return the answer to a body beyond the limit, of which the rest need not be read."""
        return rejected(413, f"the body is larger than {self.body_limit} bytes")

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

    def _is_proven(self, delivery: Delivery) -> bool:
        if not self.secrets:
            return True
        try:
            return self.decoder.verify(delivery, self.secrets)
        except Exception:  # code we did not write, on data that nobody checked
            _log.exception("a proof could not be checked")
            return False

    def _complain(self) -> None:
        moment = time.monotonic()
        if moment - self._complained >= _COMPLAIN_SECONDS:
            self._complained = moment
            _log.warning("a %s delivery was refused: no proof, or a wrong one, of the secret", self.service)

    def _store(self, delivery: Delivery) -> Answer:
        event, request_id = self._identified(delivery)
        status, reason, batches = decoded(self.decoder, delivery)
        record = DeliveryRecord(
            id=new_delivery_id(),
            service=self.service,
            received_at=utc_now(),
            status=status,
            event=event,
            request_id=request_id,
            reason=reason,
            headers=self._kept(delivery.headers),
            body=delivery.body,
            body_sha256=hashlib.sha256(delivery.body).hexdigest(),
        )
        try:
            found, duplicate = self.store.deliver(record, [prepared(b, self.store, self.keys) for b in batches])
        except StoreError:
            raise
        except Exception as error:  # what a decoder lets through may still be more than a store can hold
            _log.exception("what a delivery tells could not be stored")
            record = attrs.evolve(record, status="failed", reason=_reason(error))
            found, duplicate = self.store.deliver(record, ())
        return self._answered(record, found, duplicate=duplicate)

    def _answered(self, record: DeliveryRecord, id_: str, *, duplicate: bool) -> Answer:
        if duplicate:
            _log.info("delivery %s (%s) came again", id_, record.event)
            return Answer(202, {"status": "duplicate", "delivery": id_})
        if record.status == "failed":
            _log.warning("delivery %s (%s) is kept, but was not understood: %s", id_, record.event, record.reason)
        else:
            _log.info("delivery %s (%s) is %s", id_, record.event, record.status)
        if record.status == "stored" and self.on_stored is not None:
            self.on_stored()
        return Answer(202, {"status": "ignored" if record.status == "ignored" else "stored", "delivery": id_})

    def _identified(self, delivery: Delivery) -> tuple[str | None, str | None]:
        try:
            event, request_id = self.decoder.identify(delivery)
        except Exception:  # code we did not write, on data that nobody checked
            _log.exception("a delivery could not be identified")
            return None, None
        return _label(event), _label(request_id)

    def _kept(self, headers: Mapping[str, str]) -> dict[str, str]:
        # By name: a relay may add a header that holds a secret, and we cannot know it.
        wanted = _KEPT_HEADERS.union(self.decoder.kept_headers)
        return {name: _label(value, 1000) or "" for name, value in sorted(headers.items()) if name in wanted}


def rejected(status: int, reason: str) -> Answer:
    """Return the answer to a delivery that is not taken."""
    return Answer(status, {"status": "rejected", "delivery": None, "reason": reason})


def parsed(body: bytes) -> Any:
    """Return what a JSON body says, by the letter of RFC 8259: UTF-8, and no `NaN`.

    Raises:
        ValueError: it is not JSON, or holds a number of thousands of digits.
        RecursionError: it is nested more deeply than any service's.
    """
    return _STRICT.decode(body.decode("utf-8-sig"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; of one that came several times no value may hide another (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _label(value: object, length: int = 200) -> str | None:
    """Return a text as it can be stored and shown in one line, `None` for anything else."""
    if not isinstance(value, str):
        return None
    text = value[:length]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def decoded(decoder: WebhookDecoder, delivery: Delivery) -> tuple[DeliveryStatus, str | None, Sequence[Batch]]:
    """Return what comes of a delivery: its status, why it failed, and the batches that it tells."""
    try:
        batches = tuple(decoder.decode(delivery))
    except Exception as error:  # code we did not write, on data that nobody checked
        if not isinstance(error, ValueError):
            _log.exception("a delivery could not be decoded")
        return "failed", _reason(error), ()
    return ("stored" if batches else "ignored"), None, batches


def _reason(error: Exception) -> str:
    name = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{name}{_label(' '.join(str(error).split()), 500)}"


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
        store.redeliver(delivery_id, (), status, _reason(error))
    return status


def prune(store: Store, days: float) -> int:
    """Drop raw bodies that are older than so many days; returns of how many deliveries."""
    return store.prune_deliveries(utc_now() - timedelta(days=days))


def new_delivery_id() -> str:
    """Return a fresh id that sorts by time (UTC)."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{random.token_hex(5)}"
