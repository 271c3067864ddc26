"""`/user`, and the repositories of a workspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .answers import Answer, removed
from .call import Call
from .filtering import matching, ordered
from .repositories import Repository


def user(call: Call) -> Answer:
    """`GET /user`: the account of the credential."""
    return Answer(200, call.shapes.user(call.caller.email))


def user_workspaces(call: Call) -> Answer:
    """`GET /user/workspaces`: what replaced `/workspaces`; no names in it (gildas/bitbucket-cli, `workspace-access.json`)."""
    workspace = call.shapes.workspace_object()
    base = {"type": "workspace_base", **{key: workspace[key] for key in ("slug", "uuid", "links")}}
    page, envelope = call.page([base], default=10, most=100)
    values = [{"type": "workspace_access", "administrator": True, "workspace": base} for base in page]
    return Answer(200, {"values": values, **envelope})


def gone(call: Call) -> Answer:
    """`GET /repositories`, `/workspaces` and `/user/permissions/…`: 410 since 14 April 2026 (Atlassian CHANGE-2770).

    An empty workspace in a client's settings ends here as well.
    """
    raise removed()


def workspace(call: Call) -> Answer:
    """`GET /workspaces/{workspace}`, which stayed (Atlassian CHANGE-3022)."""
    return Answer(200, call.shapes.workspace_object())


def repositories(call: Call) -> Answer:
    """`GET /repositories/{workspace}`: 10 a page, 100 at most; `q` and `sort` on names and times.

    `q=updated_on >= "…"` and `sort=updated_on` work on the live service (constructorfabric/insight, README, 2026).
    """
    keys: dict[str, Callable[[Repository], Any]] = {
        "updated_on": lambda repository: repository.updated_on,
        "created_on": lambda repository: repository.created_on,
        "name": lambda repository: repository.slug,
        "slug": lambda repository: repository.slug,
        "full_name": lambda repository: f"{call.shapes.workspace}/{repository.slug}",
        "uuid": lambda repository: repository.uuid,
    }
    chosen = matching(call.shelf.all(), call.arguments.get("q"), keys)
    chosen = ordered(chosen, call.arguments.get("sort", "full_name"), keys)
    page, envelope = call.page(chosen, default=10, most=100)
    values = [call.shapes.repository(repository, caller=call.caller.email) for repository in page]
    return Answer(200, {"values": values, **envelope})


def repository(call: Call) -> Answer:
    """`GET /repositories/{workspace}/{slug or {uuid}}`."""
    return Answer(200, call.shapes.repository(call.repository, caller=call.caller.email))
