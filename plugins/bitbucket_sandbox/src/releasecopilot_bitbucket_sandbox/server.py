"""Serve a workspace over HTTP, from Python or from the command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .app import Application
from .auth import Accounts
from .control import Control
from .deliveries import Delivery, Sender
from .faults import Faults, UnknownFault
from .repositories import NotARepository, Repository, Shelf
from .routes import PREFIX
from .served import Record, Served
from .shapes import Shapes
from .state import NotAState, State
from .watching import Watch
from .wire import Server

__all__ = ["Delivery", "NotARepository", "NotAState", "Sandbox", "Served", "UnknownFault"]


class Sandbox:
    """A Bitbucket Cloud workspace over local git repositories; use it as a context manager.

    `paths` are repositories, or folders of repositories that are looked through at each request: what is added,
    renamed or deleted there shows at once. `users` maps e-mail to API token (Basic), `tokens` are accepted as Bearer;
    with neither, anybody may ask. `app_passwords`, by user name, are known and refused. `port` 0 is any that is free.
    Pull requests and webhooks are kept in memory, and in the folder `state` if there is one. An attempt to deliver may
    take `webhook_timeout` seconds, and after a 5xx `webhook_pause` seconds pass before the next one. Pushes straight into
    a folder are noticed within `webhook_poll` seconds. All methods may be called from any thread, also while it serves.

    Raises:
        NotARepository: a path is no folder.
        NotAState: the folder for state cannot be used.
        UnknownFault: a fault does not exist, or cannot have that value.
    """

    def __init__(
        self,
        *paths: str | Path,
        workspace: str = "acme",
        users: Mapping[str, str] | None = None,
        tokens: Sequence[str] = (),
        app_passwords: Mapping[str, str] | None = None,
        state: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Mapping[str, str] | None = None,
        webhook_timeout: float = 10.0,
        webhook_pause: float = 1.0,
        webhook_poll: float = 0.3,
    ) -> None:
        self._shelf = Shelf(Path(path) for path in paths)
        self._faults = Faults()
        for name, value in (faults or {}).items():
            self._faults.set(name, value)
        self._record = Record()
        self._sender = Sender(self._faults, timeout=webhook_timeout, pause=webhook_pause)
        accounts = Accounts(dict(users or {}), tuple(tokens), dict(app_passwords or {}))
        kept = State(None if state is None else Path(state))
        self._watch = Watch(
            self._shelf,
            kept,
            self._faults,
            self._sender,
            lambda: Shapes(self.url, workspace, accounts.users),
            interval=webhook_poll,
        )
        control = Control(self._record, self._faults, self._sender, self._watch)
        self._app = Application(
            workspace, self._shelf, accounts, kept, self._faults, self._watch, control, self._record
        )
        self._host, self._port = host, port
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in threads of its own; a second time does nothing.

        Raises:
            OSError: the address cannot be had.
        """
        if self._server is None:
            self._app.stopping.clear()
            self._server = Server(self._host, self._port, self._app)
            self._thread = threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="sandbox", daemon=True
            )
            self._thread.start()
            self._watch.start()
            self._sender.start()

    def stop(self) -> None:
        """Stop serving, and wait for its threads; a second time does nothing."""
        if self._server is not None:
            self._app.stopping.set()
            self._server.end()
            if self._thread is not None:
                self._thread.join()
            self._watch.stop()
            self._sender.stop()
            self._server = self._thread = None

    @property
    def url(self) -> str:
        """Return the base address of the API, without a slash at its end.

        Raises:
            RuntimeError: it is not started.
        """
        return self.git_url + PREFIX

    @property
    def git_url(self) -> str:
        """Return the base address for git: `{git_url}/{workspace}/{slug}.git` can be cloned.

        Raises:
            RuntimeError: it is not started.
        """
        if self._server is None:
            raise RuntimeError("the sandbox is not started; use it in a with statement, or call start()")
        host = f"[{self._server.server_name}]" if ":" in self._server.server_name else self._server.server_name
        return f"http://{host}:{self._server.server_port}"

    # --- what is served --------------------------------------------------------------------------------------

    @property
    def repositories(self) -> list[Repository]:
        """Return the repositories that are served now."""
        return self._shelf.all()

    def add(self, path: str | Path) -> None:
        """Serve one more repository, or folder of them.

        Raises:
            NotARepository: there is no such folder.
        """
        self._shelf.add(Path(path))

    def remove(self, slug: str) -> None:
        """Serve a repository no longer, until it is added again; its folder is left alone.

        Raises:
            NotARepository: none is served under that name.
        """
        self._shelf.remove(slug)

    # --- what was asked --------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[Served]:
        """Return what was asked so far, oldest first."""
        return self._record.all()

    def clear_requests(self) -> None:
        """Forget what was asked."""
        self._record.clear()

    def on_request(self, callback: Callable[[Served], object] | None) -> None:
        """Call a function after each answer has been sent, in the thread that sent it; `None` ends that."""
        self._record.callback = callback

    @property
    def connections(self) -> int:
        """Return how many connections are open: those of a client that was killed, until all that it sent was answered."""
        return 0 if self._server is None else self._server.connections

    # --- what was sent ---------------------------------------------------------------------------------------

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the webhooks that were sent, or not, oldest first, with what came of each."""
        return self._sender.all()

    def clear_deliveries(self) -> None:
        """Forget the webhooks that are not on their way any more."""
        self._sender.clear()

    def flush(self, timeout: float = 30.0) -> None:
        """Notice all pushes now, let go of deliveries that are held back, and wait until nothing is on its way.

        `timeout` is in seconds.

        Raises:
            TimeoutError: something still is.
        """
        self._watch.look()
        if not self._sender.flush(timeout):
            raise TimeoutError(f"webhooks are still on their way after {timeout:g} seconds")

    # --- what goes wrong -------------------------------------------------------------------------------------

    @property
    def faults(self) -> dict[str, str]:
        """Return the faults that are on."""
        return self._faults.all()

    def set_fault(self, name: str, value: str | int | float = "1") -> None:
        """Switch a fault on: `name`, `name@kind`, `name@kind:slug` or `name@*:slug` (see the README).

        Raises:
            UnknownFault: there is no such fault, or it cannot have that value.
        """
        self._faults.set(name, str(value))

    def clear_fault(self, name: str) -> None:
        """Switch one fault off.

        Raises:
            UnknownFault: there is no such fault.
        """
        self._faults.clear(name)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._faults.clear()
