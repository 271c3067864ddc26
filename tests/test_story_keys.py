"""The built-in extractor: which keys it finds in which texts, and the laws that it keeps."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releasecopilot_core import StoryKey, story_keys_of
from releasecopilot_core.builtin.jira_keys.extract import keys_in
from releasecopilot_core.builtin.jira_keys.ignored import GROUPS
from releasecopilot_core.builtin.jira_keys.settings import StoryKeySettings
from releasecopilot_core.errors import SettingsError

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "story-keys.md"

with (HERE / "story_keys.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file, strict=True))

# What one writes first, and what the traps are made for.
NAIVE = re.compile(r"[A-Z][A-Z0-9]+-\d+")

#: Pieces that mean something to the rules, so that hypothesis meets their edges, and anything else.
PIECES = st.sampled_from(
    [
        "RC-12",
        "MOB-3",
        "UTF-8",
        "RC",
        "rc-7",
        "-",
        "_",
        ".",
        "/",
        " ",
        "\n",
        "@",
        "%20",
        "${",
        "1.0",
        "2024-05-01",
        "12",
        "é",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=8).map("".join)
ALNUM = st.characters(categories=["L", "N"])
SETTINGS: list[dict[str, list[str]]] = [
    {},
    {"projects": ["RC", "MOB"]},
    {"ignore_also": ["MOB", "RC-12"]},
    {"ignore": []},
]


def found(settings: dict[str, Any] | None = None, **texts: Any) -> set[str]:
    return {key.key for key in story_keys_of(**texts, settings={"story_keys": settings or {}})}


# --- the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=[f"line{n}-{row['why']}" for n, row in enumerate(ROWS, start=1)])
def test_row_of_the_table(row: dict[str, str]) -> None:
    """Each row's text, read as the kind of text that it is, names exactly the expected keys."""
    settings = {name: row[name].split() for name in ("projects", "ignore_also") if row[name]}

    keys = story_keys_of(**{row["where"]: row["text"]}, settings={"story_keys": settings})

    assert keys == [StoryKey(key, row["where"], "jira-keys") for key in sorted(row["expected"].split())]


def test_table_is_large_and_mostly_traps() -> None:
    """At least 170 different cases, at least half of which tempt a naive pattern or have nothing to find."""
    traps = [
        row for row in ROWS if not row["expected"] or set(NAIVE.findall(row["text"])) - set(row["expected"].split())
    ]
    cases = {tuple(row[name] for name in ("text", "where", "projects", "ignore_also")) for row in ROWS}

    assert len(cases) == len(ROWS) >= 170
    assert len(traps) * 2 >= len(ROWS)
    assert all(row["why"] and row["where"] in ("message", "branch", "pr_title") for row in ROWS)


# --- origin ------------------------------------------------------------------------------------------------------


def test_each_key_has_its_origin_and_plugin() -> None:
    """A key is given once for each kind of text that names it, with the plugin's name."""
    keys = story_keys_of(message="RC-12", branch=["RC-12-fix", "RC-13"], pr_title="RC-12 and RC-14")

    assert keys == [
        StoryKey("RC-12", "branch", "jira-keys"),
        StoryKey("RC-12", "message", "jira-keys"),
        StoryKey("RC-12", "pr_title", "jira-keys"),
        StoryKey("RC-13", "branch", "jira-keys"),
        StoryKey("RC-14", "pr_title", "jira-keys"),
    ]


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"projects": ["rc"]}, "did you mean 'RC'?"),
        ({"projects": ["R"]}, "'R' is not a Jira project key"),
        ({"projects": ["RC-12"]}, "'RC-12' is not a Jira project key"),
        ({"projects": ["1RC"]}, "a letter first"),
        ({"projects": ["ÄRC"]}, "'ÄRC' is not a Jira project key"),
        ({"projects": ["RC\n"]}, "is not a Jira project key"),
        ({"projects": "RC"}, "expected a list"),
        ({"ignore_also": ["UTF 8"]}, "ignore_also: 'UTF 8'"),
        ({"ignore": ["UTF-08"]}, "ignore: 'UTF-08'"),
        ({"project": ["RC"]}, "did you mean 'projects'?"),
    ],
)
def test_wrong_settings_are_one_clear_error(settings: dict[str, Any], part: str) -> None:
    """A wrong name is refused before any text is read, in one line that says where and what."""
    with pytest.raises(SettingsError) as caught:
        found(settings, message="nothing to find")

    assert part in str(caught.value)
    assert "story_keys" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ignore_replaces_the_built_in_list() -> None:
    """With `ignore` only its own entries are ignored, and none with an empty one."""
    assert found({"ignore": ["RC"]}, message="UTF-8 and RC-12") == {"UTF-8"}
    assert found({"ignore": []}, message="UTF-8, CVE-12 and RC-12") == {"UTF-8", "CVE-12", "RC-12"}
    assert found({"ignore": ["RC"], "ignore_also": ["MOB"]}, message="UTF-8 RC-1 MOB-2") == {"UTF-8"}


def test_settings_are_read_once() -> None:
    """What is derived from the settings is kept with them, and the settings stay frozen and equal by value."""
    settings = StoryKeySettings(projects=("RC",))

    assert settings.ignored is settings.ignored
    assert settings == StoryKeySettings(projects=("RC",))
    with pytest.raises(AttributeError):
        settings.projects = ()


# --- laws --------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.text(), st.sampled_from(SETTINGS))
def test_any_text_is_read_without_an_error(
    message: str, branch: str, title: str, settings: dict[str, list[str]]
) -> None:
    """Whatever is written, the answer is a set of well-formed keys."""
    for key in found(settings, message=message, branch=branch, pr_title=title):
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+-[1-9][0-9]{0,6}", key)


@given(TEXTS, st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=3), st.sampled_from(SETTINGS))
def test_finding_in_all_is_finding_in_each(
    message: str, branches: list[str], titles: list[str], settings: dict[str, list[str]]
) -> None:
    """Reading several texts finds what reading each by itself finds, origins included, in whatever order."""
    given_settings = {"story_keys": settings}

    together = story_keys_of(message=message, branch=branches[::-1], pr_title=titles[::-1], settings=given_settings)

    apart = set(story_keys_of(message=message, settings=given_settings))
    for branch in branches:
        apart |= set(story_keys_of(branch=branch, settings=given_settings))
    for title in titles:
        apart |= set(story_keys_of(pr_title=title, settings=given_settings))
    assert together == sorted(apart)


@given(TEXTS, TEXTS, st.sampled_from(SETTINGS))
def test_lines_are_read_by_themselves(above: str, below: str, settings: dict[str, list[str]]) -> None:
    """A line break joins nothing and parts nothing: a message has the keys of its lines."""
    lines = f"{above}\n{below}".split("\n")

    assert found(settings, message=f"{above}\n{below}") == set().union(
        *(found(settings, message=line) for line in lines)
    )


@given(ALNUM, st.sampled_from(SETTINGS), st.sampled_from(["message", "branch", "pr_title"]))
def test_a_key_is_never_inside_a_word(letter: str, settings: dict[str, list[str]], where: str) -> None:
    """Any letter or digit right before or right after a key makes it part of a word."""
    assert "RC-12" not in found(settings, **{where: f"{letter}RC-12"})
    assert "RC-12" not in found(settings, **{where: f"RC-12{letter}"})


@given(st.lists(st.booleans(), min_size=5, max_size=5), st.sampled_from(["", "feature/", "fix_", "x-"]))
def test_an_allowed_key_is_found_in_any_case_in_a_branch(upper: list[bool], before: str) -> None:
    """Under an allow-list a branch's case does not matter, and the key is stored in upper case."""
    project = "".join(c.upper() if up else c for c, up in zip("my_rc", upper, strict=True))

    assert found({"projects": ["MY_RC"]}, branch=f"{before}{project}-12-login") == {"MY_RC-12"}


@given(TEXTS)
def test_an_allow_list_only_allows_what_it_names(text: str) -> None:
    """No other project's key is found, in whatever text."""
    assert {key.split("-")[0] for key in found({"projects": ["MOB"]}, message=text, branch=text)} <= {"MOB"}


@given(TEXTS)
def test_ignoring_a_project_takes_nothing_but_its_keys(text: str) -> None:
    """What is found with another project ignored is what was found without its keys."""
    without = {key for key in found({}, message=text) if not key.startswith("ZZZ-")}

    assert found({"ignore_also": ["ZZZ"]}, message=text) == without


# --- size --------------------------------------------------------------------------------------------------------

HOSTILE = [
    "A_",
    "AB-1-",
    "-1",
    "AB-1.",
    "A",
    "A-",
    "AB-1_",
    "%41",
    "AB-1-1-",
    "a.",
    "RC-1 ",
    "_",
    "-",
    "AB-1@",
    "AB-1+",
    "1_",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_anything_comes_to_an_end(unit: str) -> None:
    """A million characters that tempt a pattern to try again and again are read, and name hardly anything."""
    text = (unit * 1_000_000)[:1_000_000]

    for settings in (StoryKeySettings(), StoryKeySettings(projects=("RC", "AB"))):
        for branch in (False, True):
            assert keys_in(text, settings, branch=branch) <= {"AB-1", "RC-1"}


# --- documentation -----------------------------------------------------------------------------------------------


def test_documented_ignore_list_is_the_one_in_force() -> None:
    """The table in docs/story-keys.md has the groups and entries of the code, in its order."""
    section = DOCS.read_text(encoding="utf-8").split("## The built-in ignore list", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][1:]

    documented = {group.strip(): frozenset(re.findall(r"`([^`]+)`", entries)) for group, entries in rows}

    assert documented == GROUPS
    assert list(documented) == list(GROUPS)


def test_every_ignored_entry_is_ignored_and_named_once() -> None:
    """Each entry is well-formed, stands in one group, and is not found in a message."""
    entries = [entry for group in GROUPS.values() for entry in group]

    assert len(entries) == len(set(entries))
    StoryKeySettings(ignore=tuple(entries))
    assert found(message=" ".join(entry if "-" in entry else f"{entry}-12" for entry in entries)) == set()


def test_documented_example_holds() -> None:
    """The example at the top of docs/story-keys.md answers what it says."""
    keys = story_keys_of(message="RC-12 Fix the login form", branch="feature/RC-13_form")

    assert keys == [StoryKey("RC-12", "message", "jira-keys"), StoryKey("RC-13", "branch", "jira-keys")]
