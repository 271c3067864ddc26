"""Release Copilot webhooks in Flask. Hooks and names only; the work sits in the modules beside this one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from .bitbucket import bitbucket_webhook_blueprint as bitbucket_webhook_blueprint
    from .bitbucket import register_bitbucket_webhook as register_bitbucket_webhook
    from .routes import WebhookBlueprint as WebhookBlueprint

_NAMES = {
    **dict.fromkeys(("bitbucket_webhook_blueprint", "register_bitbucket_webhook"), "bitbucket"),
    "WebhookBlueprint": "routes",
}

__all__ = ["WebhookBlueprint", "bitbucket_webhook_blueprint", "register_bitbucket_webhook"]


@hookimpl
def rc_web_servers() -> Mapping[str, Any]:
    """Provide `rc serve NAME-webhook --with flask`."""
    from .serving import FlaskServer

    return {"flask": FlaskServer()}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
