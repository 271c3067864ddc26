"""The hooks: what a plugin can add. Imports nothing heavy, ever.

A plugin implements any of these with `@hookimpl` and is found by an entry point of the group `releasecopilot`. It takes
only the arguments that it needs. Hook wrappers are refused, and so is a hook that is not in this list.
"""

# These functions are never called: pluggy reads their names and arguments, people their docstrings.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from ._forms import SettingsForm
    from ._interfaces import Sink, Source, Store, WebhookDecoder
    from ._model import Commit, StoryKey
    from ._run import Finding
    from ._settings import Settings

PROJECT = "releasecopilot"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rc_sources(settings: Settings) -> Mapping[str, Callable[[Settings], Source]]:
    """Return source name -> a function that opens it; its docstring is the help of `rc ingest NAME-scan`.

    It may have attributes: `argument` (such as `"PATH-OR-URL"`) lets repositories be named behind the command, without a
    flag, and `needs_settings = False` lets it run without a settings file.
    """


@hookspec
def rc_webhooks(settings: Settings) -> Mapping[str, Callable[[Settings], WebhookDecoder]]:
    """Return service name -> a function that opens its webhook decoder; it must need no credentials."""


@hookspec
def rc_story_keys(commit: Commit, settings: Settings) -> Iterable[StoryKey | str]:
    """Return the story keys that a commit's texts name: `StoryKey` objects or plain strings.

    Read `commit.message` and `commit.texts` (message, branch names, pull-request titles). It must be pure, and finding
    in two texts must be the same as finding in one and finding in the other: a commit is seen in pieces. Every plugin
    is asked and the answers are joined; of a plain string the origin is found by asking for one text at a time.
    """


@hookspec
def rc_open_store(url: str, settings: Settings, create: bool) -> Store | None:
    """Return an open store for a database path or URL that this plugin knows, else `None`: the next one is asked.

    With `create` false a database that does not exist yet is a `MissingDatabaseError`: a question must not make one.
    """


@hookspec
def rc_open_sink(url: str, settings: Settings) -> Sink | None:
    """Return an open artifact sink for a folder or URL that this plugin knows, else `None`: the next one is asked."""


@hookspec
def rc_web_servers(settings: Settings) -> Mapping[str, Any]:
    """Return framework name -> an object with `mount(app, receiver, path)` and `serve(receiver, host, port, …)`."""


@hookspec
def rc_checks(settings: Settings, source: str, database: str) -> Mapping[str, Callable[[], Iterable[Finding | str]]]:
    """Return check name -> a function for `rc doctor` that yields what it found about a source and its database.

    A `Finding` says what is so, and what to do unless all is well; a plain string is something that is wrong.
    """


@hookspec
def rc_settings_forms() -> Mapping[str, SettingsForm]:
    """Return settings section -> what `rc init` asks for it, and how the answers become YAML."""
