"""The runbook's snippets, as they stand, in fresh processes; and which framework is meant."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import inspect
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import releasecopilot_webhook_fastapi
import releasecopilot_webhook_flask
from services.webhooks.bitbucket import register_bitbucket_webhook

from releasecopilot_core import CommitStorage
from releasecopilot_core.errors import UsageError

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = {
    "fastapi": next(text for text in README.read_text(encoding="utf-8").split("```python\n") if "FastAPI()" in text),
    "flask": next(
        text for text in README.read_text(encoding="utf-8").split("```python\n") if "Flask(__name__)" in text
    ),
}
SERVERS = {
    "fastapi": ["-m", "uvicorn", "runbook:app", "--host=127.0.0.1", "--port={port}"],
    "flask": ["-m", "gunicorn", "runbook:app", "--bind=127.0.0.1:{port}"],
}
SECRET = "s3cret"

both = pytest.mark.parametrize("framework", ["fastapi", "flask"])


@pytest.fixture
def folder(tmp_path: Path, framework: str) -> Path:
    """Return a folder with the runbook's file."""
    (tmp_path / "runbook.py").write_text(SNIPPETS[framework].partition("```")[0])
    (tmp_path / "gunicorn.conf.py").write_text("control_socket_disable = True  # later versions have one")
    return tmp_path


ENVIRONMENT = {**os.environ, "BITBUCKET_WEBHOOK_SECRET": SECRET}


@both
def test_snippet_runs_as_it_stands(folder: Path, framework: str) -> None:
    """Served as people do it, it takes a signed push into the database that it names, and refuses an unsigned one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, *(part.format(port=port) for part in SERVERS[framework])]
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log) as process,
    ):
        try:
            assert _post(port, {"X-Event-Key": "repo:push"}) == (401, "rejected")
            digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
            signed = {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={digest}"}
            assert _post(port, signed) == (202, "stored")
            assert _post(port, {"X-Event-Key": "repo:push", "X-Webhook-Secret": SECRET}) == (202, "duplicate")
        finally:
            process.terminate()
            process.wait(20)
    with CommitStorage(folder / "data" / "bitbucket" / "commits.db", create=False) as storage:
        assert [row["hash"] for row in storage.commits()] == ["b" * 40]
    assert SECRET not in (folder / "log.txt").read_text()


@both
def test_other_framework_is_not_imported(folder: Path, framework: str) -> None:
    """It need not be installed."""
    (other,) = {"fastapi", "flask"} - {framework}
    script = f"import runbook, sys; print({other!r} in sys.modules, {framework!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False True\n"


def test_derived_classes_count(tmp_path: Path) -> None:
    """What an application's class is derived from decides."""
    from fastapi import FastAPI
    from flask import Flask

    class Ours(FastAPI):
        pass

    class Theirs(Flask):
        pass

    theirs = Theirs("app")
    with CommitStorage(tmp_path / "commits.db") as storage:
        with register_bitbucket_webhook(Ours(), storage=storage, secret=SECRET) as webhook:
            assert (webhook.path, webhook.is_proving) == ("/webhooks/bitbucket", True)
        with register_bitbucket_webhook(theirs, storage=storage, secret=SECRET, path="/hooks"):
            assert "/hooks" in {rule.rule for rule in theirs.url_map.iter_rules()}


def test_both_plugins_take_the_same() -> None:
    """Whoever changes the framework changes an import: arguments, defaults and what is told of them are alike."""
    signatures, texts = [], []
    for module in (releasecopilot_webhook_fastapi, releasecopilot_webhook_flask):
        function = module.register_bitbucket_webhook
        parameters = inspect.signature(function).parameters
        signatures.append([(p.name, p.kind, p.default, p.annotation) for p in parameters.values() if p.name != "app"])
        texts.append(str(inspect.getdoc(function)).partition("\n\n")[2].partition("Returns")[0])
    assert len(signatures[0]) > 5
    assert signatures[0] == signatures[1]
    assert texts[0] == texts[1]


def test_anything_else_is_refused() -> None:
    """The line says what is expected."""
    with pytest.raises(UsageError, match=re.escape("app: expected a FastAPI or Flask application, not dict")):
        register_bitbucket_webhook({}, secret=SECRET)


BODY = json.dumps(
    {
        "push": {
            "changes": [
                {
                    "old": {"type": "branch", "name": "main", "target": {"hash": "a" * 40}},
                    "new": {"type": "branch", "name": "main", "target": {"hash": "b" * 40}},
                    "commits": [{"hash": "b" * 40, "message": "RC-1 work", "parents": [{"hash": "a" * 40}]}],
                }
            ]
        },
        "repository": {"uuid": "{11111111-1111-1111-1111-111111111111}", "full_name": "acme/api"},
    }
).encode()


def _post(port: int, headers: dict[str, str]) -> tuple[int, Any]:
    """Send the push, waiting for the server to come up."""
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/webhooks/bitbucket", BODY, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["status"]
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            connection.close()
