"""A real application that takes what a sandbox delivers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import httpx
from flask import Flask
from releasecopilot_webhook_flask import register_bitbucket_webhook
from waitress.server import create_server
from workspaces import Workspace

from releasecopilot_core import Settings, Webhook

SECRET = "s3cret-webhook"
AUTH = ("bot@acme.example", "s3cret-token")
EVENTS = (
    "repo:push",
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
)


@contextlib.contextmanager
def receiving(workspace: Workspace, *, repair: bool = False) -> Iterator[str]:
    """Take deliveries in a real Flask application; gives its address."""
    with serving(workspace.settings(), repair=repair) as (url, _):
        yield url


@contextlib.contextmanager
def serving(settings: Settings, *, repair: bool) -> Iterator[tuple[str, Webhook]]:
    """Serve an application in threads; gives its address, and what it serves."""
    app = Flask("receiver")
    webhook = register_bitbucket_webhook(app, secret=SECRET, settings=settings, repair=repair)
    webhook.start()
    server = create_server(app, host="127.0.0.1", port=0, asyncore_loop_timeout=0.05)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/webhooks/bitbucket", webhook
    finally:
        # In its own thread: it may be waiting for what would be closed.
        server.trigger.pull_trigger(server.close)
        thread.join(5)
        webhook.close()


def subscribe(workspace: Workspace, url: str) -> str:
    """Have the sandbox deliver all events of the workspace to an address; returns the subscription's own address."""
    hook = {"description": "test", "url": url, "active": True, "secret": SECRET, "events": EVENTS}
    answer = httpx.post(f"{workspace.sandbox.url}/workspaces/acme/hooks", json=hook, auth=AUTH)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["links"]["self"]["href"])


def unsubscribe(address: str) -> None:
    """End a subscription."""
    answer = httpx.delete(address, auth=AUTH)
    assert answer.status_code == 204, answer.text
