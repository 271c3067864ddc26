"""`rc sandbox`: serve local repositories as a Bitbucket workspace, or make some to serve."""

from __future__ import annotations

import shlex
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .server import Sandbox


class BadInput(click.ClickException):
    """Something that was typed is wrong: one line, without the usage around it."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr; `rc` has its own way to."""
        click.echo(f"bitbucket-sandbox: {self.format_message()}", file=file, err=file is None)


@click.group()
def sandbox() -> None:
    """Bitbucket Cloud on this machine, over local git repositories."""


@sandbox.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--workspace", default="acme", show_default=True, help="The workspace's slug.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), show_default=True, help="Port; 0: any that is free.")
@click.option("--user", "users", multiple=True, metavar="EMAIL:TOKEN", help="Accept this API token (Basic).")
@click.option("--token", "tokens", multiple=True, metavar="TOKEN", help="Accept this access token (Bearer).")
@click.option("--app-password", "app_passwords", multiple=True, metavar="NAME:PASSWORD", help="Know it, and refuse it.")
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep pull requests and webhooks there."
)
@click.option("--fault", "faults", multiple=True, metavar="NAME=VALUE", help="Switch a fault on.")
@click.option("--verbose", is_flag=True, help="Print each request on stderr.")
def serve(
    paths: tuple[Path, ...],
    workspace: str,
    host: str,
    port: int,
    users: tuple[str, ...],
    tokens: tuple[str, ...],
    app_passwords: tuple[str, ...],
    state: Path | None,
    faults: tuple[str, ...],
    verbose: bool,
) -> None:
    """Serve git repositories, and folders of them, until Ctrl-C or SIGTERM.

    The first line of stdout is the API's address. Without --user and --token anybody may ask.
    """
    from .server import NotARepository, NotAState, Sandbox, UnknownFault

    for path in paths:
        _check(path)
    try:
        served = Sandbox(
            *paths,
            workspace=workspace,
            users=dict(_pair(text, ":", "--user", "EMAIL:TOKEN") for text in users),
            tokens=tokens,
            app_passwords=dict(_pair(text, ":", "--app-password", "NAME:PASSWORD") for text in app_passwords),
            state=state,
            host=host,
            port=port,
            faults=dict(_pair(text, "=", "--fault", "NAME=VALUE") for text in faults),
        )
    except (UnknownFault, NotARepository, NotAState) as error:
        raise BadInput(str(error)) from None
    if verbose:
        served.on_request(_print_request)
    _serve(served, f"{host}:{port}", workspace)


def _check(path: Path) -> None:
    from .repositories import Shelf

    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; name a git repository, or a folder that holds some")
    if not Shelf([path]).all():
        raise BadInput(f"{path}: is no git repository and holds none; make some by `{_own_name()} demo PATH`")


def _own_name() -> str:
    """Return what the command is called: on its own, or below `rc`."""
    return "rc sandbox" if click.get_current_context().find_root().info_name == "rc" else "bitbucket-sandbox"


def _pair(text: str, sign: str, flag: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not (name and found and value) or (form.startswith("EMAIL") and "@" not in name):
        # The text itself may be a secret.
        raise BadInput(f"{flag}: expected {form}")
    return name, value


def _serve(served: Sandbox, address: str, workspace: str) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        try:
            served.start()
        except OSError as error:
            raise BadInput(f"{address}: cannot listen there ({error.strerror or error})") from None
        click.echo(served.url)
        count = len(served.repositories)
        click.echo(f"Serving {count} repositories of workspace {workspace!r}; Ctrl-C ends.", err=True)
        click.echo(f"Clone from {served.git_url}/{workspace}/SLUG.git", err=True)
        while not ended.wait(0.5):
            pass
    finally:
        served.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _print_request(done: Any) -> None:
    query = f"?{done.query}" if done.query else ""
    click.echo(f"{done.status or 'reset'} {done.method} {done.path}{query}", err=True)


@sandbox.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--now", metavar="TIME", help="ISO 8601 time from which dates are counted back.  [default: this hour]")
def demo(path: Path, now: str | None) -> None:
    """Make a small workspace: branches, merges, renames, back-dated and late work, story keys and what looks like one.

    The same --now gives the same commits. A folder that holds something else is left alone.
    """
    from .demo import NotOurs, TooEarly, make

    try:
        moment = None if now is None else datetime.fromisoformat(now)
    except ValueError:
        raise BadInput(f"--now: {now!r} is not a time such as 2026-11-23T10:00:00-07:00") from None
    try:
        made = make(path, moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC))
    except (NotOurs, TooEarly) as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from None
    for repository in made:
        click.echo(f"{repository.name}: {repository.commits} commits on {', '.join(repository.branches)}")
    click.echo("\nNext, in one terminal:")
    click.echo(f"  {_own_name()} serve {shlex.quote(str(path))} --port 8090")
    click.echo("and in another:")
    if _own_name() == "rc sandbox":
        click.echo("  rc init --workspace acme --username bot@acme.example --api-url http://127.0.0.1:8090/2.0")
        click.echo("  BITBUCKET_API_TOKEN=any rc ingest bitbucket-scan --hours 4")
    else:
        click.echo("  curl http://127.0.0.1:8090/2.0/repositories/acme/api/commits")
