"""The `git` section of the settings; nothing in it is required."""

from __future__ import annotations

from typing import Literal

import attrs

from releasecopilot_core import Settings

from .locating import is_url
from .log import Detail


def _not_negative(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1_000_000_000:
        raise ValueError(f"{attribute.name} must be 0 or above, not {value:g}")


def _all_named(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not all(name.strip() for name in value):
        raise ValueError(f"{attribute.name} holds an empty name; take it out, or write the name")


@attrs.frozen(kw_only=True)
class GitSettings:
    """What is configured for git repositories.

    `repositories` are paths and URLs, for scans that name none. `default_branches` are names or globs in which `*` crosses
    `/`; empty means each main branch. `renames` and `line_counts` need the contents of files: URLs are then cloned whole.
    `cache_days` is how long a clone stays that is not used; `cache_limit_mb` bounds all of them together.
    """

    repositories: tuple[str, ...] = attrs.field(default=(), validator=_all_named)
    default_branches: tuple[str, ...] = attrs.field(default=(), validator=_all_named)
    files: Literal["auto", "git", "none"] = "auto"
    renames: bool = False
    line_counts: bool = False
    cache: str = "temp_data/git/clones"
    cache_limit_mb: float = attrs.field(default=2_000.0, validator=_not_negative)
    cache_days: float = attrs.field(default=30.0, validator=_not_negative)

    def __attrs_post_init__(self) -> None:
        for text in self.repositories:
            if is_url(text) and "@" in text and ":" in text.partition("://")[2].rpartition("@")[0]:
                raise ValueError(
                    "repositories: a password must not stand in an address; give it to a credential helper"
                )
        if not self.cache:
            raise ValueError("cache is empty; name a folder")

    def detail(self, files: str) -> Detail:
        """Return what is read of each commit in a scan with this mode of files."""
        return Detail(files=files != "none", renames=self.renames, lines=self.line_counts)


def git_settings(settings: Settings) -> GitSettings:
    """Return the `git` section.

    Raises:
        SettingsError: something in it is wrong.
    """
    return settings.section("git", GitSettings)
