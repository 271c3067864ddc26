"""Rate limits as callers see them: the 429, and headers that tell how much is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from .answers import Answer
from .faults import Quota


def limited(quota: Quota, headers: str | None, retry_after: str | None) -> Answer:
    """Return a 429: plain text, usually without `Retry-After` (SharpBucket, issue 108).

    Of `Retry-After`, which no page of Atlassian's mentions, both forms are seen (constructorfabric/insight).
    """
    answer = Answer(429, "Rate limit for this resource has been exceeded", quota_headers(quota, headers))
    kind, _, number = (retry_after or "absent").partition(":")
    if kind == "seconds":
        answer.headers["Retry-After"] = number
    elif kind == "date":
        moment = datetime.now(UTC) + timedelta(seconds=int(number))
        answer.headers["Retry-After"] = format_datetime(moment, usegmt=True)
    return answer


def quota_headers(quota: Quota, variant: str | None) -> dict[str, str]:
    """Return the headers of a rate limit, in one of three variants.

    `seconds`, the default, was seen in August 2026 on anonymous calls: the limit is no bare number, and the reset counts
    seconds to go. `scaled` is what Atlassian documents for access tokens of large workspaces. Everybody else may get
    none: `absent`.
    """
    if variant == "absent":
        return {}
    if variant == "scaled":
        near = quota.remaining < quota.limit * 0.2
        return {
            "X-RateLimit-Limit": str(quota.limit),
            "X-RateLimit-Resource": "api-repositories",
            "X-RateLimit-NearLimit": str(near).lower(),
        }
    return {
        "X-RateLimit-Limit": f"{quota.limit}, {quota.limit};w={int(quota.window)}",
        "X-RateLimit-Remaining": str(quota.remaining),
        "X-RateLimit-Reset": str(int(quota.reset) + 1),
    }
