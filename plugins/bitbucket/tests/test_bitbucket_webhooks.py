"""Deliveries: proofs, events, and what bodies tell; hand-written after the real ones, recorded ones, and mangled ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from releasecopilot_bitbucket.webhooks import BitbucketWebhooks, signature_of

from releasecopilot_core import Delivery, Settings
from releasecopilot_core.errors import SettingsError

RECORDED = Path(__file__).parents[4] / "shared" / "payloads" / "webhooks"
A, B, C, D = (digit * 40 for digit in "abcd")
UUID = "{11111111-2222-3333-4444-555555555555}"
DECODER = BitbucketWebhooks()


def commit(sha: str, *parents: str, message: str = "RC-1 work\n") -> dict[str, Any]:
    return {
        "type": "commit",
        "hash": sha,
        "date": "2026-11-23T17:00:00+00:00",
        "author": {"type": "author", "raw": "Ann <ann@acme.example>"},
        "committer": {},
        "message": message,
        "parents": [{"type": "commit", "hash": parent} for parent in parents],
    }


def branch(name: str, sha: str, *, kind: str = "branch") -> dict[str, Any]:
    return {"type": kind, "name": name, "target": {"type": "commit", "hash": sha}}


def push(*changes: Any) -> dict[str, Any]:
    repository = {"type": "repository", "uuid": UUID, "full_name": "acme/api", "name": "api"}
    return {"push": {"changes": list(changes)}, "repository": repository, "actor": {"type": "user"}}


def change(old: Any, new: Any, *commits: Any, **more: Any) -> dict[str, Any]:
    flags = {"created": old is None, "closed": new is None, "forced": False, "truncated": False}
    return {"old": old, "new": new, **flags, **({"commits": list(commits)} if commits else {}), **more}


def delivered(payload: Any, event: str = "repo:push", **headers: str) -> Delivery:
    return Delivery(headers={"x-event-key": event, **headers}, body=json.dumps(payload).encode(), payload=payload)


def told(payload: Any, event: str = "repo:push") -> Any:
    """Return the one batch that a delivery tells."""
    (batch,) = DECODER.decode(delivered(payload, event))
    return batch


# --- proof ---------------------------------------------------------------------------------------------------


def test_signature_is_an_hmac_of_the_raw_body() -> None:
    """RFC 4231, test case 2, with Bitbucket's prefix."""
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature_of(b"what do ya want for nothing?", "Jefe") == f"sha256={digest}"


GOOD, OLD, BAD = "s3cret", "0ld", "wr0ng"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"x-hub-signature": signature_of(b"{}", GOOD)}, True),
        ({"x-hub-signature": signature_of(b"{}", OLD)}, True),
        ({"x-webhook-secret": GOOD}, True),
        ({"x-webhook-secret": OLD}, True),
        ({"x-hub-signature": signature_of(b"{}", GOOD), "x-webhook-secret": GOOD}, True),
        ({"x-hub-signature": signature_of(b"{}", GOOD), "x-webhook-secret": BAD}, False),
        ({"x-hub-signature": signature_of(b"{}", BAD), "x-webhook-secret": GOOD}, False),
        ({"x-hub-signature": signature_of(b"{ }", GOOD)}, False),
        ({"x-hub-signature": signature_of(b"{}", GOOD).removeprefix("sha256=")}, False),
        ({"x-hub-signature": signature_of(b"{}", GOOD).upper()}, False),
        ({"x-hub-signature": ""}, False),
        ({"x-hub-signature-256": signature_of(b"{}", GOOD)}, False),
        ({"x-webhook-secret": "\udcff"}, False),
        ({}, False),
    ],
)
def test_each_proof_that_is_there_must_be_right(headers: dict[str, str], passes: bool) -> None:
    """A wrong proof loses even beside a right one, and none is none."""
    assert DECODER.verify(Delivery(headers=headers, body=b"{}"), [GOOD, OLD]) is passes


def test_secrets_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two while rotating; without credentials nothing can be repaired, and no secret shows."""
    monkeypatch.setenv("ONE", GOOD)
    section: dict[str, Any] = {"workspace": "acme", "webhook_secret": ["${ONE}", "literal"]}
    opened = BitbucketWebhooks.from_settings(Settings({"bitbucket": section}))
    assert (list(opened.secrets), opened.can_repair) == ([GOOD, "literal"], False)
    assert GOOD not in repr(opened)
    section["credentials"] = {"access_token": "${ONE}"}
    assert BitbucketWebhooks.from_settings(Settings({"bitbucket": section})).can_repair
    section["credentials"] = {"access_token": "${UNSET}"}
    assert not BitbucketWebhooks.from_settings(Settings({"bitbucket": section})).can_repair
    assert BitbucketWebhooks.from_settings(Settings()) == BitbucketWebhooks()


def test_unset_webhook_secret_is_one_clear_line() -> None:
    """Serving without the proof that was configured would be worse than not serving."""
    settings = Settings({"bitbucket": {"workspace": "acme", "webhook_secret": "${UNSET}"}}, origin="s.yaml")
    with pytest.raises(
        SettingsError, match=r"s\.yaml: bitbucket\.webhook_secret: environment variable UNSET is not set"
    ):
        BitbucketWebhooks.from_settings(settings)


# --- events --------------------------------------------------------------------------------------------------


def test_event_may_come_in_the_body() -> None:
    """A relay cannot always set headers."""
    payload = {**push(), "event_key": "repo:push"}
    assert DECODER.identify(Delivery(headers={"x-request-uuid": "r"}, body=b"", payload=payload)) == ("repo:push", "r")
    assert DECODER.identify(Delivery(headers={}, body=b"", payload={"event_key": 7})) == (None, None)


@pytest.mark.parametrize("event", ["repo:fork", "issue:created", "pullrequest:comment_created", "", "REPO:PUSH"])
def test_other_events_tell_nothing(event: str) -> None:
    """They are ignored, whatever their body."""
    assert DECODER.decode(delivered({"anything": 1}, event)) == ()


# --- pushes --------------------------------------------------------------------------------------------------


def test_update_tells_commits_and_a_stale_branch() -> None:
    """The commits of the body are the branch's own along first parents; the rest is announced."""
    merge = commit(C, B, D)
    batch = told(push(change(branch("feature/RC-9", A), branch("feature/RC-9", C), merge, commit(B, A), commit(D, A))))
    assert (batch.repository.uuid, batch.repository.full_name) == (UUID, "acme/api")
    own = {c.sha: {(s.branch, s.via, s.own) for s in c.sightings} for c in batch.commits}
    assert own == {
        C: {("feature/RC-9", "webhook", True)},
        B: {("feature/RC-9", "webhook", True)},
        D: {("feature/RC-9", "webhook", False)},
    }
    assert {c.files_status for c in batch.commits} == {"owed"}
    announced = batch.stale_branches["feature/RC-9"]
    assert (announced.reason, announced.target, announced.base) == ("pushed", C, A)
    assert (batch.walk, batch.walk_ended, batch.deleted_branches) == (None, None, ())


@pytest.mark.parametrize(
    ("value", "reason", "target", "base"),
    [
        (change(None, branch("x", B), commit(B, A), commit(A)), "created", B, None),
        (change(branch("x", A), branch("x", B), commit(B), forced=True), "rewritten", B, A),
        (change(branch("x", A), branch("x", B), commit(B), truncated=True), "pushed, more than the body carries", B, A),
        (change(branch("x", A), branch("x", B), commits=None), "pushed", B, A),
        (change(branch("x", A), branch("x", B)), "pushed", B, A),
        (change(branch("x", A), None), "deleted", None, None),
        (change(branch("x", A, kind="named_branch"), branch("x", B, kind="named_branch")), "pushed", B, A),
    ],
)
def test_kinds_of_change(value: dict[str, Any], reason: str, target: str | None, base: str | None) -> None:
    """Creation, rewriting, truncation, deletion, and bodies without `commits`."""
    announced = told(push(value)).stale_branches["x"]
    assert (announced.reason, announced.target, announced.base) == (reason, target, base)


def test_changes_of_one_push_go_together() -> None:
    """Several branches, and the same commit on two of them; tags in between tell nothing."""
    tag = {"type": "tag", "name": "v1", "target": {"hash": A}}
    batch = told(
        push(
            change(branch("x", A), branch("x", B), commit(B, A)),
            change(None, tag, commit(A)),
            change(branch("y", A), branch("y", B), commit(B, A)),
        )
    )
    assert sorted(batch.stale_branches) == ["x", "y"]
    assert {(c.sha, s.branch) for c in batch.commits for s in c.sightings} == {(B, "x"), (B, "y")}


@pytest.mark.parametrize("changes", [[], [change(None, {"type": "tag", "name": "v1", "target": {"hash": A}})]])
def test_push_without_branches_tells_nothing(changes: list[Any]) -> None:
    """`changes` may be empty, and a push of tags is not ours."""
    assert DECODER.decode(delivered(push(*changes))) == ()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "repo:push: repository: expected an object"),
        ({"repository": {"uuid": UUID, "full_name": "acme/api"}}, "push.changes: expected a list"),
        (push(7), r"push.changes\[0\]: expected an object, not int"),
        (push(change(None, branch("x", "abc"))), r"push.changes\[0\]: target of branch 'x': expected 40 hexadecimal"),
        (push(change(None, branch("", A))), "a branch without a name"),
        (push(change(branch("x", A), branch("x", B), {"hash": None})), "commit.hash: expected 40 hexadecimal digits"),
    ],
)
def test_body_that_lacks_what_matters_says_where(payload: dict[str, Any], message: str) -> None:
    """It is an error of the body's, with the place in it."""
    with pytest.raises(ValueError, match=message):
        DECODER.decode(delivered(payload))


# --- pull requests -------------------------------------------------------------------------------------------


def pull_request(**changes: Any) -> dict[str, Any]:
    request = {
        "type": "pullrequest",
        "id": 7,
        "title": "RC-7 Round taxes",
        "state": "OPEN",
        "author": {"type": "user", "display_name": "Ann"},
        "source": {"branch": {"name": "feature/x"}, "commit": {"hash": A[:12]}, "repository": {"uuid": UUID}},
        "destination": {"branch": {"name": "main"}, "commit": {"hash": B[:12]}, "repository": {"uuid": UUID}},
        "merge_commit": None,
        "updated_on": "2026-11-23T17:00:00.123456+00:00",
        **changes,
    }
    return {"pullrequest": request, "repository": push()["repository"], "actor": {"type": "user"}}


def test_pull_request_is_kept_and_its_commits_are_announced() -> None:
    """The title is there at once; hashes have twelve digits, and there is no list of commits."""
    batch = told(pull_request(), "pullrequest:created")
    (request,) = batch.pull_requests
    assert (request.id, request.title, request.state, request.author) == (7, "RC-7 Round taxes", "OPEN", "Ann")
    assert (request.source_branch, request.destination_branch) == ("feature/x", "main")
    assert batch.stale_pull_requests[7].target == A[:12]
    assert batch.stale_branches == {}


def test_merge_makes_the_destination_stale_too() -> None:
    """The push of the merge may be lost."""
    batch = told(pull_request(state="MERGED", merge_commit={"hash": C[:12]}), "pullrequest:fulfilled")
    assert batch.pull_requests[0].merge_commit == C[:12]
    assert list(batch.stale_branches) == ["main"]


@pytest.mark.parametrize("part", ["source", "destination", "author", "merge_commit", "updated_on", "title"])
def test_pull_request_may_lack_all_but_its_number(part: str) -> None:
    """Forks go, accounts go: null and absent parts are unknown."""
    body = pull_request(**{part: None})
    assert told(body, "pullrequest:rejected").pull_requests[0].id == 7
    del body["pullrequest"][part]
    assert told(body, "pullrequest:rejected").pull_requests[0].id == 7


@pytest.mark.parametrize("number", [None, "7", 0, -1, True, 2**70])
def test_pull_request_without_a_number_is_refused(number: Any) -> None:
    """Everything hangs on it."""
    with pytest.raises(ValueError, match=r"pullrequest\.id: expected a number"):
        DECODER.decode(delivered(pull_request(id=number), "pullrequest:updated"))


# --- recorded and mangled ------------------------------------------------------------------------------------

EVENTS = {"push": "repo:push", "pr": "pullrequest:updated", "HookPush": "repo:push"}
FILES = sorted(RECORDED.glob("*.json")) if RECORDED.is_dir() else []


@pytest.mark.skipif(not FILES, reason="the recorded payloads are not beside this checkout")
def test_recorded_deliveries_are_understood() -> None:
    """Every recorded body is decoded; each push of a branch names a stale branch, each pull request itself."""
    for file in FILES:
        payload = json.loads(file.read_text(encoding="utf-8"))
        batches = DECODER.decode(delivered(payload, "repo:push" if "push" in payload else "pullrequest:updated"))
        if "_tag_" in file.name:
            assert batches == ()
            continue
        (batch,) = batches
        assert batch.stale_branches if "push" in payload else batch.pull_requests[0].title


def bodies() -> list[tuple[str, dict[str, Any]]]:
    full = push(
        change(branch("x", A), branch("x", B), commit(B, A)), change(None, branch("y", C), commit(C), truncated=True)
    )
    return [("repo:push", full), ("pullrequest:updated", pull_request(merge_commit={"hash": C[:12]}))]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(A),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def mangled(data: st.DataObject, value: Any) -> Any:
    """Return a copy in which one place is replaced or missing."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(value)))
        rest = {name: inner for name, inner in value.items() if name != key}
        return (
            rest if data.draw(st.booleans()) and data.draw(st.booleans()) else {**rest, key: mangled(data, value[key])}
        )
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], mangled(data, value[place]), *value[place + 1 :]]
    return data.draw(JUNK)


@given(data=st.data())
def test_mangled_body_is_decoded_or_refused(data: st.DataObject) -> None:
    """Whatever is missing, null or of another type: batches, or a ValueError that says where."""
    event, body = data.draw(st.sampled_from(bodies()))
    for _ in range(data.draw(st.integers(1, 3))):
        body = mangled(data, body)
    if not isinstance(body, dict):
        return
    reason = ""
    try:
        batches = DECODER.decode(delivered(body, event))
    except ValueError as error:
        reason, batches = str(error), ()
    assert not reason or reason.startswith(event)
    assert all(batch.repository is not None for batch in batches)
