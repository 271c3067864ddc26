"""For authors of plugins: contracts to run against what you wrote, strategies that draw model values, and fakes.

* `StoreContract`, `SinkContract`: pytest classes; inherit, give the one fixture, and every rule of the Protocol is tried.
* `WebhookContract`: the same for what answers webhooks over HTTP, with a `DeliveryKit` that makes a service's deliveries;
  `mangled` draws bodies with something wrong in them.
* `strategies`: hypothesis strategies for commits, sightings and batches.
* `FakeSource`: a source that yields the batches it was given; `FakeHistory`: a history in memory for `BranchWalker`;
  `FakeDecoder`: a webhook decoder with the answers that it was given.

Needs `releasecopilot-core[testing]`.
"""

from __future__ import annotations

from .decoders import FakeDecoder
from .fakes import FakeHistory, FakeSource
from .mangling import mangled
from .sinks import SinkContract
from .stores import StoreContract
from .webhook_cases import DeliveryKit, Served
from .webhooks import WebhookContract

__all__ = [
    "DeliveryKit",
    "FakeDecoder",
    "FakeHistory",
    "FakeSource",
    "Served",
    "SinkContract",
    "StoreContract",
    "WebhookContract",
    "mangled",
]
