"""From a delivery to the record: what the body lacks is fetched in the background, and git is the oracle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from releasecopilot_bitbucket import testing as kit

from releasecopilot_core.testing.webhooks import send

SECRET = "second-s3cret"


def configure(place: Any, workspace: Any, **bitbucket: Any) -> None:
    """Let the place's commands ask the workspace's sandbox."""
    section = {
        "api_url": workspace.sandbox.url,
        "credentials": {"username": "bot@acme.example", "api_token": "${SANDBOX_TOKEN}"},
        "default_branches": ["*"],
        "retry_seconds": 5,
        **bitbucket,
    }
    place.configure(section, database=str(workspace.folder / "commits.db"))


def announced(repository: Any, name: str, old: str | None, *, uuid: str) -> Any:
    """Return the body that Bitbucket would send for a branch that was at `old`: at most five commits."""
    new = repository.head(name)
    base = [f"^{old}"] if old is not None and new is not None else []
    shas = repository.git("rev-list", "--max-count=6", new or "", *base).split() if new else []
    commits = []
    for sha in shas[:5]:
        parents, message = repository.git("log", "-1", "--format=%P%x00%B", sha).split("\0")
        commits.append(kit.commit(sha, *parents.split(), message=message.strip()))
    if new is None:
        change = kit.deleted(name, str(old))
    elif old is None:
        change = kit.created(name, new, commits, truncated=len(shas) > 5)
    else:
        change = kit.updated(name, old, new, commits, truncated=len(shas) > 5)
    body = kit.push(f"acme/{repository.path.stem}", change)
    body["repository"]["uuid"] = uuid
    return body


def deliver(served: Any, payload: Any) -> str:
    body = json.dumps(payload).encode()
    answered = send(served, body, kit.headers(kit.PUSH, **kit.signature(body, SECRET)))
    assert answered.status == 202
    return str(answered.body["status"])


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_deliveries_end_in_the_same_record_as_a_scan(place: Any, workspace: Any) -> None:
    """More commits than a body holds, a new branch, a deleted one: all is stored, files too, and heads are git's."""
    api = workspace.add("api")
    first = api.history("main", [30.0, 29.0, 28.0])[-1]
    configure(place, workspace)
    assert place.rc("ingest", "bitbucket-scan", "--quiet").returncode == 0
    ((uuid,),) = workspace.rows("SELECT uuid FROM repositories")
    server = place.serve("--with", "fastapi", "--workers", "2")
    assert "repaired in the background" in server.first_line
    served = server.served(place.storage())
    assert send(served, method="GET", path="/healthz").body["repairs"] == "on"

    api.history("main", [20.0 - n for n in range(12)])
    deliver(served, announced(api, "main", first, uuid=uuid))
    api.commit("feature/RC-12_fix", "Work", parents=[api.head("main")], files={"b.txt": "b"})
    late = announced(api, "feature/RC-12_fix", None, uuid=uuid)
    api.commit("old", "Gone soon", parents=[first], files={"c.txt": "c"})
    deliver(served, announced(api, "old", None, uuid=uuid))
    gone = api.head("old")
    api.delete("old")
    deliver(served, announced(api, "old", gone, uuid=uuid))
    assert deliver(served, late) == "stored"
    assert deliver(served, late) == "duplicate"

    wait_until(lambda: workspace.rows("SELECT 1 FROM stale_branches") == [])
    live = "SELECT branch, sha FROM heads WHERE deleted_at IS NULL"
    wait_until(lambda: dict(workspace.rows(live)) == api.branches())
    assert workspace.stored() - {gone} == set(api.reachable("--branches"))
    wait_until(lambda: workspace.rows("SELECT count(*) FROM commits WHERE files_status = 'owed'") == [(0,)])
    for sha in api.reachable("--branches"):
        assert workspace.files(sha) == api.files(sha)
    wait_until(lambda: workspace.rows("SELECT 1 FROM runs WHERE status = 'running'") == [])
    assert server.stop() == 0
    runs = workspace.rows("SELECT kind, status, artifact FROM runs WHERE kind = 'repair'")
    assert {(kind, status) for kind, status, _ in runs} == {("repair", "complete")}
    served.store.close()


def test_what_was_announced_before_a_restart_is_repaired_after_it(place: Any, workspace: Any) -> None:
    """A server without credentials leaves marks; one that has them needs no delivery to begin."""
    api = workspace.add("api")
    first = api.history("main", [30.0, 29.0])[-1]
    configure(place, workspace)
    assert place.rc("ingest", "bitbucket-scan", "--quiet").returncode == 0
    ((uuid,),) = workspace.rows("SELECT uuid FROM repositories")
    configure(place, workspace, credentials={})
    server = place.serve()
    assert "left to the next scan" in server.first_line
    api.history("main", [20.0 - n for n in range(7)])
    with place.storage() as storage:
        deliver(server.served(storage), announced(api, "main", first, uuid=uuid))
    assert server.stop() == 0
    assert workspace.rows("SELECT count(*) FROM stale_branches") == [(1,)]

    configure(place, workspace)
    server = place.serve("--with", "flask")
    wait_until(lambda: workspace.stored() == set(api.reachable("main")))
    wait_until(lambda: workspace.rows("SELECT count(*) FROM stale_branches") == [(0,)])
    assert server.stop() == 0
