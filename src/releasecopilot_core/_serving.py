"""A receiver with all that belongs to it in a serving process: plugins, store, and repairs in the background."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

import attrs

from ._deliveries import Answer
from ._ingestor import Ingestor
from ._interfaces import Store, WebhookDecoder
from ._plugins import Host
from ._repairing import Repairer
from ._settings import DEFAULT_PATH, Settings
from ._webhooks import Receiver
from .errors import SettingsError, UnknownNameError, UsageError

_log = logging.getLogger("releasecopilot_core")

#: The environment variable through which `rc serve` tells its worker processes what to open. It holds no secret.
SERVING_VARIABLE = "RC_SERVING"


class Webhook:
    """Takes the deliveries of one service, and repairs in the background what they lack when credentials allow it.

    What frameworks mount: `receive`, `health`, `path` and `body_limit`. `start` is called in the process that serves
    (after a fork, never before it), `close` at its end; both may be called twice, and it may be started again after it
    was closed. Use it as a context manager.

    Threads call `receive`, an event loop awaits what `submit` returns.
    """

    def __init__(self, receiver: Receiver, ingestor: Ingestor, *, repairs: bool) -> None:
        self._receiver = receiver
        self._ingestor = ingestor
        self._repairer = Repairer(ingestor, receiver.service) if repairs else None
        self._lock = threading.Lock()
        self._started = False
        if self._repairer is not None:
            receiver.steps.on_stored = self._repairer.wake
            receiver.repairs = lambda: "on" if self._started else "off"

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
        return self._receiver.steps.body_limit

    @property
    def is_started(self) -> bool:
        """Whether it was started, and not closed since."""
        return self._started

    @property
    def is_proving(self) -> bool:
        """Whether deliveries must prove that their sender knows the secret."""
        return bool(self._receiver.steps.secrets)

    def receive(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Return the answer to a delivery; see `Receiver.receive`. Blocking."""
        return self._receiver.receive(headers, body)

    def submit(self, headers: Iterable[tuple[str, str]], body: bytes) -> Future[Answer]:
        """Return the answer to come, without blocking; see `Receiver.receive`."""
        return self._receiver.submit(headers, body)

    def too_large(self) -> Answer:
        """Return the answer to a body beyond the limit."""
        return self._receiver.too_large()

    def health(self) -> Answer:
        """Return whether deliveries can be stored. Blocking."""
        return self._receiver.health()

    def start(self) -> None:
        """Begin to repair in the background, if that is wanted; what was closed is opened again.

        Raises:
            StoreError: the store cannot be opened.
        """
        if self._started:  # without the lock: servers may call this at each request
            return
        with self._lock:
            if not self._started:
                self._receiver.steps.store = self._ingestor.store(self.service)
                if self._repairer is not None:
                    self._repairer.start()
                self._started = True

    def close(self) -> None:
        """End repairs, and then close the store that was opened here; what was answered 202 is stored.

        A repair that is waiting for the service is broken off, and gives its leases back; that takes a second or two.
        """
        with self._lock:
            self._started = False
            if self._repairer is not None:
                self._repairer.stop()
            self._receiver.close()
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
    plugins: Mapping[str, object] | None = None,
) -> Webhook:
    """Return what takes the deliveries of a service.

    `storage` is a store that the caller goes on to own, else the one of `database` or of the settings is opened.
    `secret` may be two while rotating; by default it is that of the settings. Without any secret everybody may deliver,
    which is logged as a warning. Repairs run when the settings have credentials, unless `repair` is false. `plugins` are
    added to the installed ones.

    Raises:
        UsageError: the settings are wrong, or no plugin decodes such deliveries.
        StoreError: the store cannot be opened.
    """
    if isinstance(storage, str | os.PathLike):
        raise UsageError("storage: give an open store, such as CommitStorage(PATH), or the path as database=PATH")
    if settings is None or isinstance(settings, Mapping):
        loaded = Settings(settings)
    else:
        loaded = settings if isinstance(settings, Settings) else Settings.load(settings)
    proofs = None if secret is None else _proofs(secret)
    ingestor = Ingestor(loaded, plugins=plugins, database=database, storage=storage)
    try:
        receiver = ingestor.receiver(service, secrets=proofs)
        webhook = Webhook(receiver, ingestor, repairs=repair and receiver.steps.decoder.can_repair)
    except BaseException:
        ingestor.close()
        raise
    if not webhook.is_proving:
        _log.warning("%s webhooks: no secret is set, so anybody who reaches this address may deliver", service)
    return webhook


def _proofs(secret: str | Sequence[str]) -> tuple[str, ...]:
    proofs = (secret,) if isinstance(secret, str) else tuple(secret)
    if not all(isinstance(proof, str) for proof in proofs):
        raise SettingsError("the webhook's secret must be text, or a list of texts")
    if not proofs or not all(proofs):
        # An empty secret would be a proof that anybody can give.
        raise SettingsError("the webhook's secret is empty; check the variable that holds it")
    return proofs


# --- rc serve ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Serving:
    """What a process that serves one service's webhook must know to open it; no secret of the settings is in it.

    `rc serve` makes it, `export` and `from_environment` carry it to worker processes. `config` is a settings file (by
    default `config/settings.yaml`, which may be absent when a `database` is named), `logging` a `logging.config`
    dictionary for servers that start fresh processes. `insecure` allows to serve without a secret.
    """

    service: str
    path: str
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    config: str | None = None
    database: str | None = None
    insecure: bool = False
    access_log: bool = False
    logging: Mapping[str, Any] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Serving:
        """Return what `export` wrote.

        Raises:
            UsageError: it was never called.
        """
        text = (os.environ if environ is None else environ).get(SERVING_VARIABLE)
        if text is None:
            raise UsageError(f"{SERVING_VARIABLE} is not set: this is for the worker processes of `rc serve`")
        return cls(**json.loads(text))

    def export(self) -> None:
        """Write it where processes started from here find it."""
        os.environ[SERVING_VARIABLE] = json.dumps(attrs.asdict(self))

    def settings(self) -> Settings:
        """Load the settings."""
        missing = self.config is None and self.database is not None and not DEFAULT_PATH.exists()
        return Settings() if missing else Settings.load(self.config)

    def check(self) -> WebhookDecoder:
        """Return the decoder, after checking that whoever delivers must prove it; opens no store.

        Raises:
            UsageError: the settings are wrong, or there is no secret and it is not `insecure`.
        """
        settings = self.settings()
        host = Host(disabled=settings.disabled_plugins)
        decoder = cast(WebhookDecoder, host.open_named("rc_webhooks", self.service, settings, what="webhook"))
        if not decoder.secrets and not self.insecure:
            raise SettingsError(
                f"{settings.origin}: {self.service}.webhook_secret is not set, so anybody could deliver; "
                "set it, or accept that with --insecure"
            )
        return decoder

    def open(self) -> Webhook:
        """Open the webhook in a process that does nothing but serve it; it is not started yet.

        Raises:
            UsageError: the settings are wrong, or there is no secret and it is not `insecure`.
            StoreError: the store cannot be opened.
        """
        # `rc serve` has told what plugins warn of; each worker, and each repair in it, would again.
        warnings.simplefilter("ignore", UserWarning)
        self.check()
        return open_webhook(self.service, settings=self.settings(), database=self.database)

    def listen(self) -> socket.socket:
        """Return a socket that listens at host and port (0: any that is free); all workers share it.

        Raises:
            UsageError: the address cannot be had.
        """
        place = f"{self.host}:{self.port}"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            try:
                if os.name == "posix":  # elsewhere it would take an address that is in use
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(1024)
            except BaseException:
                listener.close()
                raise
        except (OSError, UnicodeError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{place}: cannot listen there ({reason}); choose another --host or --port") from None
        return listener


def web_servers(settings: Settings) -> dict[str, Any]:
    """Return framework name -> what its plugin gives for `rc_web_servers`, by name.

    Raises:
        UnknownNameError: no such plugin is installed; the message says what to install.
    """
    host = Host(disabled=settings.disabled_plugins)
    found = host.named("rc_web_servers", settings=settings)
    if not found:
        faults = "".join(f"; {problem.message}" for problem in host.problems())
        raise UnknownNameError(
            f"no web framework is installed; pip install 'releasecopilot-core[fastapi]' (or [flask]){faults}"
        )
    return {name: server for name, (_, server) in sorted(found.items())}
