"""Release Copilot webhooks in FastAPI. Hooks and names only; the work sits in the modules beside this one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from .bitbucket import bitbucket_webhook_router as bitbucket_webhook_router
    from .bitbucket import register_bitbucket_webhook as register_bitbucket_webhook
    from .routes import WebhookRouter as WebhookRouter

_NAMES = {
    **dict.fromkeys(("bitbucket_webhook_router", "register_bitbucket_webhook"), "bitbucket"),
    "WebhookRouter": "routes",
}

__all__ = ["WebhookRouter", "bitbucket_webhook_router", "register_bitbucket_webhook"]


@hookimpl
def rc_web_servers() -> Mapping[str, Any]:
    """Provide `rc serve NAME-webhook --with fastapi`."""
    from .serving import FastApiServer

    return {"fastapi": FastApiServer()}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
