"""Everything this package raises on purpose.

::

    ReleaseCopilotError
    ├── UsageError               what was asked for cannot be done as asked: change the call or the settings
    │   ├── SettingsError        the settings file, an environment variable or a secret reference
    │   ├── UnknownNameError     a source, repository or other name that does not exist
    │   ├── DatabaseFormatError  a database that is not ours, or newer than this version
    │   ├── MissingDatabaseError a database that was to be read and does not exist
    │   └── ArtifactError        an artifact that cannot be written where it was asked for
    ├── PluginError              a plugin that failed to load or raised; the message names it
    ├── StoreError               the store is out of reach
    │   └── StoreBusyError       another process held the store for longer than we wait
    └── SourceError              the service behind a source refused or could not be reached
        ├── AuthenticationError  the credential was refused: nothing else can be asked either
        ├── CommitsVanished      commits we asked about are gone (force-push and garbage collection)
        └── ListingExpired       the rest of a listing cannot be had any more: ask anew from where it stopped

Messages say where, what, and what to do next, in one line, and never contain a secret.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "AuthenticationError",
    "CommitsVanished",
    "DatabaseFormatError",
    "ListingExpired",
    "MissingDatabaseError",
    "PluginError",
    "ReleaseCopilotError",
    "SettingsError",
    "SourceError",
    "StoreBusyError",
    "StoreError",
    "UnknownNameError",
    "UsageError",
]


class ReleaseCopilotError(Exception):
    """Base of all errors raised on purpose; its text is one line for a person."""


class UsageError(ReleaseCopilotError):
    """What was asked for cannot be done as asked (the CLI exits 2)."""


class SettingsError(UsageError):
    """A setting is missing, unknown, of the wrong type, or refers to something unset."""


class UnknownNameError(UsageError):
    """A name (source, repository, plugin) that nothing answers to."""


class DatabaseFormatError(UsageError):
    """A database that another program made, or a newer version of this one."""


class MissingDatabaseError(UsageError):
    """A database that was to be read, and that nobody has made yet."""


class ArtifactError(UsageError):
    """An artifact cannot be written to the place that was asked for."""


class PluginError(ReleaseCopilotError):
    """A plugin failed; `plugin` is its entry-point name."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plugin {plugin!r}: {message}")
        self.plugin = plugin


class StoreError(ReleaseCopilotError):
    """The store cannot be read or written (full disk, read-only file, lost connection)."""


class StoreBusyError(StoreError):
    """Somebody else held the store for longer than the busy time-out."""


class SourceError(ReleaseCopilotError):
    """The service refused a request for good, or did not answer within the deadline.

    `kind` is a short machine-readable word that ends up in the artifact's `problems`
    (`not-found`, `forbidden`, `rate-limited`, `unreachable`, `bad-answer` …).
    """

    def __init__(self, message: str, *, kind: str = "source") -> None:
        super().__init__(message)
        self.kind = kind


class AuthenticationError(SourceError):
    """The credential was refused."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="authentication")


class CommitsVanished(SourceError):
    """The service no longer knows some of the commits that were named; `shas` are those it told of."""

    def __init__(self, shas: Iterable[str]) -> None:
        self.shas = frozenset(shas)
        super().__init__(f"commits no longer exist: {', '.join(sorted(self.shas))}", kind="vanished")


class ListingExpired(SourceError):
    """The service no longer knows the listing that it was asked to continue."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="expired")
