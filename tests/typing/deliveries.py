"""The builders of deliveries that tests of web frameworks take: a module is as good as an object."""

from __future__ import annotations

import releasecopilot_bitbucket.testing

from releasecopilot_core.testing import DeliveryKit

kit: DeliveryKit = releasecopilot_bitbucket.testing
