"""Whatever is done to a workspace: what a complete scan says is so. The long run is `nox -s soak`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from machine import WorkspaceMachine

TestCompleteness = WorkspaceMachine.TestCase
TestCompleteness.settings = settings(
    max_examples=8, stateful_step_count=16, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
