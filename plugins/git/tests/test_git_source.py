"""Whole scans of git repositories, on disk and by URL, with git as the oracle of what must be stored."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_git.settings import GitSettings
from releasecopilot_git.source import GitSource
from releasecopilot_git.testing import Drawn, Repository, histories

from releasecopilot_core import Batch, CommitStorage, ScanRequest, Settings, Window
from releasecopilot_core import Repository as Known
from releasecopilot_core.errors import SettingsError, UnknownNameError, UsageError

NOW = datetime.fromtimestamp(1_790_000_000, UTC)
EVERYTHING = Window(NOW - timedelta(days=40_000), NOW + timedelta(days=40_000))


class Scanner:
    """Scans into one store, as the pipeline would, and answers what is in it."""

    def __init__(self, store: CommitStorage, cache: Path) -> None:
        self.store, self.cache = store, cache
        self.settings: dict[str, Any] = {}
        self._runs = itertools.count()

    def source(self) -> GitSource:
        values = {"cache": str(self.cache), **self.settings}
        return GitSource.from_settings(Settings({"git": values}))

    def request(self, *places: object, **more: Any) -> ScanRequest:
        named = tuple(str(place) for place in places) or None
        return ScanRequest(**{"window": EVERYTHING, "repositories": named, "run_id": f"run {next(self._runs)}", **more})

    def scan(self, *places: object, stop_after: int | None = None, **more: Any) -> list[Batch]:
        """Scan, or break off after so many batches were stored."""
        done: list[Batch] = []
        with (
            closing(self.source()) as source,
            closing(source.scan(self.request(*places, **more), self.store)) as batches,
        ):
            while stop_after is None or len(done) < stop_after:
                batch = next(batches, None)
                if batch is None:
                    break
                self.store.apply(batch)
                done.append(batch)
        return done

    def known(self) -> Known:
        (state,) = self.store.repositories("git")
        return state.repository

    def stored(self) -> set[str]:
        return {row["hash"] for row in self.store.commits()}

    def heads(self) -> dict[str, str]:
        return dict(self.store.heads(self.known()))


@pytest.fixture
def new_scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Scanner]]:
    """Return a function that opens a store of its own to scan into."""
    opened: list[Scanner] = []

    def make() -> Scanner:
        folder = tmp_path_factory.mktemp("scanner")
        opened.append(Scanner(CommitStorage(folder / "commits.db"), folder / "clones"))
        return opened[-1]

    yield make
    for scanner in opened:
        scanner.store.close()


@pytest.fixture
def scanner(new_scanner: Callable[[], Scanner]) -> Scanner:
    """Return one."""
    return new_scanner()


def problems(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(problem.kind, problem.message) for batch in batches for problem in batch.problems]


def statuses(batches: list[Batch]) -> list[str]:
    return [batch.scanned.status for batch in batches if batch.scanned is not None]


def assert_equal_to_git(scanner: Scanner, repository: Repository, *branches: str) -> None:
    """Hold heads, commits, parents and files to what git says of these branches."""
    heads = {name: sha for name, sha in repository.branches().items() if not branches or name in branches}
    assert scanner.heads() == heads
    expected = repository.reachable(*heads.values())
    assert set(expected) <= scanner.stored()
    assert list(scanner.store.walks(scanner.known())) == []
    assert scanner.store.owed_count(scanner.known()) == 0
    rows = {row["hash"]: row["files_changed"] for row in scanner.store.commits()}
    # git is asked for each commit on its own: of thousands, some dozens will do.
    for sha in expected[:: 1 + len(expected) // 60]:
        paths = repository.changed(sha, "--no-renames", "--name-only")
        assert set(rows[sha]) == {path.decode("utf-8", "replace") for path in paths}


# --- the law ---------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(drawn=histories(most=10), data=st.data(), by_url=st.booleans())
def test_scans_that_are_cut_off_lose_nothing(
    new_repository: Callable[..., Repository],
    new_scanner: Callable[[], Scanner],
    drawn: list[Drawn],
    data: st.DataObject,
    by_url: bool,
) -> None:
    """Branches that move anywhere between scans that break off anywhere: the last scan has all that git has."""
    repository, scanner = new_repository(), new_scanner()
    repository.configure(("uploadpack.allowFilter", "true"))
    shas = repository.write(drawn, branches={"main": len(drawn) - 1})
    place = repository.path.as_uri() if by_url else repository.path
    for _ in range(data.draw(st.integers(0, 2))):
        for branch in data.draw(st.lists(st.sampled_from(["main", "release/1", "feature/RC-9"]), unique=True)):
            repository.set(branch, data.draw(st.sampled_from(shas)))
        full, stop_after = data.draw(st.booleans()), data.draw(st.integers(0, 8))
        scanner.scan(place, branches=("*",), full=full, stop_after=stop_after)
    batches = scanner.scan(place, branches=("*",), full=True)
    assert statuses(batches) == ["complete"]
    assert_equal_to_git(scanner, repository)


# --- what is looked at -----------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "url"])
def place(request: Any, repository: Repository) -> object:
    """Name the repository by its path, or by a URL."""
    repository.configure(("uploadpack.allowFilter", "true"))
    return repository.path if request.param == "path" else repository.path.as_uri()


def test_first_contact_stops_behind_the_window(scanner: Scanner, repository: Repository, place: object) -> None:
    """As with any source: two further pages, then the older history waits for --full."""
    repository.line(4_500)
    window = Window(NOW + timedelta(minutes=4_495), NOW + timedelta(days=9))
    batches = scanner.scan(place, window=window)
    assert sum(batch.listed for batch in batches) == 3_000
    (walk,) = scanner.store.walks(scanner.known())
    assert walk.bounded
    scanner.scan(place, window=window, full=True)
    assert_equal_to_git(scanner, repository)


@pytest.mark.parametrize("gone", [True, False])
def test_history_behind_a_branch_that_is_not_wanted_any_more(
    scanner: Scanner, repository: Repository, place: object, gone: bool
) -> None:
    """Other branches left out what lies behind its head: `--full` goes on from its boundary all the same."""
    repository.line(4_500, branch="long")
    window = Window(NOW + timedelta(minutes=4_495), NOW + timedelta(days=9))
    scanner.scan(place, window=window, branches=("long",))
    repository.commit(branch="main", parents=[repository.head("long") or ""])
    scanner.scan(place, window=window, branches=("main",))
    if gone:
        repository.delete("long")
    else:
        unwanted = repository.commit(branch="long")
    assert statuses(scanner.scan(place, window=window, branches=("main",), full=True)) == ["complete"]
    assert list(scanner.store.walks(scanner.known())) == []
    assert scanner.stored() == set(repository.reachable("main"))
    assert gone or unwanted not in scanner.stored()


def test_unchanged_repository_costs_nothing(scanner: Scanner, repository: Repository, place: object) -> None:
    """When no branch has moved, no history is listed and nothing is fetched."""
    repository.line(5)
    scanner.scan(place)
    with closing(scanner.source()) as source:
        batches = list(source.scan(scanner.request(place), scanner.store))
        assert source.requests == (1 if isinstance(place, str) else 0)
    assert sum(batch.listed for batch in batches) == 0
    assert statuses(batches) == ["complete"]
    repository.commit(branch="feature/x")
    assert sum(batch.listed for batch in scanner.scan(place)) == 0
    assert sum(batch.listed for batch in scanner.scan(place, branches=("*",))) == 1
    assert_equal_to_git(scanner, repository)


def test_main_branch_first_then_all_that_match(scanner: Scanner, repository: Repository, place: object) -> None:
    """Branches are walked main first, so that a feature's commits are told from main's."""
    repository.line(4)
    repository.commit(branch="feature/RC-9", parents=[repository.reachable("main")[2]])
    repository.commit(branch="release/1", parents=[repository.head("main") or ""])
    batches = scanner.scan(place, branches=("release/*", "feature/*", "main"))
    assert [batch.walk.branch for batch in batches if batch.walk] == ["main", "release/1", "feature/RC-9"]
    (scanned,) = [batch.scanned for batch in batches if batch.scanned]
    assert scanned.branches == ("release/1", "feature/RC-9", "main")
    own = {commit.sha: commit.branches for commit, _ in scanner.store.commits_for_keys()}
    assert own[repository.head("feature/RC-9") or ""] == ("feature/RC-9",)
    assert sum("feature/RC-9" in branches for branches in own.values()) == 1


def test_deleted_and_rewritten_branches(scanner: Scanner, repository: Repository, place: object) -> None:
    """A branch that is gone is no head; after a force-push and garbage collection the new line is stored, the old one stays."""
    repository.line(30)
    repository.line(3, branch="x")
    scanner.scan(place, branches=("*",))
    lost = repository.head("main") or ""
    repository.delete("x")
    repository.set("main", repository.reachable("main")[5])
    repository.commit()
    repository.collect_garbage()
    batches = scanner.scan(place, branches=("*",))
    assert (statuses(batches), problems(batches)) == (["complete"], [])
    assert sum(batch.listed for batch in batches) <= 3
    assert_equal_to_git(scanner, repository)
    assert lost in scanner.stored()


def test_many_branches_that_stand_still_are_not_walked(scanner: Scanner, repository: Repository) -> None:
    """Only the one that has moved is asked for."""
    repository.line(2)
    head = repository.head("main") or ""
    lines = "".join(f"create refs/heads/b{number} {head}\n" for number in range(300))
    repository.git("update-ref", "--stdin", given=lines.encode())
    scanner.scan(repository.path, branches=("*",))
    repository.commit(branch="b7")
    batches = scanner.scan(repository.path, branches=("*",))
    assert [batch.walk.branch for batch in batches if batch.walk] == ["b7"]
    assert_equal_to_git(scanner, repository)


def test_files_that_were_left_out_are_read_later(scanner: Scanner, repository: Repository, place: object) -> None:
    """`none` leaves them owed; the next scan reads them, many at a time, though nothing has moved."""
    repository.line(2_200)
    scanner.scan(place, files="none")
    assert scanner.store.owed_count(scanner.known()) == 2_200
    batches = scanner.scan(place)
    assert [len(batch.commits) for batch in batches if batch.commits] == [1_000, 1_000, 200]
    assert_equal_to_git(scanner, repository)


def test_files_of_commits_that_are_gone(scanner: Scanner, repository: Repository) -> None:
    """Owed files of a commit that was collected are unobtainable, which is told and no fault."""
    repository.line(3)
    scanner.scan(repository.path, files="none")
    lost = repository.head("main") or ""
    repository.set("main", repository.reachable("main")[1])
    repository.collect_garbage()
    batches = scanner.scan(repository.path)
    assert statuses(batches) == ["complete"]
    assert [(kind, lost in message) for kind, message in problems(batches)] == [("unobtainable", True)]


def test_renames_and_line_counts_by_url(scanner: Scanner, repository: Repository) -> None:
    """They need contents, so that the clone is whole; the record has them."""
    repository.configure(("uploadpack.allowFilter", "true"))
    repository.commit(files={"a.txt": "1\n2\n3\n4\n5\n6\n"})
    repository.git("fast-import", "--quiet", given=b"commit refs/heads/main\ncommitter A <a@x> 1790000999 +0000\ndata 1\nx\n"
                   b"from refs/heads/main^0\nR a.txt b.txt\n")  # fmt: skip
    scanner.scan(repository.path.as_uri())
    scanner.settings = {"renames": True, "line_counts": True}
    with CommitStorage(scanner.cache.parent / "other.db") as store:
        other = Scanner(store, scanner.cache)
        other.settings = scanner.settings
        (changed,) = [c for batch in other.scan(repository.path.as_uri()) for c in batch.commits if c.message == "x"]
    (file,) = changed.files or ()
    assert (file.path, file.status, file.old_path, file.lines_added) == ("b.txt", "renamed", "a.txt", 0)


def test_shallow_checkout_is_partial_until_it_is_whole(
    scanner: Scanner, repository: Repository, tmp_path: Path
) -> None:
    """What is there is stored, what is missing is told; after `git fetch --unshallow` all is there."""
    repository.line(10)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth=3", repository.path.as_uri(), str(clone)], check=True)
    for _ in range(2):
        batches = scanner.scan(clone)
        assert statuses(batches) == ["partial"]
        ((kind, message),) = problems(batches)
        assert (kind, "run `git fetch --unshallow`" in message) == ("shallow", True)
        assert scanner.stored() == set(repository.reachable("main")[:3])
    subprocess.run(["git", "-C", str(clone), "fetch", "-q", "--unshallow"], check=True)
    assert statuses(scanner.scan(clone)) == ["complete"]
    assert_equal_to_git(scanner, repository)


def test_shallow_checkout_may_be_deep_enough(scanner: Scanner, repository: Repository, tmp_path: Path) -> None:
    """When the window ends before the clone does, nothing is missing."""
    repository.line(4_500)
    subprocess.run(
        ["git", "clone", "-q", "--depth=4000", repository.path.as_uri(), str(tmp_path / "clone")], check=True
    )
    window = Window(NOW + timedelta(minutes=4_495), NOW + timedelta(days=9))
    assert statuses(scanner.scan(tmp_path / "clone", window=window)) == ["complete"]


# --- what goes wrong -------------------------------------------------------------------------------------------


def test_one_repository_that_fails_does_not_stop_the_others(
    scanner: Scanner, repository: Repository, tmp_path: Path
) -> None:
    """It is reported with its name; a branch that may be in it is not called missing."""
    repository.line(3)
    scanner.settings = {"repositories": [str(tmp_path), "http://127.0.0.1:9/acme/web.git", str(repository.path)]}
    batches = scanner.scan(branches=("main", "nowhere"))
    assert batches[0].expected == 3
    assert statuses(batches) == ["failed", "failed", "complete"]
    assert [kind for kind, _ in problems(batches)] == ["not-found", "unreachable"]
    assert [batch.scanned.name for batch in batches if batch.scanned][1] == "acme/web"


def test_broken_repository_is_partial(scanner: Scanner, repository: Repository) -> None:
    """What could be read is stored, and git's own words say what is wrong."""
    repository.line(600)
    lost = repository.reachable("main")[550]
    repository.git("repack", "-adq")
    (pack,) = (repository.path / "objects" / "pack").glob("*.pack")
    content = pack.read_bytes()
    for file in pack.parent.iterdir():
        file.unlink()
    repository.git("unpack-objects", "-q", given=content)
    (repository.path / "objects" / lost[:2] / lost[2:]).unlink()
    batches = scanner.scan(repository.path)
    assert statuses(batches) == ["partial"]
    ((kind, message),) = problems(batches)
    assert (kind, message.startswith("git log failed: ")) == ("git", True)
    assert scanner.heads() == {}


def test_clone_that_breaks_while_it_is_read_is_made_anew(
    scanner: Scanner, repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """Holes that a fetch does not notice are noticed by the walk, which goes on in a new clone."""
    repository.line(30)
    url = repository.path.as_uri()
    scanner.scan(url, stop_after=3)  # a clone, and nothing stored but the first page
    (clone,) = scanner.cache.glob("*.git")
    subprocess.run(["git", f"--git-dir={clone}", "config", "core.commitGraph", "false"], check=True)
    (pack,) = (clone / "objects" / "pack").glob("*.pack")
    content = pack.read_bytes()
    for file in [*pack.parent.iterdir()]:
        file.unlink()
    subprocess.run(["git", f"--git-dir={clone}", "unpack-objects", "-q"], input=content, check=True)
    tree = repository.git("rev-parse", "main~20^{tree}").strip()
    (clone / "objects" / tree[:2] / tree[2:]).unlink()
    with CommitStorage(scanner.cache.parent / "other.db") as store:
        other = Scanner(store, scanner.cache)
        assert statuses(other.scan(url)) == ["complete"]
        assert_equal_to_git(other, repository)
    assert "a broken clone; it is made anew" in caplog.text


def test_repository_that_another_scan_holds(scanner: Scanner, repository: Repository) -> None:
    """It is left alone, and that is told; the next scan looks again."""
    repository.line(3)
    with (
        closing(scanner.source()) as source,
        closing(source.scan(scanner.request(repository.path), scanner.store)) as first,
    ):
        next(first)
        next(first)
        assert [kind for kind, _ in problems(scanner.scan(repository.path))] == ["busy"]
    assert statuses(scanner.scan(repository.path)) == ["complete"]


def test_repository_without_commits(scanner: Scanner, repository: Repository, place: object) -> None:
    """It is complete, with a note; the first commit is found by the next scan."""
    batches = scanner.scan(place)
    assert (statuses(batches), problems(batches)) == (
        ["complete"],
        [("note", "it has no branch with a commit; nothing is scanned")],
    )
    repository.commit()
    scanner.scan(place)
    assert_equal_to_git(scanner, repository)


def test_branches_that_nobody_has(scanner: Scanner, repository: Repository) -> None:
    """A branch by name that is nowhere is a problem; a pattern that chooses nothing is a note."""
    repository.line(1)
    assert [kind for kind, _ in problems(scanner.scan(repository.path, branches=("nowhere",)))] == ["note", "branch"]
    assert [kind for kind, _ in problems(scanner.scan(repository.path, branches=("x*",)))] == ["note"]


def test_requests_that_make_no_sense(scanner: Scanner, repository: Repository, tmp_path: Path) -> None:
    """They are refused before anything is scanned."""
    with pytest.raises(UsageError, match="git repositories have no API; use auto, git or none"):
        scanner.scan(repository.path, files="api")
    with pytest.raises(UnknownNameError, match="no git repository here"):
        scanner.scan(tmp_path)
    with pytest.raises(UsageError, match="nothing to scan"):
        scanner.scan()
    with pytest.raises(UsageError, match="an empty name"):
        scanner.scan("")
    assert scanner.scan(repository.path, repair=True) == []


@pytest.mark.parametrize(("section", "problem"), [
    ({"repositories": ["https://bot:s3cret@h/x"]}, "a password must not stand in an address"),
    ({"cache_limit_mb": -1}, "cache_limit_mb must be 0 or above, not -1"),
    ({"cache": ""}, "cache is empty; name a folder"),
    ({"repositories": [" "]}, "repositories holds an empty name"),
    ({"renames": "yes"}, "expected true or false"),
    ({"repos": []}, "unknown key"),
    ({"files": "api"}, "expected one of auto, git, none"),
])  # fmt: skip
def test_settings_that_make_no_sense(section: dict[str, Any], problem: str) -> None:
    """One line names the key; a password in an address is not shown."""
    with pytest.raises(SettingsError, match=problem) as caught:
        GitSource.from_settings(Settings({"git": section}))
    assert "s3cret" not in str(caught.value)


def test_nothing_needs_to_be_configured() -> None:
    """The section may be absent."""
    assert GitSettings() == Settings().section("git", GitSettings)


# --- what it would cost ----------------------------------------------------------------------------------------


def test_plan_counts_new_commits(scanner: Scanner, repository: Repository) -> None:
    """On disk they are counted; a server is asked for its branches, and nothing is fetched."""
    repository.line(7)
    with closing(scanner.source()) as source:
        (entry,) = source.plan(scanner.request(repository.path), scanner.store).entries
        assert (entry.git_operations, entry.note) == (0, "first contact, 7 commits are new")
    scanner.scan(repository.path)
    repository.commit()
    with closing(scanner.source()) as source:
        (entry,) = source.plan(scanner.request(repository.path), scanner.store).entries
        assert entry.note == "changed, 1 commits are new"
        url = repository.path.as_uri()
        first, other = source.plan(scanner.request(url, "http://127.0.0.1:9/x/y"), scanner.store).entries
        assert (first.git_operations, first.note) == (2, "changed")
        assert other.note.startswith("http://127.0.0.1:9/x/y: ")
    assert not scanner.cache.exists()
