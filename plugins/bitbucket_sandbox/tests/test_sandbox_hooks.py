"""Webhooks over the API: made, listed, changed and deleted."""

from __future__ import annotations

import re

import httpx
import pytest

BODY = {"description": "CI", "url": "https://receiver.example/hooks", "active": True, "events": ["repo:push"]}
WORKSPACE = "/workspaces/acme/hooks"


@pytest.mark.parametrize(("path", "kind"), [("hooks", "repository"), (WORKSPACE, "workspace")])
def test_make_list_and_read(api, send, path, kind):
    """A webhook is made with 201 and an encoded address; it is of its repository, or of the workspace; times end in Z."""
    answer = send("POST", path, {**BODY, "secret": "s3cret"})

    value = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == value["links"]["self"]["href"]
    assert re.search(r"/hooks/%7B[0-9a-f-]{36}%7D$", answer.headers["Location"])
    assert {key: value[key] for key in BODY} == BODY
    assert (value["subject_type"], value["subject"]["type"], value["secret_set"]) == (kind, kind, True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", value["created_at"])
    assert "s3cret" not in answer.text
    assert api.json(path)["values"] == [value]
    assert api.json(answer.headers["Location"]) == api.json(f"{path}/{value['uuid']}") == value
    assert api.json(WORKSPACE if path == "hooks" else "hooks")["values"] == []


def test_change(send):
    """What is not sent stays; the secret stays without the key, and goes with null."""
    made = send("POST", "hooks", {**BODY, "secret": "s3cret"}).json()

    kept = send(
        "PUT", f"hooks/{made['uuid']}", {"active": False, "events": ["repo:push", "pullrequest:created"]}
    ).json()
    gone = send("PUT", f"hooks/{made['uuid']}", {"url": "https://other.example/", "secret": None}).json()

    assert kept == {**made, "active": False, "events": ["repo:push", "pullrequest:created"]}
    assert gone == {**kept, "url": "https://other.example/", "secret_set": False}


def test_delete(api, send):
    """A deleted one is gone, and answers in the odd words of the service from then on."""
    made = send("POST", "hooks", BODY).json()

    done = send("DELETE", f"hooks/{made['uuid']}")
    again = send("DELETE", f"hooks/{made['uuid']}")

    assert (done.status_code, done.text) == (204, "")
    assert (again.status_code, again.json()["error"]["message"]) == (404, "api is not a valid hook")
    assert api.json("hooks")["values"] == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "receiver"}, "url"),
        ({"url": "ftp://receiver.example/"}, "url"),
        ({"url": "http://receiver.example:x/"}, "url"),
        ({"url": "http://receiver.example/\r\nX: y"}, "url"),
        ({"url": 1}, "url"),
        ({"events": None}, "events"),
        ({"events": []}, "events"),
        ({"events": "repo:push"}, "events"),
        ({"events": ["repo:pushed"]}, "events"),
        ({"active": "yes"}, "active"),
        ({"secret": "x" * 129}, "secret"),
    ],
)
def test_what_cannot_be_made(api, send, wrong, field):
    """What is missing, unknown, too long or of the wrong type is a 400 that names the key."""
    answer = send("POST", "hooks", {**BODY, **wrong})

    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == {field}
    assert api.json("hooks")["values"] == []


def test_scope(repository, serve):
    """Webhooks need a scope of their own."""
    api = serve(users={"bot@acme.example": "t"}, tokens=["x"])
    api.sandbox.set_fault("scopes", "repository:write,pullrequest:write")
    bearer = {"Authorization": "Bearer x"}

    for options in ({"auth": httpx.BasicAuth("bot@acme.example", "t")}, {"headers": bearer}):
        answer = api.get("hooks", **options)
        assert answer.status_code == 403
        assert "webhook" in answer.json()["error"]["detail"]["required"][0]


def test_state_outlives_the_process(repository, serve, tmp_path, receiver, subscribe):
    """With a folder for state, webhooks are sent and signed by the next sandbox as well."""
    first = serve(state=tmp_path / "state")
    value = subscribe(first, secret="s3cret")
    first.sandbox.stop()
    second = serve(state=tmp_path / "state")

    repository.commit()
    second.sandbox.flush(20)

    assert second.json("hooks")["values"][0]["uuid"] == value["uuid"]
    assert "X-Hub-Signature" in receiver.heard[0][0]
