"""Recorded deliveries of the real service, sent to real servers, whole and mangled; they lie beside the checkout."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_bitbucket import testing as kit

from releasecopilot_core import CommitStorage, Repository
from releasecopilot_core.testing import Served, mangled
from releasecopilot_core.testing.webhooks import Answered, send

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "payloads" / "webhooks"
FILES = sorted(FOLDER.glob("*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="the recorded payloads are not beside this checkout")


@pytest.fixture(scope="module", params=["fastapi", "flask"])
def server(request: pytest.FixtureRequest, make_place: Any) -> Iterator[Served]:
    """Serve all tests of the module, with one framework and then with the other."""
    for place in make_place(request.param):
        place.configure(webhooks={"body_limit": 1 << 20})
        with place.storage() as storage:
            yield place.serve("--with", request.param).served(storage)


def event_of(file: Path) -> str:
    """Return the event under which a body came; who recorded it kept none of its headers."""
    if "push" in file.name.lower():
        return kit.PUSH
    what = file.stem.lower().removeprefix("woodpecker_hookpullrequest").removeprefix("go-scm_pr_")
    return {"declined": "pullrequest:rejected", "merged": "pullrequest:fulfilled"}.get(what, f"pullrequest:{what}")


def sent(server: Served, event: str, body: bytes) -> Answered:
    return send(server, body, kit.headers(event, **kit.signature(body, server.secrets[0])))


def repository_of(payload: Any) -> Repository:
    told = payload["repository"]
    return Repository(source="bitbucket", uuid="{" + told["uuid"].strip("{}") + "}", full_name=told["full_name"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recorded_delivery_is_stored(server: Served, file: Path) -> None:
    """Its commits, the branches that moved, the pull request with its state: what the body says is in the database."""
    body = file.read_bytes()
    payload = json.loads(body)
    repository = repository_of(payload)
    before = server.store.stale_branches(repository)
    updates = dict(server.store.pull_request_updates(repository))
    answered = sent(server, event_of(file), body)
    assert answered.status == 202
    changes = payload.get("push", {}).get("changes", [])
    refs = [(change, change["new"] or change["old"]) for change in changes]
    branches = [(change, ref["name"]) for change, ref in refs if ref["type"] == "branch"]
    told = bool(branches) or "pullrequest" in payload
    record = server.store.delivery(answered.body["delivery"])
    assert record is not None
    assert (answered.body["status"], record.status) == (("stored", "stored") if told else ("ignored", "ignored"))
    stored = {row["hash"]: row["message"] for row in server.store.commits(repositories=[repository.full_name])}
    for change, name in branches:
        mark = server.store.stale_branches(repository)[name]
        assert mark.marks == (before[name].marks if name in before else 0) + 1
        assert mark.target == (change["new"] or {"target": {"hash": mark.target}})["target"]["hash"]
        for commit in change.get("commits") or []:
            assert stored[commit["hash"]] == commit["message"]
    if "pullrequest" in payload:
        asked = payload["pullrequest"]
        assert asked["id"] in server.store.stale_pull_requests(repository)
        latest = updates.get(asked["id"])
        if latest is None or latest < datetime.fromisoformat(asked["updated_on"]):
            told_of_it = (asked["title"], asked["state"], asked["source"]["branch"]["name"])
            assert pull_request_in(server, repository, asked["id"]) == told_of_it
    assert sent(server, event_of(file), body).body == {"status": "duplicate", "delivery": answered.body["delivery"]}


def pull_request_in(server: Served, repository: Repository, number: int) -> Any:
    assert isinstance(server.store, CommitStorage)
    with contextlib.closing(sqlite3.connect(server.store.path)) as db:
        sql = (
            "SELECT p.title, p.state, p.source_branch FROM pull_requests p JOIN repositories r ON r.id = p.repository_id "
            "WHERE r.uuid = ? AND p.id = ?"
        )
        return db.execute(sql, (repository.uuid, number)).fetchone()


@settings(max_examples=60)
@given(data=st.data())
def test_mangled_recordings_are_answered(server: Served, data: st.DataObject) -> None:
    """Something is missing, null, of another type, deep, huge or not even UTF-8: never a 5xx, never a hang, no traceback."""
    file = data.draw(st.sampled_from(FILES))
    event = data.draw(st.sampled_from([event_of(file), kit.PUSH, *kit.PULL_REQUEST_EVENTS]))
    body = data.draw(mangled(json.loads(file.read_bytes())))
    answered = sent(server, event, body)
    assert (answered.status, answered.body["status"]) in {
        (202, "stored"), (202, "ignored"), (202, "duplicate"), (400, "rejected"), (413, "rejected"),
    }  # fmt: skip
    if answered.status == 202:
        record = server.store.delivery(answered.body["delivery"])
        assert record is not None
        assert record.body is not None
        assert record.status != "failed" or record.reason
