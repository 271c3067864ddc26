"""The plugin's page says what is there: settings with their defaults, and every kind of problem."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import releasecopilot_git
from releasecopilot_git.settings import GitSettings

PAGE = Path(__file__).parent.parent / "README.md"
SOURCES = Path(releasecopilot_git.__file__).parent


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def test_settings_are_listed_with_their_defaults() -> None:
    """The table and the attrs class say the same."""
    listed = {key.strip("`"): default.strip("`") for key, default, _ in rows("Settings")}
    shown = {
        field.name: "[]"
        if field.default == ()
        else f"{field.default:g}"
        if isinstance(field.default, float)
        else str(field.default)
        for field in attrs.fields(GitSettings)
    }
    assert listed == shown


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.py")), ids=lambda path: path.name)
def test_kinds_of_problems_are_explained(path: Path) -> None:
    """Whoever meets one finds what to do; those that every source has are in the runbook."""
    explained = {kind for cells in rows("When something goes wrong") for kind in re.findall(r"`([a-z-]+)`", cells[0])}
    used = set(re.findall(r'kind="([a-z-]+)"', path.read_text(encoding="utf-8")))
    assert used - {"note", "stopped"} <= explained
