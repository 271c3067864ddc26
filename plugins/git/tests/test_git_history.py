"""History for the walk: the set that git lists, children first, while git is at work; and what is not there."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_git.files import file_lists
from releasecopilot_git.history import GitHistory, IncompleteHistory, shallow_edge
from releasecopilot_git.log import Detail
from releasecopilot_git.running import Git, GitError, Processes
from releasecopilot_git.testing import FILE, Drawn, Repository, histories

from releasecopilot_core.errors import CommitsVanished
from releasecopilot_core.walking import Page

GONE = "0123456789" * 4


def shas_of(history: GitHistory, include: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    return [commit.sha for page in history.pages(include, exclude) for commit in page.commits]


@settings(max_examples=25)
@given(drawn=histories(most=12), data=st.data())
def test_listing_is_that_of_rev_list(
    new_repository: Callable[..., Repository],
    read: Callable[[Repository], Git],
    drawn: list[Drawn],
    data: st.DataObject,
) -> None:
    """What is included and not excluded, each once, a child never behind its parent, with one last page."""
    repository = new_repository()
    shas = repository.write(drawn)
    include, exclude = (data.draw(st.lists(st.sampled_from(shas), min_size=n, max_size=3, unique=True)) for n in (1, 0))
    length = data.draw(st.integers(1, 5))
    pages = list(GitHistory(read(repository), page_length=length).pages(include, exclude))
    found = [commit for page in pages for commit in page.commits]
    assert {commit.sha for commit in found} == set(repository.reachable(*include, *(f"^{sha}" for sha in exclude)))
    assert len({commit.sha for commit in found}) == len(found)
    places = {commit.sha: place for place, commit in enumerate(found)}
    assert all(places[p] > places[c.sha] for c in found for p in c.parents or () if p in places)
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(len(page.commits) == length for page in pages[:-1])


def test_nothing_to_list_is_one_last_page(repository: Repository, read: Any) -> None:
    """A walk of what is known already ends at once."""
    repository.line(3)
    head = repository.head("main")
    (page,) = GitHistory(read(repository)).pages([head], [head])
    assert (page.commits, page.last) == ((), True)


@given(wanted=st.lists(st.sampled_from(["1" * 40, "2" * 40, "f" * 40]), min_size=1, unique=True), where=st.booleans())
@settings(max_examples=6)
def test_all_that_vanished_is_named(
    new_repository: Callable[..., Repository], read: Callable[[Repository], Git], wanted: list[str], where: bool
) -> None:
    """Commits that are not there are told by their hashes, all of them, included or excluded."""
    repository = new_repository()
    repository.line(3)
    head = repository.head("main") or ""
    include, exclude = ([head, *wanted], []) if where else ([head], wanted)
    with pytest.raises(CommitsVanished) as caught:
        shas_of(GitHistory(read(repository)), include, exclude)
    assert caught.value.shas == set(wanted)


def test_what_is_no_commit_vanished_too(repository: Repository, read: Any) -> None:
    """A hash of a tree is no place to begin at."""
    repository.line(1)
    tree = repository.git("rev-parse", "main^{tree}").strip()
    with pytest.raises(CommitsVanished):
        shas_of(GitHistory(read(repository)), [tree, GONE], [])


def test_broken_repository_is_told_in_one_line(repository: Repository, read: Any) -> None:
    """When objects in the middle are lost, what could be read came, and the error says so in git's words."""
    shas = repository.write([Drawn((n - 1,) if n else (), changes={b"a": (FILE, b"%d" % n)}) for n in range(6)])
    repository.git("repack", "-adq")
    repository.git("unpack-objects", "-q", given=_moved_pack(repository.path))
    victim = repository.path / "objects" / shas[2][:2] / shas[2][2:]
    victim.unlink()
    with pytest.raises(GitError, match=r"^git log failed: [^\n]+$") as caught:
        shas_of(GitHistory(read(repository), page_length=2), [shas[5]])
    assert caught.value.kind == "git"


def _moved_pack(path: Path) -> bytes:
    (pack,) = (path / "objects" / "pack").glob("*.pack")
    content = pack.read_bytes()
    for file in pack.parent.iterdir():
        file.unlink()
    return content


# --- streaming -------------------------------------------------------------------------------------------------


@pytest.fixture
def long(repository: Repository) -> Repository:
    """Return a repository whose log is several megabytes long."""
    repository.line(6_000, message=b"RC-%d A change\n" + b"and why it was made\n" * 20)
    return repository


def test_first_page_comes_while_git_still_runs(long: Repository, read: Any, processes: Processes) -> None:
    """A page is there before git is done, and closing the listing ends git at once."""
    pages = GitHistory(read(long), page_length=10).pages([long.head("main") or ""], [])
    with closing(pages):
        assert len(next(pages).commits) == 10
        assert processes.running == 1
    assert processes.running == 0


def test_closing_from_elsewhere_ends_a_listing(long: Repository, read: Any, processes: Processes) -> None:
    """Whoever closes the source ends git, and the listing says that it was stopped."""
    pages = GitHistory(read(long), page_length=10).pages([long.head("main") or ""], [])
    next(pages)
    processes.close()
    with pytest.raises(Exception, match="the scan was stopped") as caught:
        list(pages)
    assert getattr(caught.value, "kind", "") == "stopped"


def test_memory_does_not_grow_with_history(long: Repository, read: Any) -> None:
    """Reading 6,000 commits holds no more of them than reading 600."""
    git, head = read(long), long.head("main") or ""

    def peak(commits: int) -> int:
        exclude = [] if commits == 6_000 else [long.git("rev-parse", f"main~{commits}").strip()]
        tracemalloc.start()
        try:
            count = 0
            for page in GitHistory(git, Detail(), page_length=100).pages([head], exclude):
                count += len(page.commits)
            assert count == commits
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(6_000) < 2 * peak(3_000)
    assert peak(6_000) < 12_000_000


# --- shallow clones --------------------------------------------------------------------------------------------


@pytest.fixture
def shallow(new_repository: Callable[..., Repository], tmp_path: Path) -> tuple[Repository, Repository]:
    """Return a repository and a clone of it that has its latest three commits."""
    whole = new_repository()
    whole.line(10)
    path = tmp_path / "shallow.git"
    subprocess.run(["git", "clone", "-q", "--bare", "--depth=3", whole.path.as_uri(), str(path)], check=True)
    clone = Repository.__new__(Repository)
    clone.path = path
    return whole, clone


def test_shallow_clone_ends_without_a_last_page(shallow: Any, read: Any) -> None:
    """Its oldest commit keeps its true parents, its files stay owed, and the listing says that it is not the end."""
    whole, clone = shallow
    shas = whole.reachable("main")
    pages: list[Page] = []
    with pytest.raises(IncompleteHistory, match="what lies behind 1 commit is missing; run `git fetch --unshallow`"):
        pages.extend(GitHistory(read(clone)).pages([shas[0]], []))
    assert [page.last for page in pages] == [False]
    commits = pages[0].commits
    assert [commit.sha for commit in commits] == shas[:3]
    assert [commit.parents for commit in commits] == [(sha,) for sha in shas[1:4]]
    assert [commit.files_status for commit in commits] == ["known", "known", "owed"]
    assert shallow_edge(read(clone)) == {shas[2]: (shas[3],)}


def test_shallow_clone_can_be_listed_above_its_edge(shallow: Any, read: Any) -> None:
    """What is wanted is all there: the listing ends as any other."""
    whole, clone = shallow
    shas = whole.reachable("main")
    assert shas_of(GitHistory(read(clone)), [shas[0]], [shas[2]]) == shas[:2]


def test_file_lists_of_single_commits(shallow: Any, read: Any) -> None:
    """They are those of the listing; commits that are gone, or at a shallow clone's edge, are left out."""
    whole, clone = shallow
    shas = whole.reachable("main")
    listed = {c.sha: c.files for page in GitHistory(read(whole)).pages([shas[0]], []) for c in page.commits}
    found = {commit.sha: commit for commit in file_lists(read(whole), [*shas, GONE], Detail())}
    assert {sha: commit.files for sha, commit in found.items()} == listed
    assert {commit.message for commit in found.values()} == {None}
    assert {commit.sha for commit in file_lists(read(clone), [*shas, GONE], Detail())} == set(shas[:2])
    assert list(file_lists(read(clone), [shas[2]], Detail())) == []
