"""List commits: `include` and `exclude` as the walk wants them, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from releasecopilot_core.walking import Page

from .api import Api
from .payloads import commit_of

#: Of everything in a commit object, what is kept; without `next` in it there would be one page only.
FIELDS = "values.hash,values.date,values.message,values.author.raw,values.parents.hash,next"
PAGE_LENGTH = "100"

#: Longer lists of shas go into a form: servers and proxies refuse URLs of 8,000 characters, some much earlier.
LONGEST_QUERY = 1_800


@attrs.frozen
class ApiHistory:
    """The history of one repository over `/commits`; `path` is its address below the base URL."""

    api: Api
    path: str

    def pages(self, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Page]:
        """Yield what is reachable from `include` and not from `exclude`. See `releasecopilot_core.walking.History`."""
        chosen = [("include", sha) for sha in include] + [("exclude", sha) for sha in exclude]
        parameters = [("pagelen", PAGE_LENGTH), ("fields", FIELDS)]
        is_long = sum(len(name) + len(sha) + 2 for name, sha in chosen) > LONGEST_QUERY
        listing = (
            self.api.pages(f"{self.path}/commits", parameters, form=chosen)
            if is_long
            else self.api.pages(f"{self.path}/commits", [*parameters, *chosen])
        )
        for values, last in listing:
            yield Page(tuple(commit_of(value) for value in values), last)
