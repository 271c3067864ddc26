"""The default extractor: Jira-style story keys in messages, branch names and pull-request titles. Hooks only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from releasecopilot_core import hookimpl

if TYPE_CHECKING:
    from releasecopilot_core import Commit, Settings, StoryKey


@hookimpl
def rc_story_keys(commit: Commit, settings: Settings) -> list[StoryKey]:
    """Return the Jira keys in the commit's texts, by the rules of the settings section `story_keys`."""
    from .extract import story_keys

    return story_keys(commit, settings)
