"""Bitbucket's webhook in an application of your own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from releasecopilot_core import Settings, Store, Webhook, open_webhook

from .routes import WebhookRouter


def register_bitbucket_webhook(
    app: FastAPI,
    *,
    storage: Store | None = None,
    secret: str | Sequence[str] | None = None,
    path: str = "/webhooks/bitbucket",
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    database: str | os.PathLike[str] | None = None,
    repair: bool = True,
    healthz: str | None = "/healthz",
) -> Webhook:
    """Take Bitbucket's deliveries at `path` of a FastAPI application, and tell at `healthz` how that goes.

    `storage` is an open store, such as `CommitStorage("data/bitbucket/commits.db")`, that the caller goes on to own;
    without one, that of `database` or of the settings is opened. `secret` is the webhook's secret, a list of two while
    rotating, and by default that of the settings; without any, everybody may deliver, which is logged as a warning.
    With `settings` that have credentials, what deliveries lack is fetched in the background, unless `repair` is false.

    Returns the webhook. The application's lifespan starts and closes it.

    Raises:
        UsageError: the settings are wrong, or the secret is empty.
        StoreError: the store cannot be opened.
    """
    router = bitbucket_webhook_router(
        storage=storage,
        secret=secret,
        path=path,
        settings=settings,
        database=database,
        repair=repair,
        healthz=healthz,
    )
    app.include_router(router)
    return router.webhook


def bitbucket_webhook_router(
    *,
    storage: Store | None = None,
    secret: str | Sequence[str] | None = None,
    path: str = "/webhooks/bitbucket",
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    database: str | os.PathLike[str] | None = None,
    repair: bool = True,
    healthz: str | None = "/healthz",
) -> WebhookRouter:
    """Return a router that takes Bitbucket's deliveries, for `app.include_router`; its `webhook` is what it serves.

    The arguments are those of `register_bitbucket_webhook`.
    """
    webhook = open_webhook(
        "bitbucket", storage=storage, secret=secret, settings=settings, database=database, repair=repair
    )
    return WebhookRouter(webhook, path, healthz=healthz)
