"""The `rc` group: its commands are imported when they are used, so that `rc --help` costs next to nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import click

#: Other distributions add whole commands by entry points of this group (name -> click command).
COMMAND_GROUP = "releasecopilot.commands"

# Help texts stand here so that the list of commands needs none of their modules.
_BUILT_IN = {
    "commits": ("questions", "Show stored commits: those of a story, of a repository, or of no story at all."),
    "deliveries": ("deliveries", "Show webhook deliveries, replay them, and drop old raw bodies."),
    "doctor": ("doctor", "Check settings, credentials, service and database."),
    "ingest": ("ingest", "Scan a source for commits, into the database and an artifact."),
    "init": ("init", "Write a settings file, by asking or from flags."),
    "plugins": ("plugins", "List plugins: version, hooks, and what is wrong with those that failed."),
    "rekey": ("rekey", "Derive all story keys anew from what is stored, after the rules changed."),
    "runs": ("runs", "Show past runs and how they ended."),
    "serve": ("serve", "Receive webhooks over HTTP, and repair in the background what they lack."),
    "stories": ("questions", "Show which stories the stored commits belong to."),
}


class LazyGroup(click.Group):
    """Knows its commands by name; a built-in one wins over a plugin's of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*_BUILT_IN, *_from_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name in _BUILT_IN:
            module = importlib.import_module(f"{__package__}.{_BUILT_IN[cmd_name][0]}")
            command: click.Command = getattr(module, cmd_name)
            return command
        entry = _from_plugins().get(cmd_name)
        return None if entry is None else _loaded(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; a wrong one gets the closest name instead of none."""
        name = str(args[0])
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"no command {name!r}{closest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with one line each, importing none of them."""
        rows = {name: text for name, (_, text) in _BUILT_IN.items()}
        for name, entry in _from_plugins().items():
            dist = entry.dist.name if entry.dist else entry.value
            rows.setdefault(name, f"From {dist}.")
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows.items()))


def _from_plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=COMMAND_GROUP)}


def _loaded(entry: importlib.metadata.EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything, SystemExit included
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise click.ClickException(f"command {entry.name!r} ({entry.value}) failed to load ({text})") from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"command {entry.name!r}: {entry.value} is not a click command")
    return command


def closest(name: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?`, or the list of what there is."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known) or 'none'}"


def _print_version(ctx: click.Context, _: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from releasecopilot_core import __version__

        click.echo(f"rc {__version__}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
def rc() -> None:
    """Keep the commit record that says which stories are in a release.

    `rc init` writes the settings; `rc ingest --help` lists the commands that bring the record up to date.
    """
