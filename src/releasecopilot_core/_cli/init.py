"""`rc init`: write a settings file; what to ask comes from the plugins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from releasecopilot_core import Question, SettingsForm

_COMMON = """\
story_keys:
{projects}  # ignore_also: []     # adds to the built-in ignore list
# database: data/{section}/commits.db
# artifacts: artifacts/issues/wave3/{section}
# logs: temp_data/{section}
"""


class InitCommand(click.Command):
    """Has an option for each question that the plugins ask."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the fixed options and one for each question."""
        asked = [
            click.Option([f"--{question.name}"], help=question.prompt)
            for form in _forms().values()
            for question in form.questions
        ]
        return [*asked, *super().get_params(ctx)]


def _forms() -> Mapping[str, SettingsForm]:
    from releasecopilot_core import Ingestor, Settings

    with Ingestor(Settings()) as ingestor:
        return ingestor.settings_forms()


@click.command(cls=InitCommand)
@click.option("--section", help="Which plugin's section to write, when several offer one.")
@click.option("--projects", default=None, help="Project keys that count as stories, such as RC,MOB.  [default: any]")
@click.option("--config", default="config/settings.yaml", show_default=True, help="The file to write.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(section: str | None, projects: str | None, config: str, force: bool, **answers: Any) -> None:
    """Write a settings file, by asking or from flags. Secrets stay outside: it holds references to them."""
    from releasecopilot_core.errors import UsageError

    file = Path(config)
    if file.exists() and not force:
        raise UsageError(f"{file}: is there already; --force overwrites it")
    forms = _forms()
    name = section or (next(iter(forms)) if len(forms) == 1 else "")
    if name not in forms:
        raise UsageError(f"--section: choose one of: {', '.join(forms) or 'none (no plugin offers a form)'}")
    form = forms[name]
    given = {question.name: _answer(question, answers[question.name.replace("-", "_")]) for question in form.questions}
    text = f"{name}:\n{form.render(given)}" + _COMMON.format(section=name, projects=_projects(projects))
    _check(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written ({error.strerror or error})") from None
    click.echo(f"Wrote {file}. Next: set the variables that it names, then `rc ingest {name}-scan --dry-run`.")


def _answer(question: Question, given: str | None) -> str:
    if given is not None:
        return given
    if sys.stdin is not None and sys.stdin.isatty():
        answer: str = click.prompt(question.prompt, default=question.default, err=True)
        return answer
    if question.default is None:
        raise click.UsageError(f"--{question.name} is needed: {question.prompt}", click.get_current_context())
    return question.default


def _projects(projects: str | None) -> str:
    """Return the line of the allow-list; without one it is a comment, so that the rules are those of no settings."""
    names = ", ".join(part.strip() for part in (projects or "").split(",") if part.strip())
    meaning = "# allow-list of project keys, e.g. [RC, MOB]; absent: any key that looks like one"
    return f"  {'' if names else '# '}projects: [{names}]  {meaning}\n"


def _check(text: str) -> None:
    """Refuse answers that would not be read back: nobody should find out at the first scan."""
    import yaml

    from releasecopilot_core import Ingestor, Settings
    from releasecopilot_core.errors import UsageError

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"an answer cannot be written as YAML ({getattr(error, 'problem', error)}); quote it"
        ) from None
    with Ingestor(Settings(values, origin="the answers")) as ingestor:
        ingestor.check()
