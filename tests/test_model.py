"""The merge law of the model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from releasecopilot_core import Commit, FileChange, Sighting, Window
from releasecopilot_core.testing import strategies
from releasecopilot_core.testing.strategies import SHAS

one_commit = strategies.commits(sha=SHAS[0])


@given(one_commit)
def test_merging_is_idempotent(a: Commit) -> None:
    """Seeing a commit again tells nothing new."""
    assert a.merge(a) == a


@given(one_commit, one_commit)
def test_merging_is_commutative(a: Commit, b: Commit) -> None:
    """The order of sightings does not matter."""
    assert a.merge(b) == b.merge(a)


@given(one_commit, one_commit, one_commit)
def test_merging_is_associative(a: Commit, b: Commit, c: Commit) -> None:
    """The grouping of sightings does not matter."""
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@given(one_commit, one_commit)
def test_nothing_known_is_lost(a: Commit, b: Commit) -> None:
    """Known beats unknown, and sets grow."""
    merged = a.merge(b)
    for name in ("author", "date", "message", "parents", "files"):
        if getattr(a, name) is not None:
            assert getattr(merged, name) is not None
    assert merged.story_keys == a.story_keys | b.story_keys
    assert {s.place for s in merged.sightings} == {s.place for s in a.sightings | b.sightings}


@given(one_commit, one_commit)
def test_file_lists_are_never_united(a: Commit, b: Commit) -> None:
    """A list is replaced whole: uniting two would invent a commit."""
    assert a.merge(b).files in (a.files, b.files)


def test_line_counts_beat_paths_only() -> None:
    """The more detailed list wins, whichever came first."""
    paths = Commit(sha=SHAS[0], files=(FileChange("a", "added"), FileChange("b", "added")))
    counted = Commit(sha=SHAS[0], files=(FileChange("a", "added", None, 1, 0),))
    assert paths.merge(counted).files == counted.files
    assert counted.merge(paths).files == counted.files


def test_refused_files_stay_refused_until_they_are_known() -> None:
    """`unobtainable` beats `owed`, or each scan would ask again; `known` beats all."""
    owed, refused = Commit(sha=SHAS[0]), Commit(sha=SHAS[0], files_status="unobtainable")
    assert owed.merge(refused).files_status == "unobtainable"
    assert refused.merge(Commit(sha=SHAS[0], files=())).files_status == "known"


def test_seen_at_is_first_and_last() -> None:
    """Two sightings at one place are one, from the first to the last time."""
    early = datetime(2026, 11, 23, 10, tzinfo=UTC)
    a, b = (
        Commit(sha=SHAS[0], sightings=frozenset({Sighting("{1}", early + timedelta(hours=h), "main")})) for h in (5, 0)
    )
    (seen,) = a.merge(b).sightings
    assert (seen.seen_at, seen.last_seen_at) == (early, early + timedelta(hours=5))


def test_different_commits_do_not_merge() -> None:
    """Two shas are two commits."""
    with pytest.raises(ValueError, match="cannot merge"):
        Commit(sha=SHAS[0]).merge(Commit(sha=SHAS[1]))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)), st.integers(-14, 14))
def test_times_are_kept_in_utc_and_whole_seconds(naive: datetime, hours: int) -> None:
    """Whatever the offset, the same moment is stored; a naive time is refused."""
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    kept = Commit(sha=SHAS[0], date=moment).date
    assert kept is not None
    assert kept.utcoffset() == timedelta(0)
    assert abs(kept - moment) < timedelta(seconds=1)
    with pytest.raises(ValueError, match="no time zone"):
        Commit(sha=SHAS[0], date=naive)


@given(st.text())
def test_any_text_can_be_stored(text: str) -> None:
    """Lone surrogates, which JSON can carry, become question marks; all else stays."""
    kept = Commit(sha=SHAS[0], message=text).message
    assert kept is not None
    kept.encode("utf-8")
    assert kept == text or any("\ud800" <= character <= "\udfff" for character in text)


def test_branches_that_only_contain_a_commit_do_not_speak_for_it() -> None:
    """Only a branch's own commits get its name as a text."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    commit = Commit(
        sha=SHAS[0],
        message="fix",
        sightings=frozenset(
            {
                Sighting("{1}", now, branch="feature/RC-9"),
                Sighting("{1}", now, branch="feature/RC-10", own=True),
                Sighting("{1}", now, pull_request=1, title="RC-11 title"),
            }
        ),
    )
    assert commit.texts == ("fix", "feature/RC-10", "RC-11 title")


def test_window_holds_its_ends() -> None:
    """A window is closed on both sides, and an unknown date is in none."""
    end = datetime(2026, 11, 23, 17, tzinfo=UTC)
    window = Window.last(4, until=end)
    assert window.hours == 4
    assert end in window
    assert window.start in window
    assert window.start - timedelta(seconds=1) not in window
    assert None not in window


def test_nouns_are_frozen() -> None:
    """What travels cannot be changed on the way."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Commit(sha=SHAS[0]).sha = "x"
