"""What `rc init` asks for a section of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs


@attrs.frozen(kw_only=True)
class Question:
    """One thing to ask: `name` becomes the flag `--name`; without a `default` an answer is required."""

    name: str
    prompt: str
    default: str | None = None


@attrs.frozen(kw_only=True)
class SettingsForm:
    """The questions of one section, and `render`, which turns the answers (by name) into its YAML text."""

    questions: tuple[Question, ...]
    render: Callable[[Mapping[str, str]], str]
