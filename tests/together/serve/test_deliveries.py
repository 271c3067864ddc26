"""`rc deliveries`: list, show, replay and prune what came in."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from releasecopilot_bitbucket import testing as kit

from releasecopilot_core import CommitStorage, open_webhook
from releasecopilot_core._cli import run


class Box:
    """A database with deliveries, and the command run in this process."""

    def __init__(self, folder: Path, capfdbinary: Any) -> None:
        self.folder = folder
        self._capture = capfdbinary

    def deliver(self, payload: Any, event: str | None = kit.PUSH, **headers: str) -> str:
        """Take a delivery; returns its id."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        with CommitStorage("commits.db") as storage:
            webhook = open_webhook("bitbucket", storage=storage, secret="s3cret")
            answer = webhook.receive({**kit.headers(event, **kit.proof("s3cret")), **headers}.items(), body)
        assert answer.status == 202
        return str(answer.body["delivery"])

    def fail(self, delivery: str) -> None:
        """Let a delivery look as if a version before this one could not decode it."""
        with sqlite3.connect("commits.db") as db:
            db.execute("UPDATE deliveries SET status = 'failed', reason = 'of old' WHERE id = ?", (delivery,))
            for table in ("commit_branches", "commit_story_keys", "commit_parents", "commits", "stale_branches"):
                db.execute(f"DELETE FROM {table}")
        db.close()

    def rc(self, *arguments: str) -> tuple[int, str, str]:
        """Run `rc deliveries …`; returns exit code, stdout and stderr."""
        code, out, err = self.raw(*arguments)
        return code, out.decode(), err

    def raw(self, *arguments: str) -> tuple[int, bytes, str]:
        self._capture.readouterr()
        code = run(["deliveries", *arguments, "--database", "commits.db"])
        out, err = self._capture.readouterr()
        return code, out, err.decode()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> Box:
    monkeypatch.chdir(tmp_path)
    return Box(tmp_path, capfdbinary)


def a_push(number: int = 1) -> Any:
    old, new = kit.hexadecimal(f"{number - 1}"), kit.hexadecimal(f"{number}")
    return kit.push("acme/api", kit.updated("main", old, new, [kit.commit(new, old)]))


def test_list_shows_the_latest_first(box: Box) -> None:
    """A line each: when it came (Phoenix), what it was, what became of it; JSON has more."""
    stored = box.deliver(a_push())
    assert box.deliver(a_push()) == stored
    ignored = box.deliver({}, kit.UNUSED_EVENT)
    failed = box.deliver({"push": 1})
    code, out, _ = box.rc("list")
    assert code == 0
    header, *lines = out.splitlines()
    assert header.split() == ["DELIVERY", "LAST", "RECEIVED", "EVENT", "STATUS", "TIMES", "REASON"]
    assert {line.split()[0]: line.split()[4:6] for line in lines} == {
        stored: ["stored", "2"],
        ignored: ["ignored", "1"],
        failed: ["failed", "1"],
    }
    found = {entry["id"]: entry for entry in json.loads(box.rc("list", "--json")[1])}
    assert found[stored]["times"] == 2
    assert found[failed]["reason"].startswith("repo:push: ")
    assert all(re.fullmatch(r"\S+-07:00", entry["received_at"]) for entry in found.values())
    assert [entry["id"] for entry in json.loads(box.rc("list", "--json", "--status", "failed")[1])] == [failed]
    assert len(json.loads(box.rc("list", "--json", "--limit", "2")[1])) == 2


def test_list_of_nothing(box: Box) -> None:
    """An empty database is no error, a missing one is."""
    code, _, err = box.rc("list")
    assert (code, err) == (2, "rc: commits.db: no such database; scan first, or name another with --database\n")
    CommitStorage("commits.db").close()
    assert box.rc("list") == (0, "No deliveries.\n", "")
    assert box.rc("list", "--json") == (0, "[]\n", "")


def test_show_tells_all_but_secrets(box: Box) -> None:
    """Headers, times, status and body; as one JSON document with --json; the very bytes with --raw."""
    body = json.dumps(a_push(), indent=1).replace("RC-1", "\u202eRC-1\\u001b").encode()
    delivery = box.deliver(body, **{"X-Forwarded-For": "s3cret"})
    code, out, err = box.rc("show", delivery)
    assert (code, err) == (0, "")
    assert f"id: {delivery}\n" in out
    assert "\n  x-event-key: repo:push\n" in out
    assert "\nstatus: stored\n" in out
    assert '"full_name": "acme/api"' in out
    assert all(character.isprintable() or character == "\n" for character in out)
    document = json.loads(box.rc("show", delivery, "--json")[1])
    assert document["body"] == json.loads(body)
    assert document["headers"]["user-agent"] == "Bitbucket-Webhooks/2.0"
    assert "s3cret" not in out + json.dumps(document)
    assert box.raw("show", delivery, "--raw") == (0, body, "")


def test_replay_stores_what_failed_before(box: Box) -> None:
    """A line each; afterwards nothing has failed."""
    one, two = box.deliver(a_push(1)), box.deliver(a_push(2))
    box.fail(one)
    box.fail(two)
    assert box.rc("replay", one) == (0, f"{one}: stored\n", "")
    assert box.rc("replay", "--failed") == (0, f"{two}: stored\n", "")
    assert box.rc("replay", "--failed") == (0, "No failed deliveries.\n", "")
    with CommitStorage("commits.db") as storage:
        assert {row["hash"] for row in storage.commits()} == {kit.hexadecimal("1"), kit.hexadecimal("2")}
        assert {record.status for record in storage.deliveries()} == {"stored"}
        (state,) = storage.repositories("bitbucket")
        assert set(storage.stale_branches(state.repository)) == {"main"}


def test_replay_says_what_could_not_be_replayed(box: Box) -> None:
    """Unknown, pruned, or failed again: a clear line each, the others are replayed, and the exit code is 3."""
    good, bad, old = box.deliver(a_push(1)), box.deliver({"push": 1}), box.deliver(a_push(2))
    with sqlite3.connect("commits.db") as db:
        db.execute("UPDATE deliveries SET body = NULL WHERE id = ?", (old,))
    db.close()
    code, out, err = box.rc("replay", "nonsense", bad, old, good, good)
    assert code == 3
    assert out.splitlines()[1:] == [f"{good}: stored"]
    assert out.startswith(f"{bad}: failed (repo:push: ")
    assert err.splitlines() == [
        "rc: no delivery 'nonsense' in this database; see `rc deliveries list`",
        f"rc: the raw body of delivery {old} was dropped; the next scan finds what it told",
    ]


def test_replay_wants_to_know_which(box: Box) -> None:
    """Neither names nor --failed, or both, is a mistake."""
    delivery = box.deliver(a_push())
    for arguments in (["replay"], ["replay", delivery, "--failed"]):
        code, out, err = box.rc(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("rc: name deliveries, or say --failed")


def test_prune_drops_old_bodies(box: Box) -> None:
    """By default after the days of the settings; records and what they told stay."""
    old, young = box.deliver(a_push(1)), box.deliver(a_push(2))
    with sqlite3.connect("commits.db") as db:
        moment = f"{datetime.now(UTC) - timedelta(days=31):%Y-%m-%dT%H:%M:%SZ}"
        db.execute("UPDATE deliveries SET last_received_at = ? WHERE id = ?", (moment, old))
    db.close()
    assert box.rc("prune", "--days", "32") == (0, "Dropped 0 raw bodies older than 32 days.\n", "")
    assert box.rc("prune") == (0, "Dropped 1 raw body older than 30 days.\n", "")
    code, out, err = box.rc("show", old, "--raw")
    assert (code, out, "was dropped" in err) == (2, "", True)
    assert "body: dropped" in box.rc("show", old)[1]
    assert json.loads(box.rc("show", old, "--json")[1])["body"] is None
    assert box.raw("show", young, "--raw")[1] == json.dumps(a_push(2)).encode()
    with CommitStorage("commits.db") as storage:
        assert len(list(storage.commits())) == 2


@pytest.mark.parametrize("days", ["nan", "-1", "inf", "1e9", "x"])
def test_prune_refuses_what_is_no_number_of_days(box: Box, days: str) -> None:
    """One line, and nothing is dropped."""
    delivery = box.deliver(a_push())
    code, out, err = box.rc("prune", "--days", days)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert box.raw("show", delivery, "--raw")[0] == 0


@pytest.mark.parametrize("arguments", [["show", "x"], ["show", "x", "--raw"], ["show", "x", "--json"]])
def test_unknown_delivery_is_one_line(box: Box, arguments: list[str]) -> None:
    """It says where to look."""
    CommitStorage("commits.db").close()
    assert box.rc(*arguments) == (2, "", "rc: no delivery 'x' in this database; see `rc deliveries list`\n")
