"""`rc serve NAME-webhook`: one command for each service whose webhooks an installed plugin decodes."""

from __future__ import annotations

import contextlib
import socket
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import config_option, database_option
from .root import closest

if TYPE_CHECKING:
    from releasecopilot_core._serving import Serving

_SUFFIX = "-webhook"

#: Of several frameworks that are installed this one serves, when it is among them.
_PREFERRED = "fastapi"


class WebhooksGroup(click.Group):
    """Has a command for each service; plugins are loaded when one is looked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return `NAME-webhook` for each service."""
        return sorted(name + _SUFFIX for name in _services()[0])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Build the command of a service."""
        service = cmd_name.removesuffix(_SUFFIX)
        if not cmd_name.endswith(_SUFFIX) or service not in _services()[0]:
            return None
        return webhook_command(service)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the service's command; a wrong name gets the closest one, and plugins that failed are told of."""
        name = str(args[0])
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            problems = "".join(f"; {problem}" for problem in _services()[1])
            ctx.fail(f"no command {name!r}{closest(name, self.list_commands(ctx))}{problems}")
        return super().resolve_command(ctx, args)


def _services() -> tuple[list[str], list[str]]:
    """Return the services whose webhooks plugins decode, and what is wrong with plugins."""
    from releasecopilot_core import Ingestor, Settings
    from releasecopilot_core.errors import SettingsError

    try:
        settings = Settings.load()
    except SettingsError:
        settings = Settings()  # the command itself will complain of the file that it is given
    with Ingestor(settings) as ingestor:
        return ingestor.webhooks(), [problem.message for problem in ingestor.problems()]


@click.group(cls=WebhooksGroup)
def serve() -> None:
    """Receive webhooks over HTTP, and repair in the background what they lack."""


def webhook_command(service: str) -> click.Command:
    """Return the command that serves one service's webhook."""

    def serve_webhook(**options: Any) -> None:
        _serve(service, **options)

    first = f"Receive the webhooks of {service}."
    text = f"""{first}

    A delivery is answered when it is stored. What it lacks is fetched in the background when the settings have
    credentials. Ctrl-C or SIGTERM ends it after the requests that it has begun; the exit code is 0 then.

    GET /healthz tells whether deliveries can be stored. TLS is left to the proxy in front of it.
    """
    command = click.command(service + _SUFFIX, help=text, short_help=first)(serve_webhook)
    options = [
        click.option("--with", "framework", metavar="NAME", help="fastapi or flask.  [default: fastapi, if installed]"),
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option(
            "--port", default=8080, type=click.IntRange(0, 65535), show_default=True, help="Port; 0: any that is free."
        ),
        click.option("--path", metavar="PATH", help=f"Where deliveries come in.  [default: /webhooks/{service}]"),
        click.option(
            "--workers", default=1, type=click.IntRange(1, 64), show_default=True, help="Processes that share the work."
        ),
        config_option,
        database_option,
        click.option("--access-log", is_flag=True, help="Log a line a request."),
        click.option("--insecure", is_flag=True, help="Serve without a secret: anybody may deliver."),
    ]
    for option in options:
        command = option(command)
    return command


def _serve(service: str, *, framework: str | None, path: str | None, **options: Any) -> None:
    import attrs

    from releasecopilot_core import Ingestor
    from releasecopilot_core._serving import Serving, web_servers

    serving = Serving(service=service, path=_checked(path or f"/webhooks/{service}"), **options)
    with _warnings_kept() as told:
        name, server = _chosen(web_servers(serving.settings()), framework)
        decoder = serving.check()
        with Ingestor(serving.settings(), database=serving.database) as ingestor:
            ingestor.receiver(service)  # what is wrong with the store is told now, and not by each worker
    listener = serving.listen()
    with contextlib.closing(listener):
        file = _log_file(serving)
        serving = attrs.evolve(serving, logging=_logging(file))
        serving.export()
        # A signal is how a server ends, so it counts as success: from the first line on, which says that it serves.
        with contextlib.suppress(KeyboardInterrupt):
            _announce(serving, listener, name, repairs=decoder.can_repair, proofs=bool(decoder.secrets))
            for line in told:
                _tell(line)
            server.serve(serving, listener)


def _checked(path: str) -> str:
    if not path.startswith("/") or not path.isprintable() or any(sign in path for sign in "{}<>?# "):
        raise click.BadParameter(f"{path!r} is not a path such as /webhooks/name", param_hint="--path")
    return path


def _chosen(servers: Mapping[str, Any], framework: str | None) -> tuple[str, Any]:
    from releasecopilot_core.errors import UnknownNameError

    if framework is None:
        framework = _PREFERRED if _PREFERRED in servers else next(iter(servers))
    if framework not in servers:
        raise UnknownNameError(f"no web framework named {framework!r}; installed: {', '.join(servers)}")
    return framework, servers[framework]


@contextlib.contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    """Keep what plugins warn of: the first line is to say where deliveries are taken."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield told
    for warning in caught:
        text = f"warning: {' '.join(str(warning.message).split())}"
        if issubclass(warning.category, UserWarning) and text not in told:
            told.append(text)


def _announce(serving: Serving, listener: socket.socket, name: str, *, repairs: bool, proofs: bool) -> None:
    import logging

    host, port = listener.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}{serving.path}"
    many = f", {serving.workers} workers" if serving.workers > 1 else ""
    demanded = "each must prove that it knows the secret" if proofs else "ANYBODY MAY DELIVER (--insecure)"
    repaired = "what they lack is repaired in the background" if repairs else "what they lack is left to the next scan"
    line = f"Taking {serving.service} deliveries at {place} ({name}{many}); {demanded}; {repaired}. Ctrl-C ends."
    _tell(line)
    logging.getLogger("releasecopilot_core").info(line)


def _tell(line: str) -> None:
    from .pipes import reader_may_leave

    with reader_may_leave():
        click.echo(f"rc: {line}", err=True)


# --- logs ----------------------------------------------------------------------------------------------------


def _log_file(serving: Serving) -> str:
    """Return the path of a fresh log file in the folder of the settings, which is made if needed."""
    from releasecopilot_core import new_run_id
    from releasecopilot_core.errors import UsageError

    folder = Path(serving.settings().logs(serving.service))
    path = folder / f"serve_{new_run_id()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{folder}: cannot write logs here ({reason}); set `logs` to another folder") from None
    return str(path.absolute())


def _logging(file: str) -> dict[str, Any]:
    """Return (and put in force) a `logging.config` dictionary: all into the file, and what is wrong to stderr, too."""
    import logging.config

    formatter = f"{__package__}.logs._PhoenixFormatter"
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"phoenix": {"()": formatter, "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": file, "encoding": "utf-8", "formatter": "phoenix"},
            "stderr": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "phoenix"},
        },
        "root": {"level": "INFO", "handlers": ["file", "stderr"]},
    }
    logging.config.dictConfig(config)
    return config
