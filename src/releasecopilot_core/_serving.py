"""A receiver with all that belongs to it in a serving process: plugins, store, and repairs in the background."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets as random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._ingestor import Ingestor
from ._interfaces import Store
from ._settings import Settings
from ._webhooks import Answer, Receiver
from .errors import ReleaseCopilotError, SettingsError

_log = logging.getLogger("releasecopilot_core")

#: Seconds from a delivery to the repair of what it lacks: what comes within is repaired together.
GATHER_SECONDS = 2.0
#: Seconds between looks for what other workers, or an earlier process, left to repair.
LOOK_SECONDS = 60.0
#: After a repair that was not complete the next one waits, longer each time: seconds, first and longest.
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0
#: A repair that takes longer than this, in seconds, may be repeated by another worker; that does no harm.
LEASE_SECONDS = 900.0
_DAY = 86_400.0


class Webhook:
    """Takes the deliveries of one service, and repairs in the background what they lack when credentials allow it.

    What frameworks mount: `receive`, `health`, `path` and `body_limit`. `start` is called in the process that serves
    (after a fork, never before it), `close` at its end; both may be called twice. Use it as a context manager.
    """

    def __init__(self, receiver: Receiver, ingestor: Ingestor, *, repairs: bool) -> None:
        self._receiver = receiver
        self._ingestor = ingestor
        self._repairer = Repairer(ingestor, receiver.service) if repairs else None
        if self._repairer is not None:
            receiver.on_stored = self._repairer.wake
            receiver.repairs = lambda: "on"

    @property
    def service(self) -> str:
        """The name of the service whose deliveries are taken."""
        return self._receiver.service

    @property
    def path(self) -> str:
        """The path at which deliveries are expected by default."""
        return self._receiver.path

    @property
    def body_limit(self) -> int:
        """How large a body may be, in bytes; of a larger one the rest need not be read."""
        return self._receiver.body_limit

    @property
    def is_proving(self) -> bool:
        """Whether deliveries must prove that their sender knows the secret."""
        return bool(self._receiver.secrets)

    def receive(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Return the answer to a delivery; see `Receiver.receive`. Blocking."""
        return self._receiver.receive(headers, body)

    def too_large(self) -> Answer:
        """Return the answer to a body beyond the limit."""
        return self._receiver.too_large()

    def health(self) -> Answer:
        """Return whether deliveries can be stored. Blocking."""
        return self._receiver.health()

    def start(self) -> None:
        """Begin to repair in the background, if that is wanted."""
        if self._repairer is not None:
            self._repairer.start()

    def close(self) -> None:
        """End repairs, and close the store that was opened here; what was answered 202 is stored."""
        if self._repairer is not None:
            self._repairer.stop()
        self._ingestor.close()

    def __enter__(self) -> Webhook:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_webhook(
    service: str,
    *,
    storage: Store | None = None,
    secret: str | Sequence[str] | None = None,
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    database: str | os.PathLike[str] | None = None,
    repair: bool = True,
) -> Webhook:
    """Return what takes the deliveries of a service.

    `storage` is a store that the caller goes on to own, else the one of `database` or of the settings is opened.
    `secret` may be two while rotating; by default it is that of the settings. Without any secret everybody may deliver,
    which is logged as a warning. Repairs run when the settings have credentials, unless `repair` is false.

    Raises:
        UsageError: the settings are wrong, or no plugin decodes such deliveries.
        StoreError: the store cannot be opened.
    """
    if settings is None or isinstance(settings, Mapping):
        loaded = Settings(settings)
    else:
        loaded = settings if isinstance(settings, Settings) else Settings.load(settings)
    ingestor = Ingestor(loaded, database=database, storage=storage)
    try:
        proofs = None if secret is None else _proofs(secret)
        receiver = ingestor.receiver(service, store=storage, secrets=proofs)
    except BaseException:
        ingestor.close()
        raise
    if not receiver.secrets:
        _log.warning("%s webhooks: no secret is set, so anybody who reaches this address may deliver", service)
    return Webhook(receiver, ingestor, repairs=repair and receiver.decoder.can_repair)


def _proofs(secret: str | Sequence[str]) -> tuple[str, ...]:
    proofs = (secret,) if isinstance(secret, str) else tuple(secret)
    if not all(proofs):
        # An empty secret would be a proof that anybody can give.
        raise SettingsError("the webhook's secret is empty; check the variable that holds it")
    return proofs


class Repairer:
    """Repairs one source in a thread of its own, soon after a delivery and once a minute; one process at a time does.

    Its failures are logged and told in the repair's artifact; it goes on, after a wait that grows.
    """

    def __init__(self, ingestor: Ingestor, source: str) -> None:
        self._ingestor = ingestor
        self._source = source
        self._holder = f"repairer-{os.getpid()}-{random.token_hex(4)}"
        self._delivered = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._look = LOOK_SECONDS
        self._wait = 0.0
        self._pruned = 0.0

    def start(self) -> None:
        """Start the thread; a second time does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="releasecopilot-repairs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Tell that something was delivered."""
        self._delivered.set()

    def stop(self) -> None:
        """End after the batch that is being stored; what is left is repaired by the next process."""
        self._stopping.set()
        self._delivered.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._prune()
            try:
                self._repair()
            except ReleaseCopilotError as error:
                self._defer(str(error))
            except Exception:  # a plugin's code, or a bug: deliveries must go on being taken
                _log.exception("repairs of %s failed", self._source)
                self._defer("an unexpected error")
            self._delivered.wait(self._look)
            self._delivered.clear()
            self._stopping.wait(max(GATHER_SECONDS, self._wait))

    def _repair(self) -> None:
        store = self._ingestor.store(self._source)
        self._look = LOOK_SECONDS
        if not store.to_repair(self._source):
            self._wait = 0.0
            return
        if not store.lease(self._lease, self._holder, LEASE_SECONDS):
            # Another worker repairs, and may have begun before what was delivered here.
            self._look, self._wait = GATHER_SECONDS, 0.0
            return
        try:
            run = self._ingestor.repair(self._source, stop=self._stopping)
        finally:
            with contextlib.suppress(ReleaseCopilotError):
                store.release(self._lease, self._holder)
        if run.status == "complete":
            self._wait = 0.0
        elif not self._stopping.is_set():
            self._defer(f"repair {run.run_id} is {run.status}")

    @property
    def _lease(self) -> str:
        return f"repairs of {self._source}"

    def _defer(self, reason: str) -> None:
        self._wait = min(LONGEST_WAIT, max(FIRST_WAIT, self._wait * 2))
        _log.warning("%s; the next repair of %s begins in %d s", reason, self._source, self._wait)

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > _DAY or not self._pruned:
            self._pruned = time.monotonic()
            if count := self._ingestor.prune_deliveries(self._source):
                _log.info("the raw bodies of %d deliveries were old and have been dropped", count)
