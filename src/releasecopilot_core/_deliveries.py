"""The steps of a delivery: proven, decoded, held against what is known, and stored, alone or with others."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets as random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ._batch import Batch
from ._clock import utc_now
from ._group_commit import Finished
from ._interfaces import Store, WebhookDecoder
from ._keys import KeyFinder
from ._plugins import StoreBroken
from ._preparing import prepared
from ._run import Delivery, DeliveryRecord, DeliveryStatus
from .errors import StoreBusyError, StoreError

_log = logging.getLogger("releasecopilot_core")

#: Header names that any service sends, and that are kept with a delivery beside those of its decoder.
_KEPT_HEADERS = frozenset({"content-type", "content-length", "user-agent"})

#: Seconds between two warnings of refused deliveries: whoever reaches the address could fill the log.
_COMPLAIN_SECONDS = 60.0

#: A delivery that has waited for others for so many seconds is not made to wait for the store, which may take five more:
#: senders give up after ten.
_PATIENCE_SECONDS = 4.0


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
class Taken:
    """A delivery on its way into the store: its record, what it tells, and of which repositories."""

    record: DeliveryRecord
    batches: Sequence[Batch] = ()
    repositories: frozenset[str] = frozenset()

    def failed(self, error: BaseException) -> Taken:
        """Return what is stored when what it tells cannot be."""
        _log.error("what a delivery tells could not be stored", exc_info=error)
        return Taken(attrs.evolve(self.record, status="failed", reason=reason_of(error)))


@attrs.define
class DeliverySteps:
    """What is done with deliveries; implements `Steps` of a group commit. See `Receiver`.

    They run in a thread that serves all senders. So whatever a decoder, an extractor or a store raises is caught, also what
    would end a thread: each delivery gets its answer.
    """

    service: str
    store: Store
    decoder: WebhookDecoder
    keys: KeyFinder
    secrets: Sequence[str] = attrs.field(default=(), repr=False)
    body_limit: int = 1 << 20
    on_stored: Callable[[], object] | None = None
    _complained: float = attrs.field(default=-_COMPLAIN_SECONDS, init=False)

    def refusal(self, request: Delivery) -> Answer | None:
        """Return the answer to a delivery that is too large or not proven, before it gets into line with others."""
        if len(request.body) > self.body_limit:
            return too_large(self.body_limit)
        if not self._is_proven(request):
            self._complain()
            return rejected(401, "no proof, or a wrong one, that the sender knows the webhook's secret")
        return None

    def begin(self, request: Delivery) -> Taken | Finished[Answer]:
        """Decode a delivery."""
        try:
            payload = parsed(request.body)
        except (ValueError, RecursionError):
            return Finished(rejected(400, "the body is not JSON"))
        if not isinstance(payload, dict):
            return Finished(rejected(400, "the body is not a JSON object"))
        try:
            return self._decoded(attrs.evolve(request, payload=payload))
        except BaseException as error:  # a decoder that is not ours
            return Finished(_unstored(error))

    def depends(self, member: Taken, group: Sequence[Taken]) -> bool:
        """Return whether one of the group tells of the same repository: what that tells is to be known by then."""
        return any(not member.repositories.isdisjoint(other.repositories) for other in group)

    def complete(self, member: Taken, waited: float) -> Taken | Finished[Answer]:
        """Hold what a delivery tells against what is known, and find the keys; one that waited for too long is refused."""
        if waited > _PATIENCE_SECONDS:
            return Finished(_unstored(StoreBusyError(f"it has waited for {waited:.0f} s already")))
        try:
            batches = [prepared(batch, self.store, self.keys) for batch in member.batches]
        except StoreError as error:
            return Finished(_unstored(error))
        except BaseException as error:  # what a decoder lets through may still be nonsense
            return member.failed(error)
        return attrs.evolve(member, batches=batches)

    def commit(self, group: Sequence[Taken]) -> Sequence[Answer]:
        """Store deliveries together; when one cannot be stored, each by itself, so that none is refused for its sake."""
        try:
            stored = self._stored(group)
        except BaseException as error:  # a store that is not ours
            if isinstance(error, StoreError) and not isinstance(error, StoreBroken):
                # It is out of reach, for all of them.
                return [_unstored(error)] * len(group)
            if len(group) == 1:
                return [self._stored_as_failed(group[0], error)]
            _log.info("%d deliveries could not be stored together (%s)", len(group), error)
            return [answer for member in group for answer in self.commit([member])]
        return [self._answered(member.record, *found) for member, found in zip(group, stored, strict=True)]

    def _stored(self, group: Sequence[Taken]) -> Sequence[tuple[str, bool]]:
        stored = self.store.deliver_all([(member.record, member.batches) for member in group])
        if len(stored) != len(group):
            raise StoreError(f"the store returned {len(stored)} results for {len(group)} deliveries")
        return stored

    def _stored_as_failed(self, member: Taken, error: BaseException) -> Answer:
        """Keep the body at least: what a decoder lets through may be more than a store can hold."""
        failed = member.failed(error)
        try:
            (found,) = self._stored([failed])
        except BaseException as again:  # a store that is not ours
            return _unstored(again)
        return self._answered(failed.record, *found)

    def _decoded(self, delivery: Delivery) -> Taken:
        event, request_id = self._identified(delivery)
        status, reason, batches = decoded(self.decoder, delivery)
        record = DeliveryRecord(
            id=_new_delivery_id(),
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
            return Taken(record).failed(error)
        return Taken(record, batches, repositories)

    def _is_proven(self, delivery: Delivery) -> bool:
        if not self.secrets:
            return True
        try:
            return self.decoder.verify(delivery, self.secrets)
        except BaseException:  # code we did not write, on data that nobody checked
            _log.exception("a proof could not be checked")
            return False

    def _complain(self) -> None:
        moment = time.monotonic()
        if moment - self._complained >= _COMPLAIN_SECONDS:
            self._complained = moment
            _log.warning("a %s delivery was refused: no proof, or a wrong one, of the secret", self.service)

    def _answered(self, record: DeliveryRecord, id_: str, duplicate: bool) -> Answer:
        if duplicate:
            _log.info("delivery %s (%s) came again", id_, record.event)
            return Answer(202, {"status": "duplicate", "delivery": id_})
        if record.status == "failed":
            _log.warning("delivery %s (%s) is kept, but was not understood: %s", id_, record.event, record.reason)
        else:
            _log.info("delivery %s (%s) is %s", id_, record.event, record.status)
        if record.status == "stored" and self.on_stored is not None:
            try:
                self.on_stored()
            except Exception:  # whoever set it; the delivery is stored
                _log.exception("what is to follow a delivery failed")
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


def too_large(body_limit: int) -> Answer:
    """Return the answer to a body beyond the limit, of which the rest need not be read."""
    return rejected(413, f"the body is larger than {body_limit} bytes")


def _unstored(error: BaseException) -> Answer:
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
        return "failed", reason_of(error), ()
    return ("stored" if batches else "ignored"), None, batches


def reason_of(error: BaseException) -> str:
    name = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{name}{_label(' '.join(str(error).split()), 500)}"


def _new_delivery_id() -> str:
    """Return a fresh id that sorts by time (UTC)."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{random.token_hex(5)}"
