"""Payloads: what Bitbucket sends, and what it might send, into commits, files, branches and repositories."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from releasecopilot_bitbucket.payloads import (
    UnexpectedPayload,
    branch_of,
    commit_of,
    file_of,
    moment_of,
    repository_of,
    split_author,
)

from releasecopilot_core import Commit, FileChange, Repository

A, B, C = "a" * 40, "b" * 40, "c" * 40
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def a_commit(**changes: Any) -> dict[str, Any]:
    """Return a commit object as `/commits` gives it."""
    user = {"type": "user", "display_name": "Ann", "nickname": "ann", "account_id": "557058:1", "uuid": "{1}"}
    return {
        "type": "commit",
        "hash": A,
        "date": "2026-11-23T12:00:00+00:00",
        "author": {"type": "author", "raw": "Ann Archer <ann@acme.example>", "user": user},
        "message": "RC-12 Fix it\n",
        "summary": {"type": "rendered", "raw": "RC-12 Fix it", "markup": "markdown", "html": "<p>…</p>"},
        "parents": [{"type": "commit", "hash": B, "links": {}}, {"type": "commit", "hash": C}],
        "links": {"self": {"href": "https://api.bitbucket.org/2.0/repositories/acme/api/commit/a"}},
        "repository": {"type": "repository", "full_name": "acme/api", "uuid": "{1}"},
        **changes,
    }


def a_change(**changes: Any) -> dict[str, Any]:
    """Return an entry of a diffstat."""
    side = {"type": "commit_file", "path": "a.py", "escaped_path": "a.py", "links": {}}
    return {
        "type": "diffstat",
        "status": "modified",
        "lines_added": 3,
        "lines_removed": 1,
        "old": side,
        "new": side,
        **changes,
    }


def a_repository(**changes: Any) -> dict[str, Any]:
    """Return a repository object."""
    return {
        "type": "repository",
        "uuid": "{11111111-1111-1111-1111-111111111111}",
        "full_name": "acme/api",
        "mainbranch": {"type": "branch", "name": "main"},
        "updated_on": "2026-11-23T12:00:00.123456+00:00",
        **changes,
    }


# --- commits -----------------------------------------------------------------------------------------------------


def test_commit_keeps_what_a_commit_object_tells() -> None:
    """Hash, author, time, message with its last line break, and parents in order are kept; files are owed."""
    assert commit_of(a_commit()) == Commit(
        sha=A,
        author="Ann Archer <ann@acme.example>",
        author_name="Ann Archer",
        author_email="ann@acme.example",
        date=NOON,
        message="RC-12 Fix it\n",
        parents=(B, C),
        files_status="owed",
    )


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ({"type": "author", "raw": "Bo <bo@acme.example>"}, ("Bo <bo@acme.example>", "Bo", "bo@acme.example")),
        ({"raw": "Bo <bo@acme.example>", "user": None}, ("Bo <bo@acme.example>", "Bo", "bo@acme.example")),
        ({"raw": "Jenkins", "user": {"display_name": "Former user"}}, ("Jenkins", "Jenkins", None)),
        ({"raw": "bo@acme.example"}, ("bo@acme.example", None, "bo@acme.example")),
        ({"raw": ""}, ("", None, None)),
        ({"raw": None}, (None, None, None)),
        ({"user": {"display_name": "Ann"}}, (None, None, None)),
        ({}, (None, None, None)),
        (None, (None, None, None)),
        ("Ann", (None, None, None)),
    ],
)
def test_author_comes_from_raw_alone(author: Any, expected: tuple[str | None, ...]) -> None:
    """The address is in `author.raw` only; an account that is absent, null or deleted changes nothing."""
    commit = commit_of(a_commit(author=author))
    assert (commit.author, commit.author_name, commit.author_email) == expected


def test_commit_without_an_author_key_has_an_unknown_author() -> None:
    """A missing key is not known, which is not the same as empty."""
    payload = a_commit()
    del payload["author"]
    assert commit_of(payload).author is None


@pytest.mark.parametrize(("parents", "expected"), [([], ()), (None, None), ("b", None), ({}, None)])
def test_parents_are_known_to_be_none_only_for_a_list(parents: Any, expected: Any) -> None:
    """An empty list is a root commit; anything that is no list leaves parents unknown."""
    assert commit_of(a_commit(parents=parents)).parents == expected


def test_missing_keys_are_unknown() -> None:
    """A commit that is only a hash is accepted, since `fields` and old payloads give no more."""
    assert commit_of({"hash": A}) == Commit(sha=A)


def test_unknown_keys_are_ignored() -> None:
    """Keys come without notice and change nothing."""
    assert commit_of(a_commit(committer={}, rendered={}, properties={}, draft=True, newest=[1])) == commit_of(
        a_commit()
    )


@pytest.mark.parametrize("sha", ["a" * 12, "a" * 39, "a" * 41, "A" * 40, "g" * 40, A + "\n", "", None, 7, [A], {}])
def test_anything_but_a_full_hash_is_refused(sha: Any) -> None:
    """Pull requests abbreviate hashes to 12 digits: they must not become commits, nor parents, nor heads."""
    with pytest.raises(UnexpectedPayload, match="commit.hash: expected 40 hexadecimal digits"):
        commit_of(a_commit(hash=sha))
    with pytest.raises(UnexpectedPayload, match=r"commit.parents.hash: expected 40"):
        commit_of(a_commit(parents=[{"hash": B}, {"hash": sha}]))
    with pytest.raises(UnexpectedPayload, match="branch: expected name and target hash"):
        branch_of({"name": "main", "target": {"hash": sha}})


def test_lone_surrogates_are_replaced() -> None:
    """JSON can carry half a character; what is kept can be stored."""
    commit = commit_of(a_commit(message="\ud800", author={"raw": "\udfff <a@b>"}))
    assert (commit.message, commit.author_name) == ("?", "?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00+00:00", NOON),
        ("2026-11-23T12:00:00.123456+00:00", NOON.replace(microsecond=123456)),
        ("2026-11-23T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T14:00:00+02:00", NOON),
        ("2026-11-23T12:00:00", NOON),
        ("2026-02-30T12:00:00+00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_790_000_000, None),
        (["2026"], None),
    ],
)
def test_moment_reads_all_forms_of_dates(text: Any, expected: datetime | None) -> None:
    """Seconds, microseconds, nanoseconds, `Z` and offsets are read as UTC; what is no time is unknown."""
    assert moment_of(text) == expected


def test_commit_dates_are_kept_in_whole_seconds() -> None:
    """A commit's time has no fraction, however it came."""
    assert commit_of(a_commit(date="2026-11-23T12:00:00.999999999Z")).date == NOON


# --- authors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, (None, None)),
        ("Ann <ann@acme.example>", ("Ann", "ann@acme.example")),
        ("  Ann   <  ann@acme.example > ", ("Ann", "ann@acme.example")),
        ("<ann@acme.example>", (None, "ann@acme.example")),
        ("Ann <>", ("Ann", None)),
        ("<>", (None, None)),
        ("Ann", ("Ann", None)),
        ("ann@acme.example", (None, "ann@acme.example")),
        ("Ann <ann@acme.example", ("Ann <ann@acme.example", None)),
        ("Ann <old@x> <ann@acme.example>", ("Ann <old@x>", "ann@acme.example")),
        ("Ann <a>b>", ("Ann <a>b>", None)),
        ("Ann\n<ann@acme.example>", ("Ann", "ann@acme.example")),
        ("Ann, Bo", ("Ann, Bo", None)),
        ("   ", (None, None)),
    ],
)
def test_split_author_gives_name_and_address(raw: str | None, expected: tuple[str | None, str | None]) -> None:
    """Either is unknown when it is not there."""
    assert split_author(raw) == expected


WORDS = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), max_size=12)


@given(name=WORDS, email=WORDS)
def test_split_author_undoes_joining(name: str, email: str) -> None:
    """What git joins to `Name <mail>` comes apart again."""
    assert split_author(f"{name} <{email}>") == (name.strip() or None, email.strip() or None)


@given(raw=st.text() | st.text(alphabet="<>@ab( \n\t\"',."))
def test_split_author_invents_nothing(raw: str) -> None:
    """Name and address are parts of the text, trimmed and never empty."""
    for part in split_author(raw):
        assert part is None or (part and part in raw and part == part.strip())


@pytest.mark.parametrize(
    "raw", [" " * 200_000, "a" + " " * 200_000 + "b", "<" * 200_000, "(" * 200_000 + "@", "@" * 200_000]
)
def test_split_author_is_not_held_up_by_long_texts(raw: str) -> None:
    """People write what they like into the author; a long text costs no more than its length."""
    name, email = split_author(raw)
    assert email is None
    assert name in (None, raw)


# --- files -------------------------------------------------------------------------------------------------------


def side(path: str) -> dict[str, str]:
    return {"type": "commit_file", "path": path}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (a_change(), FileChange("a.py", "modified", None, 3, 1)),
        (a_change(status="added", old=None), FileChange("a.py", "added", None, 3, 1)),
        (a_change(status="removed", new=None), FileChange("a.py", "removed", None, 3, 1)),
        (a_change(status="renamed", old=side("old.py")), FileChange("a.py", "renamed", "old.py", 3, 1)),
        (a_change(status="modified", old=side("old.py")), FileChange("a.py", "modified", None, 3, 1)),
        (a_change(lines_added=0, lines_removed=0), FileChange("a.py", "modified", None, 0, 0)),
        (a_change(lines_added=None, lines_removed="1"), FileChange("a.py", "modified")),
        (a_change(lines_added=True, lines_removed=-1), FileChange("a.py", "modified")),
        (a_change(status="merge conflict"), FileChange("a.py", "modified", None, 3, 1)),
        (a_change(status="subrepo conflict", old=None), FileChange("a.py", "modified", None, 3, 1)),
        (a_change(status=None), FileChange("a.py", "modified", None, 3, 1)),
        (a_change(status=["added"]), FileChange("a.py", "modified", None, 3, 1)),
        ({"new": {"path": "ü.txt"}}, FileChange("ü.txt", "modified")),
        (a_change(new={"path": "x\ud800"}), FileChange("x?", "modified", None, 3, 1)),
    ],
)
def test_file_keeps_status_paths_and_counts(payload: Any, expected: FileChange) -> None:
    """The four documented statuses are kept, all others are modified; only a rename has an old path."""
    assert file_of(payload) == expected


@pytest.mark.parametrize(
    "sides", [{"old": None, "new": None}, {"old": {}, "new": {"path": ""}}, {"old": "a", "new": 7}]
)
def test_change_without_any_path_is_refused(sides: dict[str, Any]) -> None:
    """Without a path there is nothing to tell."""
    with pytest.raises(UnexpectedPayload, match="neither old nor new has a path"):
        file_of(a_change(**sides))


# --- repositories and branches -------------------------------------------------------------------------------------


def test_repository_keeps_what_identifies_it() -> None:
    """The change mark `updated_on` is kept as it was written."""
    assert repository_of(a_repository(), "bitbucket") == Repository(
        source="bitbucket",
        uuid="{11111111-1111-1111-1111-111111111111}",
        full_name="acme/api",
        main_branch="main",
        updated_on="2026-11-23T12:00:00.123456+00:00",
    )


@pytest.mark.parametrize("main", [None, {}, "main", {"name": None}, {"name": 7}, []])
def test_repository_without_a_main_branch_is_accepted(main: Any) -> None:
    """`mainbranch` is null while a repository is empty."""
    assert repository_of(a_repository(mainbranch=main), "bitbucket").main_branch is None


def test_uuid_is_kept_in_braces() -> None:
    """A webhook header's uuid has no braces and means the same repository."""
    bare = repository_of(a_repository(uuid="11111111-1111-1111-1111-111111111111"), "bitbucket")
    assert bare == repository_of(a_repository(), "bitbucket")


@pytest.mark.parametrize("changes", [{"uuid": None}, {"uuid": ""}, {"full_name": None}, {"full_name": ""}, {"uuid": 7}])
def test_repository_without_its_identity_is_refused(changes: dict[str, Any]) -> None:
    """Everything else hangs on uuid and full name."""
    with pytest.raises(UnexpectedPayload, match="expected uuid and full_name"):
        repository_of(a_repository(**changes), "bitbucket")


def test_branch_gives_name_and_head() -> None:
    """Names keep their slashes."""
    assert branch_of({"type": "branch", "name": "release/1.4", "target": {"hash": A}, "heads": []}) == (
        "release/1.4",
        A,
    )


@pytest.mark.parametrize("payload", [{}, {"name": "main"}, {"name": "main", "target": None}, {"target": {"hash": A}}])
def test_branch_without_name_or_target_is_refused(payload: dict[str, Any]) -> None:
    """Half a branch is none."""
    with pytest.raises(UnexpectedPayload, match="branch"):
        branch_of(payload)


# --- anything ----------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=20) | st.sampled_from([A, B[:12], "x\ud800"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
PARSERS = {
    "commit": (commit_of, a_commit()),
    "change": (file_of, a_change(status="renamed", old=side("old.py"))),
    "repository": (lambda payload: repository_of(payload, "bitbucket"), a_repository()),
    "branch": (branch_of, {"name": "main", "target": {"hash": A, "date": None}}),
}


def mangled(draw: st.DrawFn, value: Any) -> Any:
    """Return a copy in which some values are replaced and some keys are missing."""
    if draw(st.integers(0, 5)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        return {key: mangled(draw, inner) for key, inner in value.items() if draw(st.integers(0, 9))}
    if isinstance(value, list):
        return [mangled(draw, inner) for inner in value]
    return value


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
def test_mangled_payload_is_read_or_refused(name: str, data: st.DataObject) -> None:
    """Wrong types, nulls and missing keys give a result that can be told on, or `UnexpectedPayload` in one short line."""
    parse, whole = PARSERS[name]
    payload = data.draw(st.composite(lambda draw: mangled(draw, whole))())
    try:
        result = parse(payload)
    except UnexpectedPayload as error:
        kept, refusal = (), str(error)
    else:
        kept, refusal = result if isinstance(result, tuple) else attrs.astuple(result), ""
    assert len(refusal) <= 300
    assert "\n" not in refusal
    for text in kept:  # half characters could be neither stored nor sent
        assert not isinstance(text, str) or text == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("parse", [parse for parse, _ in PARSERS.values()], ids=PARSERS)
@pytest.mark.parametrize("payload", [None, 7, "x", [], [{}], True, 1.5])
def test_what_is_no_object_is_refused(parse: Any, payload: Any) -> None:
    """The message names the type that came."""
    with pytest.raises(UnexpectedPayload, match=f"expected an object, not {type(payload).__name__}"):
        parse(payload)


def test_deeply_nested_payload_is_refused() -> None:
    """A body that is nested thousands of levels deep is no reason to fall over."""
    deep: Any = A
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(UnexpectedPayload):
        commit_of({"hash": deep})
