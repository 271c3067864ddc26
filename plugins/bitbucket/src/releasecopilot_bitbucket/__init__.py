"""Bitbucket Cloud for Release Copilot. Hooks only; the work sits in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Finding, Settings, SettingsForm, Source, WebhookDecoder


def open_bitbucket(settings: Settings) -> Source:
    """Scan repositories of a Bitbucket Cloud workspace for commits, story keys and changed files."""
    from .source import BitbucketSource

    return BitbucketSource.from_settings(settings)


@hookimpl
def rc_sources() -> Mapping[str, Callable[[Settings], Source]]:
    """Provide `rc ingest bitbucket-scan`."""
    return {"bitbucket": open_bitbucket}


def open_webhooks(settings: Settings) -> WebhookDecoder:
    """Take pushes and pull-request events of Bitbucket Cloud."""
    from .webhooks import BitbucketWebhooks

    return BitbucketWebhooks.from_settings(settings)


@hookimpl
def rc_webhooks() -> Mapping[str, Callable[[Settings], WebhookDecoder]]:
    """Decode the deliveries of Bitbucket's webhooks."""
    return {"bitbucket": open_webhooks}


@hookimpl
def rc_checks(settings: Settings, source: str) -> Mapping[str, Callable[[], Iterable[Finding]]]:
    """Try the credential on what a scan asks for."""
    if source != "bitbucket":
        return {}
    from .checks import checks

    return checks(settings)


@hookimpl
def rc_settings_forms() -> Mapping[str, SettingsForm]:
    """Ask for workspace and credentials in `rc init`."""
    from .form import form

    return {"bitbucket": form()}
