"""Webhooks over the API: list, read, make, change and delete, for a repository or for the workspace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from .answers import Answer, bad_request, error
from .call import Call
from .payloads import Payload
from .subscriptions import EVENTS, Subscription


def hooks(call: Call) -> Answer:
    """`GET …/hooks`: 10 a page, 100 at most; secrets are never told."""
    page, envelope = call.page(call.hooks.of(_owner(call)), default=10, most=100)
    return Answer(200, {"values": [_shape(call, hook) for hook in page], **envelope})


def create(call: Call) -> Answer:
    """`POST …/hooks`: 201 and an address with the braces encoded (codecov/shared, `test_post_webhook.yaml`).

    From now on, pushes into the repository are noticed.
    """
    fields = _fields(call.payload())
    secret = fields.pop("secret", None)
    made = call.hooks.add(_owner(call), secret=secret, **fields)
    call.events.listen()
    value = _shape(call, made)
    return Answer(201, value, {"Location": value["links"]["self"]["href"]})


def one(call: Call, uid: str) -> Answer:
    """`GET …/hooks/{uid}`."""
    return Answer(200, _shape(call, _found(call, uid)))


def update(call: Call, uid: str) -> Answer:
    """`PUT …/hooks/{uid}`: without `secret` the old one stays, `null` removes it (Atlassian's OpenAPI text)."""
    hook = _found(call, uid)
    changed = call.hooks.replace(hook, **_fields(call.payload(), hook))
    call.events.listen()
    return Answer(200, _shape(call, changed))


def delete(call: Call, uid: str) -> Answer:
    """`DELETE …/hooks/{uid}`: 204."""
    call.hooks.remove(_found(call, uid))
    return Answer(204, "")


def _owner(call: Call) -> str | None:
    return call.found.uuid if call.found else None


def _found(call: Call, uid: str) -> Subscription:
    for hook in call.hooks.of(_owner(call)):
        if hook.uuid.strip("{}") == uid.strip("{}"):
            return hook
    name = call.found.slug if call.found else call.shapes.workspace
    # The odd words are recorded (codecov/shared, `test_delete_webhook_not_found.yaml`).
    raise error(404, f"{name} is not a valid hook")


def _fields(given: Payload, old: Subscription | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "url": given.text("url", old.url if old else None),
        "description": given.text("description", old.description if old else ""),
        "active": given.flag("active", default=old.active if old else True),
        "events": tuple(dict.fromkeys(given.texts("events"))) if given.has("events") or not old else old.events,
        "history_enabled": given.flag("history_enabled", default=old.history_enabled if old else False),
        "skip_cert_verification": given.flag(
            "skip_cert_verification", default=old.skip_cert_verification if old else False
        ),
    }
    if unknown := [name for name in fields["events"] if name not in EVENTS]:
        raise bad_request("Bad request", {"events": f"there is no event {unknown[0]!r}"})
    if not _is_address(fields["url"]):
        raise bad_request("Bad request", {"url": "is no address such as https://receiver.example/webhooks"})
    if "secret" in given.value:
        fields["secret"] = given.text("secret", "", most=128) or None
    return fields


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:
        return False


def _shape(call: Call, hook: Subscription) -> dict[str, Any]:
    """Return a webhook as recorded by jenkinsci/bitbucket-branch-source-plugin in 2025, `hooks.json`."""
    shapes = call.shapes
    if call.found:
        subject_type, subject = "repository", shapes.short_repository(call.found)
        link = shapes.repository_link(call.found)
    else:
        subject_type, subject = "workspace", shapes.workspace_object()
        link = f"{shapes.base}/workspaces/{shapes.workspace}"
    return {
        "type": "webhook_subscription",
        "uuid": hook.uuid,
        "description": hook.description,
        "url": hook.url,
        "active": hook.active,
        "events": list(hook.events),
        "created_at": hook.created_at,
        "subject_type": subject_type,
        "subject": subject,
        "source": None,
        "read_only": False,
        "history_enabled": hook.history_enabled,
        "skip_cert_verification": hook.skip_cert_verification,
        "secret_set": hook.secret is not None,
        "links": {"self": {"href": f"{link}/hooks/{quote(hook.uuid)}"}},
    }
