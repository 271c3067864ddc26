"""Bitbucket's webhook in an application of your own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask

from releasecopilot_core import Settings, Store, Webhook, open_webhook

from .routes import WebhookBlueprint


def register_bitbucket_webhook(
    app: Flask,
    *,
    storage: Store | None = None,
    secret: str | Sequence[str] | None = None,
    path: str = "/webhooks/bitbucket",
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    database: str | os.PathLike[str] | None = None,
    repair: bool = True,
    healthz: str | None = "/healthz",
) -> Webhook:
    """Take Bitbucket's deliveries at `path` of a Flask application, and tell at `healthz` how that goes.

    `storage` is an open store, such as `CommitStorage("data/bitbucket/commits.db")`, that the caller goes on to own;
    without one, that of `database` or of the settings is opened. `secret` is the webhook's secret, a list of two while
    rotating, and by default that of the settings; without any, everybody may deliver, which is logged as a warning.
    With `settings` that have credentials, what deliveries lack is fetched in the background, unless `repair` is false.

    Returns the webhook: it starts with the first request, or `start()`, and is closed with the process, or `close()`.

    Raises:
        UsageError: the settings are wrong, or the secret is empty.
        StoreError: the store cannot be opened.
    """
    blueprint = bitbucket_webhook_blueprint(
        storage=storage,
        secret=secret,
        path=path,
        settings=settings,
        database=database,
        repair=repair,
        healthz=healthz,
    )
    app.register_blueprint(blueprint)
    return blueprint.webhook


def bitbucket_webhook_blueprint(
    *,
    storage: Store | None = None,
    secret: str | Sequence[str] | None = None,
    path: str = "/webhooks/bitbucket",
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    database: str | os.PathLike[str] | None = None,
    repair: bool = True,
    healthz: str | None = "/healthz",
) -> WebhookBlueprint:
    """Return a blueprint that takes Bitbucket's deliveries, for `app.register_blueprint`; `webhook` is what it serves.

    The arguments are those of `register_bitbucket_webhook`.
    """
    webhook = open_webhook(
        "bitbucket", storage=storage, secret=secret, settings=settings, database=database, repair=repair
    )
    return WebhookBlueprint(webhook, path, healthz=healthz)
