"""Real git repositories, and stores to scan them into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from releasecopilot_git.running import Git, Processes
from releasecopilot_git.testing import Repository

from releasecopilot_core import CommitStorage

settings.register_profile("git", deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
settings.load_profile("git")


@pytest.fixture
def new_repository(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Repository]:
    """Return a function that makes an empty bare repository."""
    return lambda name="api.git", *options: Repository(tmp_path_factory.mktemp("repositories") / name, *options)


@pytest.fixture
def repository(new_repository: Callable[..., Repository]) -> Repository:
    """Return one empty bare repository."""
    return new_repository()


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Return what starts git; nothing of it may be left at the end."""
    opened = Processes()
    yield opened
    assert opened.running == 0
    opened.close()


@pytest.fixture
def read(processes: Processes) -> Callable[[Repository], Git]:
    """Return a function that opens a repository as the product does."""
    return lambda repository: Git(repository.path, processes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CommitStorage]:
    """Return an empty store."""
    with CommitStorage(tmp_path / "commits.db") as opened:
        yield opened
