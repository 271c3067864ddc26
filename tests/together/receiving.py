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

SECRET = "s3cret-webhook"


@contextlib.contextmanager
def receiving(workspace: Workspace, *, repair: bool = False) -> Iterator[str]:
    """Take deliveries in a real Flask application; gives its address."""
    app = Flask("receiver")
    webhook = register_bitbucket_webhook(app, secret=SECRET, settings=workspace.settings(), repair=repair)
    webhook.start()
    server = create_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/webhooks/bitbucket"
    finally:
        server.close()
        webhook.close()
        thread.join(5)


def subscribe(workspace: Workspace, url: str) -> None:
    """Have the sandbox deliver all events of the workspace to an address."""
    events = [
        "repo:push",
        "pullrequest:created",
        "pullrequest:updated",
        "pullrequest:fulfilled",
        "pullrequest:rejected",
    ]
    hook = {"description": "test", "url": url, "active": True, "secret": SECRET, "events": events}
    address = f"{workspace.sandbox.url}/workspaces/acme/hooks"
    answer = httpx.post(address, json=hook, auth=("bot@acme.example", "s3cret-token"))
    assert answer.status_code == 201, answer.text
