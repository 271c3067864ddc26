"""What a path or URL stands for: the same repository by whatever name, and one line for what is none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
from releasecopilot_git.locating import Location, is_url, located
from releasecopilot_git.refs import refs_of, refs_told
from releasecopilot_git.running import Git, Processes
from releasecopilot_git.selecting import change_mark, select_repositories
from releasecopilot_git.testing import ENVIRONMENT, Repository

from releasecopilot_core.errors import SourceError, UnknownNameError, UsageError
from releasecopilot_core.selecting import select_branches


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "protocol.file.allow=always")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with one commit on `main`."""
    folder = tmp_path / "acme" / "api"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--initial-branch=main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "RC-1")
    return folder


def refs(location: Location, processes: Processes) -> Any:
    assert location.directory is not None
    return refs_of(Git(location.directory, processes), checkout=location.checkout)


# --- paths -----------------------------------------------------------------------------------------------------


def test_any_folder_of_a_checkout_is_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The top, a folder inside, the `.git` folder, a relative path and a link: one repository."""
    (checkout / "src" / "deep").mkdir(parents=True)
    (checkout.parent.parent / "link").symlink_to(checkout)
    monkeypatch.chdir(checkout / "src")
    names = (str(checkout), ".", "deep", "..", str(checkout / ".git"), f"{checkout}/", "../../../link")
    assert {located(name) for name in names} == {Location(checkout.as_uri(), "acme/api", None, checkout / ".git", True)}


def test_bare_repository_is_named_without_its_ending(repository: Repository) -> None:
    """`repositories/api.git` is called so without `.git`; it has no files checked out."""
    found = located(str(repository.path))
    assert (found.directory, found.checkout) == (repository.path, False)
    assert found.full_name == f"{repository.path.parent.name}/api"
    assert found == attrs.evolve(located(repository.path.as_uri()), url=None, directory=repository.path)


def test_linked_work_tree_is_the_repository_that_it_is_linked_to(checkout: Path, tmp_path: Path) -> None:
    """Branches are those of the repository, wherever they are checked out."""
    git(checkout, "worktree", "add", "-q", str(tmp_path / "other"), "-b", "feature/x")
    assert located(str(tmp_path / "other")) == located(str(checkout))


def test_submodule_is_a_repository_of_its_own(checkout: Path, tmp_path: Path, processes: Processes) -> None:
    """It is called as the folder that it is checked out in, although git keeps it elsewhere."""
    whole = tmp_path / "whole"
    whole.mkdir()
    git(whole, "init", "-q")
    git(whole, "submodule", "add", "-q", str(checkout), "libs/api")
    found = located(str(whole / "libs" / "api"))
    assert (found.uuid, found.full_name, found.checkout) == ((whole / "libs" / "api").as_uri(), "libs/api", True)
    assert refs(found, processes).main == "main"


@pytest.mark.parametrize("name", ["empty", "a file.txt"])
def test_folder_without_a_repository(tmp_path: Path, name: str) -> None:
    """A folder, or a file, that is in no repository is named."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file.txt").write_text("")
    with pytest.raises(SourceError, match=r"no git repository here; check the path$") as caught:
        located(str(tmp_path / name))
    assert caught.value.kind == "not-found"


def test_names_with_odd_characters(tmp_path: Path, processes: Processes) -> None:
    """A path may hold anything that a file system takes, bytes that are no text included."""
    for name in ("größe €", "a:b", "-x", "50% off", "new\nline", b"\xff\xfe".decode("utf-8", "surrogateescape")):
        folder = tmp_path / name
        repository = Repository(folder)
        repository.line(1)
        found = located(str(folder))
        assert found.full_name.encode().decode().startswith(f"{tmp_path.name}/")
        assert found.uuid.isascii()
        assert refs(found, processes).main == "main"


# --- URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "https://git.example.com/acme/api.git", "https://git.example.com/acme/api", "https://git.example.com/acme/api/",
    "https://ann@git.example.com/acme/api.git", "https://GIT.example.com:443//acme/api.git", "ssh://git@git.example.com/acme/api.git",
    "ssh://git.example.com:22/acme/api", "git@git.example.com:acme/api.git", "git.example.com:acme/api", "git://git.example.com/acme/api",
])  # fmt: skip
def test_one_repository_by_many_addresses(url: str) -> None:
    """User, scheme, usual port and ending make no other repository."""
    assert located(url) == Location("git.example.com/acme/api", "acme/api", url)
    assert is_url(url)


@pytest.mark.parametrize(("url", "uuid", "name"), [
    ("https://git.example.com:8443/api.git", "git.example.com:8443/api", "git.example.com:8443/api"),
    ("https://git.example.com/a/b/c/d%20e.git", "git.example.com/a/b/c/d e", "c/d e"),
    ("file:///srv/git/acme/api.git", "file:///srv/git/acme/api.git", "acme/api"),
])  # fmt: skip
def test_other_addresses(url: str, uuid: str, name: str) -> None:
    """A port of its own counts; the name are the last two parts."""
    assert located(url) == Location(uuid, name, url)


@pytest.mark.parametrize(("url", "problem"), [
    ("ext::sh -c true", "no such path"),
    ("ext://sh", "ext: is no address to clone from; use https, ssh, git or file"),
    ("ftp://git.example.com/x", "ftp: is no address to clone from"),
    ("https://", "no host, or no path behind it"),
    ("https://git.example.com", "no host, or no path behind it"),
    ("https://[half/x", "not an address"),
    ("https://bot:s3cret@git.example.com/x", "a password must not stand in an address; give it to git's credential helper"),
])  # fmt: skip
def test_addresses_that_are_refused(url: str, problem: str) -> None:
    """One line says why, and never shows a password."""
    with pytest.raises(UsageError) as caught:
        select_repositories([url], ())
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_path_comes_before_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that looks like an address of ssh is a folder."""
    monkeypatch.chdir(tmp_path)
    Repository(tmp_path / "host:path")
    assert located("host:path").directory == tmp_path / "host:path"
    assert not is_url("host:path")


# --- which repositories ----------------------------------------------------------------------------------------


def test_configured_repositories_by_name(checkout: Path, repository: Repository) -> None:
    """They can be asked for by name, with or without folder, or by glob; each comes once."""
    configured = (str(checkout), str(repository.path), str(checkout / ".git"))
    first, second = located(str(checkout)), located(str(repository.path))
    assert select_repositories(None, configured).locations == (first, second)
    assert select_repositories(["acme/api"], configured).locations == (first,)
    assert select_repositories(["*/api"], configured).locations == (first, second)
    assert select_repositories(["api", str(checkout)], configured).locations == (first, second)


def test_repository_that_is_gone_does_not_stop_the_others(checkout: Path, tmp_path: Path) -> None:
    """A configured path without a repository is reported; one that was asked for is a mistake."""
    found = select_repositories(None, (str(tmp_path / "gone"), str(checkout)))
    assert found.locations == (located(str(checkout)),)
    assert list(found.failed) == [str(tmp_path / "gone")]
    with pytest.raises(
        UnknownNameError, match="no such path, and no configured repository of that name; there are: acme/api"
    ):
        select_repositories(["gone"], (str(checkout),))
    with pytest.raises(UnknownNameError, match="no git repository here"):
        select_repositories([str(tmp_path)], ())


def test_nothing_to_scan() -> None:
    """Without a name and without settings, it says what to do."""
    with pytest.raises(UsageError, match="nothing to scan; name a path or URL"):
        select_repositories(None, ())


# --- branches --------------------------------------------------------------------------------------------------


def test_main_branch_of_a_bare_repository_is_its_head(repository: Repository, read: Any) -> None:
    """Whatever it is called."""
    repository.line(1)
    repository.line(1, branch="develop")
    repository.git("symbolic-ref", "HEAD", "refs/heads/develop")
    assert refs_of(read(repository), checkout=False).main == "develop"
    repository.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    assert refs_of(read(repository), checkout=False).main is None


def test_main_branch_of_a_checkout_is_not_the_feature_worked_on(
    checkout: Path, tmp_path: Path, processes: Processes
) -> None:
    """`origin` knows it best, then a usual name; what is checked out counts when there is nothing else."""
    git(checkout, "switch", "-q", "-c", "feature/x")
    assert refs(located(str(checkout)), processes).main == "main"
    git(checkout, "branch", "-q", "-m", "main", "stable")
    assert refs(located(str(checkout)), processes).main == "feature/x"
    git(checkout, "switch", "-q", "stable")
    git(tmp_path, "clone", "-q", str(checkout), "clone")
    git(tmp_path / "clone", "switch", "-q", "-c", "main")
    assert refs(located(str(tmp_path / "clone")), processes).main == "stable"
    git(tmp_path / "clone", "switch", "-q", "--detach")
    assert refs(located(str(tmp_path / "clone")), processes).main == "stable"


def test_empty_repository_has_no_branches(repository: Repository, read: Any) -> None:
    """An unborn branch is none."""
    found = refs_of(read(repository), checkout=False)
    assert (dict(found.tips), found.main) == ({}, None)


def test_branches_that_point_nowhere_are_left_out(repository: Repository, read: Any) -> None:
    """A ref to a lost commit, or to a file, is nobody's branch."""
    repository.line(2)
    blob = repository.git("hash-object", "-w", "--stdin", given=b"x").strip()
    for name, sha in (("lost", "1" * 40), ("blob", blob), ("größe", repository.head("main") or "")):
        (repository.path / "refs" / "heads" / name).write_text(f"{sha}\n")
    assert dict(refs_of(read(repository), checkout=False).tips) == {
        "größe": repository.head("main"),
        "main": repository.head("main"),
    }


def test_server_tells_branches_and_main_branch() -> None:
    """As `git ls-remote --symref` prints them; a detached HEAD tells no main branch."""
    a, b = "a" * 40, "b" * 40
    told = refs_told(f"ref: refs/heads/dev\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/dev\n{b}\trefs/heads/x/y\n".encode())
    assert (dict(told.tips), told.main) == ({"dev": a, "x/y": b}, "dev")
    assert refs_told(f"{a}\tHEAD\n{a}\trefs/heads/dev\n".encode()).main is None


def test_branches_are_chosen_in_the_patterns_order() -> None:
    """A star crosses slashes; without patterns it is the main branch."""
    names = ["main", "release/1", "release/2/fix", "feature/x"]
    assert select_branches(names, ["release/*", "main"], "main") == ("release/1", "release/2/fix", "main")
    assert select_branches(names, [], "main") == ("main",)
    assert select_branches(names, [], "trunk") == ()


def test_mark_changes_with_any_branch() -> None:
    """It depends on names and heads, and on nothing else."""
    told = refs_told(f"{'a' * 40}\trefs/heads/x\n".encode())
    other = refs_told(f"{'a' * 40}\trefs/heads/y\n".encode())
    assert change_mark(told) == change_mark(attrs.evolve(told, main="x")) != change_mark(other)
