"""A receiver inside somebody's program is closed in the middle of a repair: nothing stays held, and soon."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from releasecopilot_bitbucket import testing as bodies

from releasecopilot_core import CommitStorage, Ingestor, open_webhook
from releasecopilot_core import _repairing as repairing

#: A service that takes longer for an answer than anybody would wait for a program to end.
SLOW = 30.0


def wait_until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def pushed(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the head that was pushed to a repository that the store knows, and of which a body is delivered."""
    monkeypatch.setattr(repairing, "GATHER_SECONDS", 0.05)
    api = workspace.add("api")
    api.commit("main", "base")
    workspace.scan()
    return str(api.history("main", [1.0] * 9)[-1])


def deliver(webhook: Any, workspace: Any, head: str) -> None:
    """Deliver that `main` was pushed to, with none of the commits."""
    (uuid, old), *_ = workspace.rows("SELECT uuid, sha FROM repositories JOIN heads ON repository_id = repositories.id")
    body = bodies.push("acme/api", bodies.updated("main", old, head, [], truncated=True))
    body["repository"]["uuid"] = uuid
    answer = webhook.receive(list(bodies.headers(bodies.PUSH).items()), json.dumps(body).encode())
    assert (answer.status, answer.body["status"]) == (202, "stored")


def leases(workspace: Any) -> set[str]:
    return {name.partition(" of ")[0] for (name,) in workspace.rows("SELECT name FROM leases")}


@pytest.mark.parametrize("fault", ["slow@branches", "slow@commits", "slow@diffstat", "reset", "retry", "slow@git"])
@pytest.mark.parametrize("owned", [True, False], ids=["own store", "the caller's store"])
def test_close_gives_leases_back_before_the_store_closes(workspace: Any, pushed: str, fault: str, owned: bool) -> None:
    """Whatever it waits for, an answer, the time to ask again, or a clone: a scan at once finds nothing busy."""
    storage = None if owned else CommitStorage(workspace.folder / "commits.db")
    files = "git" if fault == "slow@git" else "api"
    settings = workspace.settings(retry_seconds=60, files=files, git_url=workspace.sandbox.git_url)
    webhook = open_webhook("bitbucket", settings=settings, storage=storage)
    if fault == "retry":
        workspace.sandbox.set_fault("rate-limit@branches", "0")
        workspace.sandbox.set_fault("retry-after", f"seconds:{SLOW:.0f}")
    else:
        workspace.sandbox.set_fault(fault, "100000" if fault == "reset" else SLOW)
    webhook.start()
    deliver(webhook, workspace, pushed)
    wait_until(lambda: leases(workspace) == {"repairs", "scan"})
    time.sleep(0.3)
    begun = time.monotonic()
    webhook.close()
    assert time.monotonic() - begun < 4
    assert leases(workspace) == set()
    assert workspace.rows("SELECT kind, status FROM runs ORDER BY rowid DESC LIMIT 1") == [("repair", "interrupted")]
    workspace.sandbox.clear_faults()
    run = workspace.scan()
    assert (run.status, pushed in workspace.stored()) == ("complete", True)
    if storage is not None:
        assert run.run_id in {row["run_id"] for row in storage.runs()}
        storage.close()


def test_receiver_may_be_started_again(workspace: Any, pushed: str) -> None:
    """What was broken off is repaired by the next start, in the same process."""
    workspace.sandbox.set_fault("slow@commits", SLOW)
    webhook = open_webhook("bitbucket", settings=workspace.settings())
    webhook.start()
    deliver(webhook, workspace, pushed)
    wait_until(lambda: leases(workspace) == {"repairs", "scan"})
    webhook.close()
    workspace.sandbox.clear_faults()
    with webhook:
        wait_until(
            lambda: workspace.rows("SELECT status FROM runs WHERE kind = 'repair'") == [("interrupted",), ("complete",)]
        )
    assert pushed in workspace.stored()


def test_stop_ends_a_repair_that_waits(workspace: Any, pushed: str) -> None:
    """The same for whoever calls `repair` with an event of their own: the run is returned, and says `interrupted`."""
    with open_webhook("bitbucket", settings=workspace.settings(), repair=False) as webhook:
        deliver(webhook, workspace, pushed)
    workspace.sandbox.set_fault("slow@branches", SLOW)
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    begun = time.monotonic()
    with Ingestor(workspace.settings()) as ingestor:
        run = ingestor.repair("bitbucket", stop=stop)
    timer.join()
    assert (run.status, time.monotonic() - begun < 4, leases(workspace)) == ("interrupted", True, set())
