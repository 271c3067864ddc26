"""Options that commands share, and the one kind that click lacks: several values after one flag."""

from __future__ import annotations

from typing import Any

import click

config_option = click.option(
    "--config", metavar="PATH", type=click.Path(), help="Settings file.  [default: config/settings.yaml]"
)
database_option = click.option("--database", metavar="PATH-OR-URL", help="Where the commits are kept.")
#: More rows than anybody reads, and fewer than a database can count.
limit_option = click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many, newest first."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class ManyValues(click.Option):
    """An option that takes all values up to the next flag: `--repos api web`. It may also be repeated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("multiple", True)
        super().__init__(*args, **kwargs)


class ManyValuesCommand(click.Command):
    """A command whose `ManyValues` options are rewritten to repeated ones before click reads them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn `--repos a b --full` into `--repos a --repos b --full`."""
        flags = {flag for param in self.params if isinstance(param, ManyValues) for flag in param.opts}
        rewritten: list[str] = []
        rest = list(args)
        while rest:
            argument = rest.pop(0)
            flag, equals, value = argument.partition("=")
            if argument == "--":
                rewritten += [argument, *rest]
                break
            if flag not in flags:
                rewritten.append(argument)
                continue
            values = [value] if equals else []
            while rest and not rest[0].startswith("-"):
                values.append(rest.pop(0))
            if not any(values):
                ctx.fail(f"{flag} needs at least one name")
            if not all(map(_is_text, values)):
                ctx.fail(f"{flag}: not text in this terminal's encoding")
            rewritten += [f"{flag}={value}" for value in values]
        return super().parse_args(ctx, rewritten)


def _is_text(value: str) -> bool:
    """Whether it came in the encoding that the locale promises; other bytes arrive as halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
