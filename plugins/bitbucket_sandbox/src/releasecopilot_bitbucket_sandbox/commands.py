"""`rc sandbox`: serve local repositories as a Bitbucket workspace, or make some to serve."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click


@click.group()
def sandbox() -> None:
    """Bitbucket Cloud on this machine, over local git repositories."""


@sandbox.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option("--workspace", default="acme", show_default=True, help="The workspace's slug.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), show_default=True, help="Port; 0: any that is free.")
@click.option("--user", "users", multiple=True, metavar="EMAIL:TOKEN", help="Accept this API token (Basic).")
@click.option("--token", "tokens", multiple=True, metavar="TOKEN", help="Accept this access token (Bearer).")
@click.option("--fault", "faults", multiple=True, metavar="NAME=VALUE", help="Switch a fault on.")
@click.option("--verbose", is_flag=True, help="Print each request on stderr.")
def serve(
    paths: tuple[Path, ...],
    workspace: str,
    host: str,
    port: int,
    users: tuple[str, ...],
    tokens: tuple[str, ...],
    faults: tuple[str, ...],
    verbose: bool,
) -> None:
    """Serve git repositories, and folders of them, until Ctrl-C or SIGTERM.

    The first line of stdout is the API's address. Without --user and --token anybody may ask.
    """
    from .faults import UnknownFault
    from .server import NotARepository, Sandbox

    try:
        served = Sandbox(
            *paths,
            workspace=workspace,
            users=dict(_pair(text, ":", "--user", "EMAIL:TOKEN") for text in users),
            tokens=tokens,
            host=host,
            port=port,
            faults=dict(_pair(text, "=", "--fault", "NAME=VALUE") for text in faults),
        )
        if not served.repositories:
            raise NotARepository(f"{', '.join(map(str, paths))}: no git repository there")
        served.start()
    except (UnknownFault, NotARepository) as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{host}:{port}: cannot listen there ({error.strerror or error})") from None
    if verbose:
        served.on_request(lambda done: click.echo(f"{done.status} {done.method} {done.path}?{done.query}", err=True))
    click.echo(served.url)
    click.echo(f"Serving {len(served.repositories)} repositories of workspace {workspace!r}; Ctrl-C ends.", err=True)
    _wait()
    served.stop()


def _pair(text: str, sign: str, flag: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not (name and found and value):
        # The text itself may be a secret.
        raise click.UsageError(f"{flag}: expected {form}")
    return name, value


def _wait() -> None:
    """Return on SIGTERM or Ctrl-C."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while not ended.wait(0.5):
        pass


@sandbox.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--now", metavar="TIME", help="ISO 8601 time from which dates are counted back.  [default: now]")
def demo(path: Path, now: str | None) -> None:
    """Make a small workspace: branches, merges, renames, back-dated and late work, story keys and what looks like one.

    The same --now gives the same commits.
    """
    from .demo import NotOurs, make

    try:
        moment = None if now is None else datetime.fromisoformat(now)
    except ValueError:
        raise click.UsageError(f"--now: {now!r} is not a time such as 2026-11-23T10:00:00-07:00") from None
    try:
        made = make(path, moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC))
    except NotOurs as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    for name, count in made.items():
        click.echo(f"{name}: {count} commits")
    click.echo(f"Next: rc sandbox serve {path}")
