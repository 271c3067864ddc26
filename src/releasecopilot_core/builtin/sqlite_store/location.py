"""Tell a database file from a URL that another plugin may know."""

from __future__ import annotations

import re

# A scheme has two letters or more, so that `C:\data\commits.db` is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def path_of(url: str) -> str | None:
    """Return the file that a path or an `sqlite:` URL names, or `None` for another scheme."""
    match = _SCHEME.match(url)
    if match is None:
        return url
    if match[1].lower() != "sqlite":
        return None
    rest = url[match.end() :]
    # sqlite:///x is relative and sqlite:////x absolute, as SQLAlchemy users expect; sqlite:x is x.
    return rest[3:] if rest.startswith("///") else rest
