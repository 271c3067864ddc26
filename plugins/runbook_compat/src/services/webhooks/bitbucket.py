"""`register_bitbucket_webhook` under the name that the old runbook gives it, for FastAPI and Flask alike."""

from __future__ import annotations

import importlib
from typing import Any

from releasecopilot_core import Webhook
from releasecopilot_core.errors import UsageError

__all__ = ["register_bitbucket_webhook"]

_FRAMEWORKS = ("fastapi", "flask")


def register_bitbucket_webhook(app: Any, *, storage: Any = None, secret: Any = None, **options: Any) -> Webhook:
    """Take Bitbucket's deliveries in a FastAPI or Flask application (or one of a class derived from them).

    The arguments are those of the function of this name in `releasecopilot_webhook_fastapi` and
    `releasecopilot_webhook_flask`; which of them is called follows from the application's class. The other framework
    need not be installed.

    Raises:
        UsageError: it is no such application, or the plugin for it is not installed, or an argument is wrong.
        StoreError: the store cannot be opened.
    """
    plugin = f"releasecopilot_webhook_{_framework_of(app)}"
    try:
        module = importlib.import_module(plugin)
    except ModuleNotFoundError as error:
        if error.name != plugin:
            raise
        raise UsageError(f"app: pip install {plugin.replace('_', '-')} to take deliveries in it") from None
    webhook: Webhook = module.register_bitbucket_webhook(app, storage=storage, secret=secret, **options)
    return webhook


def _framework_of(app: object) -> str:
    for kind in type(app).__mro__:
        framework = kind.__module__.partition(".")[0]
        if framework in _FRAMEWORKS:
            return framework
    raise UsageError(f"app: expected a FastAPI or Flask application, not {type(app).__name__}")
