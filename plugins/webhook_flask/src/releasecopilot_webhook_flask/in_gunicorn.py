"""gunicorn: a supervisor and its worker processes, each with some threads."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from releasecopilot_core import Serving, Webhook

from .serving import application

if TYPE_CHECKING:
    from types import FrameType

#: Threads of one process: each waits for one sender, and then for the disk, more than for Python.
THREADS = 128

#: Seconds in which the next bytes of a request must come: a sender that vanished would keep its thread for ever.
SILENCE_SECONDS = 10

#: What ends a worker.
_ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def serve(serving: Serving, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C, and end the process by `SystemExit`."""
    _end_silence(listener)
    _Application(serving, listener).run()


def _end_silence(listener: socket.socket) -> None:
    """Keep senders that say nothing from holding threads; accepted connections take this over from the listener.

    gunicorn makes them blocking ones, without a time-out of Python's: these are the kernel's.
    """
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", SILENCE_SECONDS, 0))
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux: whoever sends nothing is not even accepted
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENCE_SECONDS)


class _Arbiter(Arbiter):
    """Lets no worker lose a signal that comes before it listens: it would go on until gunicorn kills it, 30 seconds later."""

    def spawn_worker(self) -> Any:
        """Fork a worker, which holds signals back until it has loaded; the supervisor does so for that moment only."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


class _Application(BaseApplication):
    """Configures gunicorn from here, and not from its files or variables."""

    def __init__(self, serving: Serving, listener: socket.socket) -> None:
        self._serving = serving
        self._came: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._options = {
            # gunicorn goes on to own the file descriptor.
            "bind": f"fd://{listener.detach()}",
            "workers": serving.workers,
            "worker_class": "gthread",
            "threads": THREADS,
            "logger_class": _Logger,
            "accesslog": "-" if serving.access_log else None,
            "control_socket_disable": True,
            "on_starting": _end_gracefully,
            "post_worker_init": self._hear,
            "worker_exit": _close,
            "proc_name": "rc serve",
        }
        super().__init__()

    def run(self) -> None:
        """Run the supervisor; its workers never return."""
        _Arbiter(self).run()

    def load_config(self) -> None:
        for name, value in self._options.items():
            if name in self.cfg.settings:  # some came with later versions
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Open the webhook in the worker: a database must not be carried over a fork."""
        # gunicorn listens already. An exception of its handlers in the middle of an import would be told as a failure.
        self._handlers = {number: signal.signal(number, self._put_off) for number in _ENDING}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        webhook = self._serving.open()
        webhook.start()
        app = application(webhook, self._serving.path)
        app.extensions["webhook"] = webhook
        return app

    def _put_off(self, number: int, _: FrameType | None) -> None:
        self._came.append(number)

    def _hear(self, _: Any) -> None:
        """Give the signals of a worker that is ready back to gunicorn, with those that came meanwhile."""
        self._handlers[signal.SIGINT] = self._handlers[signal.SIGTERM]  # a terminal sends Ctrl-C to workers as well
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in self._came:
            signal.raise_signal(number)


def _end_gracefully(arbiter: Any) -> None:
    """Let Ctrl-C wait for requests that were begun, as SIGTERM does; gunicorn would drop them."""
    arbiter.handle_int = arbiter.handle_term


def _close(_: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    webhook: Webhook | None = None if app is None else app.extensions["webhook"]
    if webhook is not None:
        webhook.close()


class _Logger(Logger):
    """Leaves it to the handlers of `rc serve` where messages go, and says what a silent sender did in one line."""

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info("a sender said nothing for %d seconds", SILENCE_SECONDS)
        else:
            super().exception(msg, *args, **kwargs)

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in list(log.handlers):
                log.removeHandler(handler)
            log.propagate = True
