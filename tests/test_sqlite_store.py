"""The SQLite store: the contract, the tables, and what a file may be."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from releasecopilot_core import Batch, CommitStorage, Repository, StoryKey
from releasecopilot_core.builtin.sqlite_store import budgets, storage
from releasecopilot_core.builtin.sqlite_store.schema import APPLICATION_ID, VERSION, migrations
from releasecopilot_core.errors import DatabaseFormatError, MissingDatabaseError, StoreBusyError, StoreError
from releasecopilot_core.testing import StoreContract
from releasecopilot_core.testing.stores import a_batch, a_commit
from releasecopilot_core.testing.strategies import SHAS, batches

SEEN_AT = {"first_seen_at", "last_seen_at"}


class TestContract(StoreContract):
    """The SQLite store keeps the contract of all stores."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Any:
        counter = itertools.count()
        return lambda: CommitStorage(tmp_path / f"{next(counter)}.db")


def tables(store: CommitStorage, *, without: set[str] = SEEN_AT) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all tables of commits, sorted, but for some columns."""
    db = sqlite3.connect(store.path)
    names = ["commits", "commit_parents", "commit_files", "commit_branches", "commit_pull_requests",
             "pull_requests", "commit_story_keys"]  # fmt: skip
    found = {}
    for name in names:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[1] not in without]
        found[name] = sorted(db.execute(f"SELECT {', '.join(columns)} FROM {name}"), key=repr)
    db.close()
    return found


@given(data=st.data(), drawn=st.lists(batches(), max_size=4))
def test_any_order_repetition_and_split_gives_the_same_tables(
    tmp_path_factory: Any, data: st.DataObject, drawn: list[Batch]
) -> None:
    """All tables are equal, seen-at times included: first and last seen are minimum and maximum."""
    pieces = [attrs.evolve(batch, commits=(commit,)) for batch in drawn for commit in batch.commits]
    pieces += drawn
    shuffled = data.draw(st.permutations(pieces))
    folder = tmp_path_factory.mktemp("law")
    with CommitStorage(folder / "one.db") as one, CommitStorage(folder / "other.db") as other:
        for batch in drawn:
            one.apply(batch)
        for batch in shuffled:
            other.apply(batch)
        assert tables(one, without=set()) == tables(other, without=set())


@given(drawn=st.lists(batches(), max_size=4))
def test_large_batches_bring_whatever_they_refer_to(tmp_path_factory: Any, drawn: list[Batch]) -> None:
    """They are not held to the foreign keys, and would pass; all other writes are."""
    folder = tmp_path_factory.mktemp("large")
    with CommitStorage(folder / "one.db") as one, CommitStorage(folder / "other.db") as other:
        for batch in drawn:
            other.apply(batch)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(storage, "LARGE", 0)
                one.apply(batch)
            orphan = "INSERT INTO commit_story_keys VALUES ('nothing', 'RC-1', 'message', 'x')"
            with pytest.raises(sqlite3.IntegrityError), one._connection.writing() as db:
                db.execute(orphan)
        assert tables(one) == tables(other)
        with one._connection.reading() as db:
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []


@given(drawn=st.lists(batches(), max_size=4))
def test_store_merges_as_the_model_does(tmp_path_factory: Any, drawn: list[Batch]) -> None:
    """The row of a commit is what `Commit.merge` gives for all its sightings."""
    merged: dict[str, Any] = {}
    for commit in (commit for batch in drawn for commit in batch.commits):
        merged[commit.sha] = merged[commit.sha].merge(commit) if commit.sha in merged else commit
    with CommitStorage(tmp_path_factory.mktemp("model") / "m.db") as store:
        for batch in drawn:
            store.apply(batch)
        rows = {row[0]: row for row in tables(store)["commits"]}
        paths = {(sha, path) for sha, path, *_ in tables(store)["commit_files"]}
        keys = {tuple(row) for row in tables(store)["commit_story_keys"]}
    assert set(rows) == set(merged)
    for sha, commit in merged.items():
        assert rows[sha][1:4] == (commit.author, commit.author_name, commit.author_email)
        assert rows[sha][6:8] == (commit.message, commit.files_status)
    assert paths == {(sha, f.path) for sha, commit in merged.items() for f in commit.files or ()}
    assert keys == {(sha, k.key, k.origin, k.plugin) for sha, commit in merged.items() for k in commit.story_keys}


WRITER = """
import sys
from releasecopilot_core import CommitStorage
from releasecopilot_core.testing.stores import a_batch, a_commit
path, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with CommitStorage(path) as store:
    for number in range(first, 4000, step):
        sha = f"{number % 3000:040x}"
        store.apply(a_batch(a_commit(sha, f"{max(number % 3000 - 1, 0):040x}", branch=f"b{number % 7}")))
"""


def test_two_processes_write_two_thousand_batches_each(tmp_path: Path) -> None:
    """Writing at once leaves the same content as one after the other."""

    def run_writers(path: Path, *, at_once: bool) -> None:
        commands = [[sys.executable, "-c", WRITER, str(path), str(first), "2"] for first in (0, 1)]
        if at_once:
            for process in [subprocess.Popen(command) for command in commands]:
                assert process.wait() == 0
        else:
            for command in commands:
                subprocess.run(command, check=True)

    run_writers(tmp_path / "at_once.db", at_once=True)
    run_writers(tmp_path / "in_turn.db", at_once=False)
    with CommitStorage(tmp_path / "at_once.db") as one, CommitStorage(tmp_path / "in_turn.db") as other:
        assert tables(one) == tables(other)
        assert len(tables(one)["commits"]) == 3000


FORKING = """
import os, sys
from releasecopilot_core import CommitStorage
from releasecopilot_core.testing.stores import a_batch, a_commit
store = CommitStorage(sys.argv[1])
store.apply(a_batch(a_commit(f"{0:040x}")))
inherited = store._connection.db
child = os.fork()
first = 1000 if child else 2000
for number in range(first, first + 200):
    store.apply(a_batch(a_commit(f"{number:040x}")))
assert (store._connection.db is inherited) == bool(child)
store.close()
sys.exit(os.waitpid(child, 0)[1] != 0 if child else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_store_may_be_opened_before_a_fork(tmp_path: Path) -> None:
    """Servers that load an application and then fork: each process has a connection of its own."""
    command = [sys.executable, "-c", FORKING, str(tmp_path / "c.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with CommitStorage(tmp_path / "c.db") as store:
        assert len(list(store.commits())) == 401


def test_threads_share_one_store(tmp_path: Path) -> None:
    """Several threads apply batches through one object."""
    with CommitStorage(tmp_path / "t.db") as store:

        def write(number: int) -> None:
            for sha in SHAS:
                store.apply(a_batch(a_commit(sha, branch=f"b{number}")))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tables(store)["commit_branches"]) == 4 * len(SHAS)


def test_failed_batch_leaves_nothing(tmp_path: Path) -> None:
    """A batch is one transaction: an impossible sighting in it stores none of its commits."""
    stranger = attrs.evolve(next(iter(a_commit(SHAS[1]).sightings)), repository="{other}")
    with CommitStorage(tmp_path / "t.db") as store:
        with pytest.raises(ValueError, match="sighted in"):
            store.apply(a_batch(a_commit(SHAS[0]), a_commit(SHAS[1], sightings=frozenset({stranger}))))
        assert tables(store)["commits"] == []


# --- files ---------------------------------------------------------------------------------------------------


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A database with somebody else's tables is left alone."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseFormatError, match=r"other\.db: an SQLite database of another program"):
        CommitStorage(path)
    assert path.read_bytes() == before


def test_text_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database is named."""
    path = tmp_path / "notes.txt"
    path.write_text("just some notes, long enough to be no header" * 10)
    with pytest.raises(DatabaseFormatError, match=r"notes\.txt: not an SQLite database"):
        CommitStorage(path)


@pytest.mark.parametrize("junk", [b"\xcc", b"\x00"], ids=["no text", "zeroes"])
@pytest.mark.parametrize("what", [b"CREATE TABLE", b"RC-1 0000"], ids=["schema", "data"])
def test_damaged_database_is_one_clear_line(tmp_path: Path, what: bytes, junk: bytes) -> None:
    """A page that was overwritten, of the schema or of a table, is told as damage, with what to do."""
    path = tmp_path / "c.db"

    def fill() -> None:
        with CommitStorage(path) as store:
            store.apply(a_batch(*(a_commit(f"{number:040x}") for number in range(200))))
            list(store.commits())

    fill()
    content = bytearray(path.read_bytes())
    page = content.index(what) // 4096 * 4096
    content[page + 8 : page + 4096] = junk * 4088
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"c\.db: damaged \(.*; restore it from a backup"):
        fill()


def test_newer_database_is_refused(tmp_path: Path) -> None:
    """A schema from the future says: upgrade."""
    path = tmp_path / "new.db"
    CommitStorage(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(DatabaseFormatError, match="upgrade releasecopilot-core"):
        CommitStorage(path)


def test_question_makes_no_database(tmp_path: Path) -> None:
    """With `create=False` a missing file is an error and stays missing."""
    with pytest.raises(MissingDatabaseError, match="no such database"):
        CommitStorage(tmp_path / "none.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_closed_store_says_so(tmp_path: Path) -> None:
    """Using a closed store is a `StoreError`, and closing twice is none."""
    store = CommitStorage(tmp_path / "t.db")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.heads(a_batch().repository)


def test_folder_instead_of_a_file_is_one_clear_line(tmp_path: Path) -> None:
    """A path that cannot be a file is told with its remedy."""
    with pytest.raises(StoreError, match="check that the path is a file"):
        CommitStorage(tmp_path)


def test_busy_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody holds the write lock for too long, nothing is stored and the error says why."""
    monkeypatch.setattr("releasecopilot_core.builtin.sqlite_store.connection.BUSY_SECONDS", 0.1)
    with CommitStorage(tmp_path / "t.db") as store:
        other = sqlite3.connect(store.path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="another process has held the database"):
            store.apply(a_batch(a_commit(SHAS[0])))
        other.rollback()
        other.close()
        assert store.apply(a_batch(a_commit(SHAS[0]))).new == {SHAS[0]}


def test_version_counts_the_migrations(tmp_path: Path) -> None:
    """`user_version` and `application_id` mark the file; the version is the number of migrations, in the docs as well."""
    CommitStorage(tmp_path / "t.db").close()
    db = sqlite3.connect(tmp_path / "t.db")
    assert len(list(migrations.pending(_database(db)))) == 0
    assert len(list(migrations.applied(_database(db)))) == VERSION
    assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA user_version").fetchone()[0] == VERSION
    db.close()
    text = (Path(__file__).parent.parent / "docs" / "database.md").read_text(encoding="utf-8")
    assert f"`PRAGMA user_version` is the schema version: {VERSION}," in text


def _database(db: sqlite3.Connection) -> Any:
    from sqlite_utils.db import Database

    return Database(db)


def test_documentation_lists_every_table_and_column(tmp_path: Path) -> None:
    """`docs/database.md` and the schema say the same."""
    text = (Path(__file__).parent.parent / "docs" / "database.md").read_text(encoding="utf-8")
    documented = {
        match[1]: set(re.findall(r"^\| `(\w+)` \|", match[2], re.MULTILINE))
        for match in re.finditer(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    }
    CommitStorage(tmp_path / "t.db").close()
    db = sqlite3.connect(tmp_path / "t.db")
    names = [
        name
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        if not name.startswith(("sqlite_", "_"))
    ]
    actual = {name: {row[1] for row in db.execute(f"PRAGMA table_info({name})")} for name in names}
    db.close()
    assert documented == actual


def test_summary_view_shows_lists_as_json(tmp_path: Path) -> None:
    """Dashboards read `commit_summary`: one row a commit and repository, lists as JSON arrays."""
    with CommitStorage(tmp_path / "t.db") as store:
        store.apply(a_batch(a_commit(SHAS[0]), a_commit(SHAS[0], branch="release/1.4")))
        db = sqlite3.connect(store.path)
        row = db.execute("SELECT hash, branch, branches, files_changed, modified_on FROM commit_summary").fetchall()
        db.close()
    assert [(r[0], r[1], json.loads(r[2]), json.loads(r[3]), r[4]) for r in row] == [
        (SHAS[0], "main", ["main", "release/1.4"], [], "2026-11-23T16:00:00Z")
    ]


def test_names_of_repositories_may_hold_commas(tmp_path: Path) -> None:
    """Names that come from folders may hold anything: each is one name in the list of a story's repositories."""
    with CommitStorage(tmp_path / "c.db") as store:
        for number, name in enumerate(("a, b", 'c"d')):
            commit = a_commit(f"{number:040x}").but(story_keys=frozenset({StoryKey("RC-1")}))
            seen = frozenset(attrs.evolve(sighting, repository=name) for sighting in commit.sightings)
            place = Repository(source="test", uuid=name, full_name=name)
            store.apply(Batch(repository=place, commits=(commit.but(sightings=seen),)))
        assert [row["repositories"] for row in store.stories()] == [["a, b", 'c"d']]


def test_budget_is_kept_by_all_processes_together(tmp_path: Path) -> None:
    """Each request is counted once; when the hour's are used up, the time when there is room again is told."""
    with CommitStorage(tmp_path / "t.db") as one, CommitStorage(tmp_path / "t.db") as other:
        assert [store.spend("a", 3) for store in (one, other, one)] == [None, None, None]
        assert one.spent("a") == 3
        moment = other.spend("a", 3)
        assert moment is not None
        assert timedelta(minutes=59) < moment - datetime.now(UTC) <= timedelta(minutes=61)
        assert (other.spend("b", 3), one.spent("a")) == (None, 3)


def test_budget_of_an_hour_ago_is_free_again(tmp_path: Path) -> None:
    """Minutes fall out of the budget one by one, never before they are an hour old."""
    start = datetime(2026, 11, 23, 17, 0, 30, tzinfo=UTC)
    with CommitStorage(tmp_path / "t.db") as store, store._connection.writing() as db:
        assert budgets.spend(db, "a", 2, start) is None
        assert budgets.spend(db, "a", 2, start + timedelta(minutes=10)) is None
        again = budgets.spend(db, "a", 2, start + timedelta(minutes=60))
        assert again == datetime(2026, 11, 23, 18, 1, tzinfo=UTC)
        assert budgets.spend(db, "a", 2, again) is None
        assert budgets.spend(db, "a", 2, again) is not None


def test_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """Nobody waits for a scan that was killed on this machine."""
    code = (
        "import sys; from releasecopilot_core import CommitStorage; CommitStorage(sys.argv[1]).lease('x', 'dead', 900)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.db")], check=True)
    with CommitStorage(tmp_path / "t.db") as store:
        assert store.lease("x", "alive", 900)
        assert not store.lease("x", "another", 900)
