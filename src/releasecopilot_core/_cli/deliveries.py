"""`rc deliveries`: what came in by webhook, once more if need be, and without its old raw bodies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import COMPLETE, PARTIAL
from .options import config_option, database_option, json_option, limit_option

if TYPE_CHECKING:
    from releasecopilot_core import DeliveryRecord, Ingestor, Store

_source = click.option("--source", help="Whose database.  [default: the one that is configured]")

_COLUMNS = {
    "id": "DELIVERY",
    "last_received_at": "LAST RECEIVED",
    "event": "EVENT",
    "status": "STATUS",
    "times": "TIMES",
    "reason": "REASON",
}


@click.group()
def deliveries() -> None:
    """Show webhook deliveries, replay them, and drop old raw bodies."""


@deliveries.command("list")
@limit_option
@click.option("--status", type=click.Choice(["stored", "ignored", "failed"]), help="Only those.")
@_source
@config_option
@database_option
@json_option
def list_deliveries(limit: int, status: Any, as_json: bool, **where: str | None) -> None:
    """List the latest deliveries, newest first."""
    from .words import print_rows

    with _opened(**where) as (_, store):
        rows = (_row(record) for record in store.deliveries(status=status, limit=limit))
        print_rows(rows, _COLUMNS, as_json=as_json, as_csv=False, nothing="No deliveries.")


@deliveries.command("show")
@click.argument("delivery", metavar="ID")
@click.option("--raw", is_flag=True, help="Print the body and nothing else, byte for byte.")
@_source
@config_option
@database_option
@json_option
def show_delivery(delivery: str, raw: bool, as_json: bool, **where: str | None) -> None:
    """Show one delivery: when it came, what became of it, its headers, and its body while that is kept."""
    from releasecopilot_core.errors import UsageError

    with _opened(**where) as (_, store):
        record = _found(store, delivery)
    if raw:
        if record.body is None:
            raise UsageError(_pruned(delivery))
        click.echo(record.body, nl=False)
    elif as_json:
        click.echo(json.dumps({**_plain(record), "body": _body(record)}, indent=2, ensure_ascii=False))
    else:
        _print(record)


@deliveries.command("replay", short_help="Decode deliveries once more, after an upgrade.")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--failed", is_flag=True, help="All that could not be decoded when they came.")
@_source
@config_option
@database_option
def replay_deliveries(ids: Sequence[str], failed: bool, **where: str | None) -> None:
    """Decode deliveries once more, after an upgrade, and store what they tell. Harmless for what is stored already.

    Exits 3 when one of them could not be replayed.
    """
    context = click.get_current_context()
    if bool(ids) == failed:
        raise click.UsageError("name deliveries, or say --failed", context)
    with _opened(**where) as (ingestor, store):
        wanted = list(ids) or [record.id for record in store.deliveries(status="failed")]
        if not wanted:
            click.echo("No failed deliveries.")
        replayed = [_replay(ingestor, store, delivery) for delivery in dict.fromkeys(wanted)]
    context.exit(COMPLETE if all(replayed) else PARTIAL)


@deliveries.command("prune")
@click.option("--days", type=float, help="Older than this.  [default: webhooks.keep_days of the settings]")
@_source
@config_option
@database_option
def prune_deliveries(days: float | None, **where: str | None) -> None:
    """Drop old raw bodies. What they told, and that they came, stays."""
    from releasecopilot_core._settings import webhook_settings
    from releasecopilot_core._webhooks import prune
    from releasecopilot_core.errors import UsageError

    from .words import plural

    if days is not None and not 0 <= days <= 100_000:  # `nan` too
        raise UsageError(f"--days: {days!r} is not a number from 0 to 100,000")
    with _opened(**where) as (ingestor, store):
        days = webhook_settings(ingestor.settings).keep_days if days is None else days
        count = prune(store, days)
    click.echo(f"Dropped {plural(count, 'raw body')} older than {days:g} days.")


@contextlib.contextmanager
def _opened(*, source: str | None, config: str | None, database: str | None) -> Iterator[tuple[Ingestor, Store]]:
    """Open the database, which must be there, and an ingestor that uses it for whatever service a delivery came from."""
    from releasecopilot_core import Ingestor

    from .opening import asking

    with asking(source, config, database) as (ingestor, _, store), Ingestor(ingestor.settings, storage=store) as same:
        yield same, store


def _found(store: Store, delivery: str) -> DeliveryRecord:
    from releasecopilot_core.errors import UnknownNameError

    record = store.delivery(delivery)
    if record is None:
        raise UnknownNameError(_unknown(delivery))
    return record


def _unknown(delivery: str) -> str:
    return f"no delivery {delivery!r} in this database; see `rc deliveries list`"


def _pruned(delivery: str) -> str:
    return f"the raw body of delivery {delivery} was dropped; the next scan finds what it told"


def _replay(ingestor: Ingestor, store: Store, delivery: str) -> bool:
    """Replay one and print a line; false when that was not possible."""
    from releasecopilot_core.errors import ReleaseCopilotError

    record = store.delivery(delivery)
    if record is None or record.body is None:
        click.echo(f"rc: {_unknown(delivery) if record is None else _pruned(delivery)}", err=True)
        return False
    try:
        status = ingestor.replay(record.service, delivery)
    except ReleaseCopilotError as error:
        click.echo(f"rc: delivery {delivery}: {error}", err=True)
        return False
    again = store.delivery(delivery)
    reason = f" ({again.reason})" if again is not None and again.reason else ""
    click.echo(f"{delivery}: {status}{reason}")
    return status != "failed"


def _row(record: DeliveryRecord) -> dict[str, Any]:
    import attrs

    hidden = {"headers", "body"}
    return {name: value for name, value in attrs.asdict(record).items() if name not in hidden}


def _plain(record: DeliveryRecord) -> dict[str, Any]:
    from .words import plain

    return {**{name: plain(value) for name, value in _row(record).items()}, "headers": dict(record.headers)}


def _body(record: DeliveryRecord) -> Any:
    return None if record.body is None else json.loads(record.body.decode("utf-8-sig"))


def _print(record: DeliveryRecord) -> None:
    lines = {name: value for name, value in _plain(record).items() if name != "headers" and value is not None}
    headers = {f"  {name}": value for name, value in record.headers.items()}
    for name, value in {**lines, "headers": "", **headers}.items():
        click.echo(f"{name}: {value}".rstrip())
    if record.body is None:
        click.echo("body: dropped, it was old")
    else:
        # Escapes stay escapes: what somebody sent must not drive a terminal.
        click.echo(f"body:\n{json.dumps(_body(record), indent=2)}")
