"""Everything installed together: fixtures for tests over real repositories, HTTP and databases."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from workspaces import Workspace

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start `command &` so, and all children would ignore the Ctrl-C that tests send them.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fast", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("fast")


@pytest.fixture
def make_workspace(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Workspace]]:
    """Return a function that makes a fresh workspace with its own sandbox each time."""
    monkeypatch.setenv("SANDBOX_TOKEN", "s3cret-token")
    made: list[Workspace] = []
    # The same for all workspaces of a test: equal histories have equal hashes.
    now = datetime.now(UTC)

    def make() -> Workspace:
        workspace = Workspace(tmp_path_factory.mktemp("workspace"), now)
        workspace.sandbox.start()
        made.append(workspace)
        return workspace

    yield make
    for workspace in made:
        workspace.sandbox.stop()


@pytest.fixture
def workspace(make_workspace: Callable[[], Workspace]) -> Workspace:
    """Return one workspace."""
    return make_workspace()


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: Any) -> Iterator[Workspace]:
    """Return one workspace for all tests of a module that only read."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    with workspace.sandbox:
        yield workspace
