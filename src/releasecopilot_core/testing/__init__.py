"""For authors of plugins: contracts to run against what you wrote, strategies that draw model values, and fakes.

* `StoreContract`, `SinkContract`: pytest classes; inherit, give the one fixture, and every rule of the Protocol is tried.
* `strategies`: hypothesis strategies for commits, sightings and batches.
* `FakeSource`: a source that yields the batches it was given; `FakeHistory`: a history in memory for `BranchWalker`.

Needs `releasecopilot-core[testing]`.
"""

from __future__ import annotations

from .fakes import FakeHistory, FakeSource
from .sinks import SinkContract
from .stores import StoreContract

__all__ = ["FakeHistory", "FakeSource", "SinkContract", "StoreContract"]
