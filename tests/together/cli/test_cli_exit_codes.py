"""How a scan ends is told by its exit code, and by its artifact."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

GIVEN_UP = (signal.SIGINT, signal.SIGTERM)


def test_complete_scan_exits_0(shell: Any, workspace: Any) -> None:
    """All that was asked for is stored."""
    sha = workspace.add("api").commit("main", "RC-1")
    done = shell.scan()
    assert (done.code, workspace.stored()) == (0, {sha})
    assert [document["status"] for document in shell.documents()] == ["complete"]


def test_wrong_credential_exits_1(shell: Any, workspace: Any) -> None:
    """Nothing could be scanned; one line says why, the artifact says failed, and neither shows the credential."""
    workspace.add("api").commit("main", "RC-1")
    done = shell.scan(SANDBOX_TOKEN="wr0ng-token")
    assert done.code == 1
    assert done.err.startswith("rc: Bitbucket refused the credential")
    assert done.err.count("\n") == 1
    (document,) = shell.documents()
    assert (document["status"], document["problems"][0]["kind"]) == ("failed", "authentication")
    assert workspace.stored() == set()
    written = b"".join(path.read_bytes() for path in shell.folder.rglob("*") if path.is_file())
    assert b"wr0ng-token" not in written + done.out.encode() + done.err.encode()


def test_service_out_of_reach_exits_1(shell: Any, workspace: Any) -> None:
    """Nobody listens at the address: failed, in a line that names it."""
    workspace.add("api").commit("main", "RC-1")
    workspace.sandbox.stop()
    done = shell.scan()
    assert done.code == 1
    assert "cannot connect" in done.err
    assert [document["status"] for document in shell.documents()] == ["failed"]


def test_failed_repository_exits_3(shell: Any, workspace: Any) -> None:
    """The others are stored; the one that is out of reach is named on stderr and in the artifact."""
    workspace.add("locked").commit("main", "RC-1")
    sha = workspace.add("api").commit("main", "RC-2")
    workspace.sandbox.set_fault("forbidden@branches:locked", "1")
    done = shell.scan()
    assert (done.code, workspace.stored()) == (3, {sha})
    assert "rc: acme/locked: " in done.err
    (document,) = shell.documents()
    assert document["status"] == "partial"
    assert {r["name"]: r["status"] for r in document["repositories"]} == {
        "acme/api": "complete",
        "acme/locked": "failed",
    }


def test_repository_of_the_settings_that_is_gone_exits_3(shell: Any, workspace: Any, configure: Any) -> None:
    """It may only mean lost rights: reported, and the rest is scanned."""
    workspace.add("api").commit("main", "RC-1")
    done = configure(shell, workspace, repositories=["api", "gone"]).scan()
    assert (done.code, len(workspace.stored())) == (3, 1)
    assert "acme/gone" in done.err


def test_literal_branch_found_nowhere_exits_3(shell: Any, workspace: Any) -> None:
    """A name without wildcards that exists nowhere is told; a glob without a match is nothing to tell."""
    sha = workspace.add("api").commit("main", "RC-1")
    done = shell.scan("--branches", "main", "nope", "hotfix/*")
    assert (done.code, workspace.stored()) == (3, {sha})
    assert "rc: no repository has a branch 'nope'" in done.err
    assert "hotfix" not in done.err
    assert shell.documents()[0]["problems"][0]["kind"] == "branch"


def test_owed_files_exit_3_until_they_are_had(shell: Any, workspace: Any) -> None:
    """What is missing makes a run partial; the next one that finds it is complete."""
    workspace.add("api").commit("main", "RC-1")
    workspace.sandbox.set_fault("status@diffstat", "403")
    assert shell.scan().code == 3
    workspace.sandbox.clear_faults()
    assert shell.scan().code == 0


@pytest.mark.parametrize("number", GIVEN_UP, ids=lambda number: number.name)
def test_interrupted_scan_keeps_what_it_has(shell: Any, workspace: Any, wait_for: Any, number: Any) -> None:
    """Ctrl-C exits 130 and SIGTERM 143, at once; what was stored stays, the artifact says interrupted."""
    shas = workspace.add("api").history("main", [hour / 10 for hour in range(30, 0, -1)])
    reached = threading.Event()

    def first_file_list(served: Any) -> None:
        if served.kind == "diffstat":
            # From now on no answer comes: whoever waited for it would wait a minute.
            workspace.sandbox.set_fault("slow", "60")
            reached.set()

    workspace.sandbox.on_request(first_file_list)
    process = shell.start("ingest", "bitbucket-scan")
    assert reached.wait(30)
    process.send_signal(number)
    done = wait_for(process)
    assert done.code == 128 + number
    assert "interrupted" in done.out
    assert "Traceback" not in done.err
    (document,) = shell.documents()
    assert (document["status"], document["repositories"][0]["status"]) == ("interrupted", "partial")
    assert workspace.stored() == set(shas) == {entry["hash"] for entry in document["payload"]}
    assert workspace.rows("SELECT status FROM runs") == [("interrupted",)]
    workspace.sandbox.on_request(None)
    workspace.sandbox.clear_faults()
    assert shell.scan().code == 0
    assert workspace.rows("SELECT count(*) FROM commits WHERE files_status <> 'known'") == [(0,)]
