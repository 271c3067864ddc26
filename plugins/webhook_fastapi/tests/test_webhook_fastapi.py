"""FastAPI: the contract in a real uvicorn, and what is particular to FastAPI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from releasecopilot_bitbucket import testing
from releasecopilot_webhook_fastapi import register_bitbucket_webhook

from releasecopilot_core import CommitStorage
from releasecopilot_core.testing import Served, WebhookContract

SECRETS = ("first-s3cret", "second-s3cret")
LIMIT = 40_000


@pytest.fixture(scope="module")
def server(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an application that registered the webhook."""
    path = tmp_path_factory.mktemp("fastapi") / "commits.db"
    app = FastAPI()
    with CommitStorage(path) as storage, CommitStorage(path) as seen:
        register_bitbucket_webhook(
            app, storage=storage, secret=list(SECRETS), settings={"webhooks": {"body_limit": LIMIT}}
        )
        with serving(app) as url:
            yield Served(url=url, path="/webhooks/bitbucket", secrets=SECRETS, body_limit=LIMIT, store=seen)


class TestContract(WebhookContract):
    """Everything that is asked of a framework, in uvicorn."""

    @pytest.fixture
    def kit(self) -> Any:
        return testing

    @pytest.fixture
    def served(self, server: Served) -> Served:
        return server
