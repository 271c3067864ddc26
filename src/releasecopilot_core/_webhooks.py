"""A webhook delivery in, an answer out, without any web framework."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets as random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import attrs

from ._batch import Batch
from ._clock import utc_now
from ._group_commit import Finished, GroupCommit
from ._interfaces import Store, WebhookDecoder
from ._keys import KeyFinder
from ._preparing import prepared
from ._run import Delivery, DeliveryRecord, DeliveryStatus
from .errors import StoreBusyError, StoreError

_log = logging.getLogger("releasecopilot_core")

#: Header names that any service sends, and that are kept with a delivery beside those of its decoder.
_KEPT_HEADERS = frozenset({"content-type", "content-length", "user-agent"})

#: Seconds between two warnings of refused deliveries: whoever reaches the address could fill the log.
_COMPLAIN_SECONDS = 60.0

#: A delivery that came so many seconds before another one found the store held to the end is not made to find out itself.
_HELD_SECONDS = 1.0


@attrs.frozen
class Answer:
    """What is answered to a delivery: an HTTP status and a JSON body."""

    status: int
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """The body as it is sent, to be labelled `application/json`."""
        return json.dumps(dict(self.body)).encode()


@attrs.frozen
class _Request:
    """A delivery as it came in, and when that was (`time.monotonic`)."""

    delivery: Delivery
    came: float


@attrs.frozen
class _Taken:
    """A delivery on its way into the store."""

    came: float
    record: DeliveryRecord
    batches: Sequence[Batch] = ()
    repositories: frozenset[str] = frozenset()

    def failed(self, error: Exception) -> _Taken:
        """Return what is stored when what it tells cannot be."""
        _log.error("what a delivery tells could not be stored", exc_info=error)
        return _Taken(self.came, attrs.evolve(self.record, status="failed", reason=_reason(error)))


@attrs.define
class Receiver:
    """Takes deliveries of one service: proves them genuine, stores them durably, and only then answers.

    Thread-safe: deliveries that come at once share a transaction. Nothing that a sender can send makes it raise. Without
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
    _gave_up: float = attrs.field(default=-_HELD_SECONDS, init=False)
    _complained: float = attrs.field(default=-_COMPLAIN_SECONDS, init=False)
    _groups: GroupCommit[_Request, _Taken, Answer] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Make room for the deliveries that come at once."""
        self._groups = GroupCommit(self)

    @property
    def path(self) -> str:
        """The path at which deliveries are expected by default."""
        return f"/webhooks/{self.service}"

    def receive(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Return the answer to a request with these headers and this raw body.

        202 `stored`, `ignored` (an event that is not used) or `duplicate`; 400 no JSON object, 401 no or a wrong proof,
        413 too large, 503 the store is out of reach: send it again.
        """
        answer = self.submit(headers, body)
        self.work(until=answer)
        return answer.result()

    def submit(self, headers: Iterable[tuple[str, str]], body: bytes) -> Future[Answer]:
        """Queue a request without blocking; it is answered while some thread is in `work`."""
        return self._groups.submit(_Request(Delivery(headers=_joined(headers), body=body), time.monotonic()))

    def work(self, until: Future[Answer]) -> None:
        """Take all that is queued until this answer is there. Blocking, and one thread at a time is best."""
        self._groups.work(until)

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

    # --- the steps of a group ------------------------------------------------------------------------------

    def begin(self, request: _Request) -> _Taken | Finished[Answer]:
        """Refuse a delivery, or decode it."""
        delivery = request.delivery
        if len(delivery.body) > self.body_limit:
            return Finished(self.too_large())
        if not self._is_proven(delivery):
            self._complain()
            return Finished(rejected(401, "no proof, or a wrong one, that the sender knows the webhook's secret"))
        try:
            payload = parsed(delivery.body)
        except (ValueError, RecursionError):
            return Finished(rejected(400, "the body is not JSON"))
        if not isinstance(payload, dict):
            return Finished(rejected(400, "the body is not a JSON object"))
        try:
            return self._decoded(request.came, attrs.evolve(delivery, payload=payload))
        except Exception as error:  # a decoder that is not ours
            return Finished(_unstored(error))

    def depends(self, member: _Taken, group: Sequence[_Taken]) -> bool:
        """Return whether one of the group tells of the same repository: what that tells is to be known by then."""
        return any(not member.repositories.isdisjoint(other.repositories) for other in group)

    def complete(self, member: _Taken) -> _Taken | Finished[Answer]:
        """Hold what a delivery tells against what is known, and find the keys."""
        try:
            batches = [prepared(batch, self.store, self.keys) for batch in member.batches]
        except StoreError as error:
            return Finished(self._refused(error))
        except Exception as error:  # what a decoder lets through may still be nonsense
            return member.failed(error)
        if member.came < self._gave_up - _HELD_SECONDS:
            # It waited while another delivery waited for the store in vain: its sender does not wait as long once more.
            return Finished(_unstored(StoreBusyError("the store was held while the delivery waited")))
        return attrs.evolve(member, batches=batches)

    def commit(self, group: Sequence[_Taken]) -> Sequence[Answer]:
        """Store deliveries together; should that fail, each by itself, so that none is refused for another's sake."""
        try:
            return self._stored(group)
        except StoreBusyError as error:
            return [self._refused(error) for _ in group]
        except Exception as error:
            if len(group) == 1:
                return [self._stored_as_failed(group[0], error)]
            _log.info("%d deliveries could not be stored together (%s)", len(group), error)
        return [answer for member in group for answer in self.commit([member])]

    def _decoded(self, came: float, delivery: Delivery) -> _Taken:
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
            repositories = frozenset(batch.repository.uuid for batch in batches if batch.repository is not None)
        except Exception as error:  # what a decoder lets through may still be nonsense
            return _Taken(came, record).failed(error)
        return _Taken(came, record, batches, repositories)

    def _stored(self, group: Sequence[_Taken]) -> list[Answer]:
        stored = self.store.deliver_all([(member.record, member.batches) for member in group])
        return [
            self._answered(member.record, id_, duplicate=duplicate)
            for member, (id_, duplicate) in zip(group, stored, strict=True)
        ]

    def _stored_as_failed(self, member: _Taken, error: Exception) -> Answer:
        if isinstance(error, StoreError):
            return self._refused(error)
        # What a decoder lets through may be more than a store can hold.
        try:
            (answer,) = self._stored([member.failed(error)])
        except Exception as again:  # a store that is not ours
            return _unstored(again)
        return answer

    def _refused(self, error: StoreError) -> Answer:
        if isinstance(error, StoreBusyError):
            self._gave_up = time.monotonic()
        return _unstored(error)

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


def _unstored(error: Exception) -> Answer:
    """Log why a delivery was not stored; the sender only hears what makes it send again."""
    if isinstance(error, StoreError):
        _log.error("a delivery could not be stored: %s", error)
    else:
        _log.error("a delivery could not be stored", exc_info=error)
    return rejected(503, "the store is out of reach; send it again later")


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
