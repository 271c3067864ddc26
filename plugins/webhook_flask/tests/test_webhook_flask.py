"""Flask: the contract in gunicorn and waitress, and what is particular to Flask."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from releasecopilot_bitbucket import testing
from releasecopilot_webhook_flask import register_bitbucket_webhook

from releasecopilot_core import CommitStorage
from releasecopilot_core.testing import Served, WebhookContract

SECRETS = ("first-s3cret", "second-s3cret")
LIMIT = 40_000

EMBEDDED = f"""
from flask import Flask
from releasecopilot_core import CommitStorage
from releasecopilot_webhook_flask import register_bitbucket_webhook

app = Flask(__name__)
storage = CommitStorage("commits.db")
register_bitbucket_webhook(app, storage=storage, secret={SECRETS}, settings={{"webhooks": {{"body_limit": {LIMIT}}}}})
"""


@pytest.fixture(scope="module")
def in_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a file as people do: two worker processes, which each open the database."""
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "embedded.py").write_text(EMBEDDED)
    command = [sys.executable, "-m", "gunicorn", "--workers=2", "--threads=4", "--bind=127.0.0.1:0", "--no-control-socket"]
    with subprocess.Popen([*command, "embedded:app"], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = None
            while found is None:
                found = re.search(r"Listening at: (http://\S+)", process.stderr.readline())
            with CommitStorage(folder / "commits.db") as seen:
                yield Served(
                    url=found[1], path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen
                )
        finally:
            process.terminate()
            process.communicate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def in_waitress(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an application that registered the webhook."""
    path = tmp_path_factory.mktemp("waitress") / "commits.db"
    app = Flask(__name__)
    with CommitStorage(path) as storage, CommitStorage(path) as seen:
        register_bitbucket_webhook(
            app, storage=storage, secret=list(SECRETS), settings={"webhooks": {"body_limit": LIMIT}}
        )
        with serving(app) as url:
            yield Served(url=url, path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen)


class TestContractInGunicorn(WebhookContract):
    """Everything that is asked of a framework, in gunicorn."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, in_gunicorn: Served) -> Served:
        return in_gunicorn


class TestContractInWaitress(WebhookContract):
    """Everything that is asked of a framework, in waitress."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, in_waitress: Served) -> Served:
        return in_waitress
