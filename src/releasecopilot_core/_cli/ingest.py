"""`rc ingest NAME-scan` and `NAME-repair`: commands for each source that an installed plugin provides."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from . import COMPLETE, FAILED, PARTIAL
from .options import ManyValues, ManyValuesCommand, config_option, database_option, json_option
from .root import closest

if TYPE_CHECKING:
    from releasecopilot_core import Ingestor, Plan, Run

_SCAN, _REPAIR = "-scan", "-repair"
_WHERE = (database_option, click.option("--artifact-dir", metavar="PATH", help="Folder of the run's artifact."))
_HOW = (json_option, click.option("--quiet", is_flag=True, help="Print nothing but problems."))
_EXIT = {"complete": COMPLETE, "partial": PARTIAL, "failed": FAILED}


class SourcesGroup(click.Group):
    """Has a command for each source; plugins are loaded when one is looked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return `NAME-scan` for each source, and `NAME-repair` for those with webhooks."""
        found = _Found.now()
        return sorted([name + _SCAN for name in found.sources] + [name + _REPAIR for name in found.repairable])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Build the command of a source."""
        found = _Found.now()
        name, scan = cmd_name.removesuffix(_SCAN), cmd_name.endswith(_SCAN)
        if scan and name in found.sources:
            return scan_command(name, found.sources[name])
        name = cmd_name.removesuffix(_REPAIR)
        return repair_command(name) if cmd_name.endswith(_REPAIR) and name in found.repairable else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the source's command; a wrong name gets the closest one, and plugins that failed are told of."""
        name = str(args[0])
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            found = _Found.now()
            problems = "".join(f"; {problem}" for problem in found.problems)
            disabled = f" (disabled plugins: {', '.join(found.disabled)})" if found.disabled else ""
            ctx.fail(f"no command {name!r}{closest(name, self.list_commands(ctx))}{disabled}{problems}")
        return super().resolve_command(ctx, args)


class _Found(NamedTuple):
    """What plugins that are not disabled provide, and what is wrong with plugins."""

    sources: dict[str, Callable[..., Any]]
    repairable: list[str]
    problems: list[str]
    disabled: list[str]

    @classmethod
    def now(cls) -> _Found:
        from releasecopilot_core import Ingestor, Settings
        from releasecopilot_core.errors import SettingsError

        try:
            settings = Settings.load()
        except SettingsError:
            settings = Settings()  # the command itself will complain of the file that it is given
        with Ingestor(settings) as ingestor:
            sources = ingestor.sources()
            repairable = [name for name in ingestor.webhooks() if name in sources]
            disabled = [info.name for info in ingestor.plugins() if info.status == "disabled"]
            return cls(sources, repairable, [problem.message for problem in ingestor.problems()], disabled)


@click.group(cls=SourcesGroup)
def ingest() -> None:
    """Scan a source for commits, into the database and an artifact."""


def scan_command(source: str, opener: Callable[..., Any]) -> click.Command:
    """Return the command that scans one source.

    The opener's docstring is its help. Its attributes `argument` and `needs_settings` are explained at `rc_sources`.
    """
    text = inspect.getdoc(opener) or f"Scan {source}."
    needs_settings = bool(getattr(opener, "needs_settings", True))

    def scan(names: tuple[str, ...] = (), **options: Any) -> None:
        options["repos"] = (*names, *options["repos"])
        _scan(source, needs_settings=needs_settings, **options)

    # The list of commands would cut the help at the terminal's width; its first paragraph is short and whole.
    first = " ".join(text.partition("\n\n")[0].split())
    command = click.command(source + _SCAN, cls=ManyValuesCommand, help=text, short_help=first)(scan)
    options = [
        click.option("--hours", type=float, default=4.0, show_default=True, help="Length of the window that ends now."),
        config_option,
        click.option("--repos", cls=ManyValues, metavar="NAME…", help="Repositories, by name or glob."),
        click.option("--branches", cls=ManyValues, metavar="NAME…", help="Branches, by name or glob."),
        *_WHERE,
        click.option("--full", is_flag=True, help="All history, and all file lists that were left out before."),
        click.option("--files", type=click.Choice(["auto", "api", "git", "none"]), help="How to get changed files."),
        click.option("--dry-run", is_flag=True, help="Print what would be done and the least it would cost."),
        *_HOW,
        click.option("--strict", is_flag=True, help="Refuse to start when a plugin failed to load."),
    ]
    if argument := getattr(opener, "argument", None):
        options.append(click.argument("names", nargs=-1, metavar=f"[{argument}]..."))
    for option in options:
        command = option(command)
    return command


def repair_command(source: str) -> click.Command:
    """Return the command that fetches what webhooks of a source left to fetch."""

    def repair(
        config: str | None, database: str | None, artifact_dir: str | None, *, as_json: bool, quiet: bool
    ) -> None:
        """Fetch what webhooks announced and did not carry: further commits, changed files, commits of pull requests.

        Nothing else is looked at. With nothing to repair it costs no request.
        """
        from .opening import opened

        with opened(config, database=database, artifacts=artifact_dir) as ingestor:
            run = _perform(ingestor, source, ingestor.repair, kind="repair", quiet=quiet, as_json=as_json)
        click.get_current_context().exit(_EXIT[run.status])

    short = "Fetch what webhooks announced and did not carry."
    command = click.command(source + _REPAIR, short_help=short)(repair)
    for option in (config_option, *_WHERE, *_HOW):
        command = option(command)
    return command


def _scan(
    source: str,
    *,
    needs_settings: bool,
    config: str | None,
    database: str | None,
    artifact_dir: str | None,
    **options: Any,
) -> None:
    from .opening import opened

    request = {
        "hours": options["hours"],
        "repositories": options["repos"] or None,
        "branches": options["branches"] or None,
        "full": options["full"],
        "files": options["files"],
    }
    with opened(config, database=database, artifacts=artifact_dir, needs_settings=needs_settings) as ingestor:
        if options["dry_run"]:
            _print_plan(ingestor.plan(source, **request), as_json=options["as_json"])
            return
        quiet, as_json = options["quiet"], options["as_json"]
        scan = functools.partial(ingestor.scan, **request, strict=options["strict"])
        run = _perform(ingestor, source, scan, kind="scan", quiet=quiet, as_json=as_json)
    click.get_current_context().exit(_EXIT[run.status])


def _perform(
    ingestor: Ingestor, source: str, work: Callable[..., Run], *, kind: str, quiet: bool, as_json: bool
) -> Run:
    from releasecopilot_core import new_run_id

    from .logs import logging_to
    from .opening import tell_if_keys_are_stale
    from .progress import progress

    run_id = new_run_id()
    with logging_to(ingestor.settings.logs(source), run_id, kind=kind), progress(quiet=quiet) as on_progress:
        run = work(
            source,
            run_id=run_id,
            on_progress=on_progress,
            on_finish=lambda run: _print_run(ingestor, run, quiet=quiet, as_json=as_json),
        )
    tell_if_keys_are_stale(ingestor, source)
    return run


def _print_run(ingestor: Ingestor, run: Run, *, quiet: bool, as_json: bool) -> None:
    from releasecopilot_core.document import document

    from .pipes import reader_may_leave
    from .summary import print_problems, summary

    with reader_may_leave():
        print_problems(run)
    # The exit code tells how the run ended, read or not.
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(document(run), indent=2, ensure_ascii=False))
        elif not quiet:
            click.echo(summary(run, ingestor.store(run.source)))


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    import attrs

    from .words import plural, table

    if as_json:
        totals = {"requests": plan.requests, "git_operations": plan.git_operations}
        click.echo(json.dumps({**attrs.asdict(plan), **totals}, indent=2, ensure_ascii=False))
        return
    rows = [(entry.repository, entry.requests, entry.git_operations, entry.note) for entry in plan.entries]
    click.echo(table(rows, ("REPOSITORY", "REQUESTS", "GIT", "WHY")))
    operations = f" and {plural(plan.git_operations, 'git operation')}" if plan.git_operations else ""
    click.echo(
        f"At least {plural(plan.requests, 'request')}{operations}; pages and files of commits still unknown come on top."
    )
    if plan.minutes is not None:
        click.echo(f"That takes about {plural(max(1, round(plan.minutes)), 'minute')}.")
    if plan.quota_left is not None:
        click.echo(f"In this hour {plural(plan.quota_left, 'request')} may still be sent.")
