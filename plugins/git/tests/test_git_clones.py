"""Clones in the cache: fetched, without contents where the server can, rebuilt when broken, locked, bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from releasecopilot_git.clones import Clones, ClonesError, lacks_contents
from releasecopilot_git.history import GitHistory
from releasecopilot_git.remote import Remote, RemoteError
from releasecopilot_git.running import Processes
from releasecopilot_git.testing import Repository

from releasecopilot_core.errors import SourceError


@pytest.fixture
def server(repository: Repository) -> Repository:
    """Return a repository that can be cloned without contents, with five commits."""
    repository.line(5)
    repository.configure(("uploadpack.allowFilter", "true"))
    return repository


@pytest.fixture
def remote(server: Repository, processes: Processes) -> Remote:
    """Return it as seen from elsewhere."""
    return Remote(server.path.as_uri(), processes)


@pytest.fixture
def cache(tmp_path: Path) -> Clones:
    """Return an empty cache."""
    return Clones(tmp_path / "clones")


def listed(cache: Clones, remote: Remote, **more: Any) -> tuple[dict[str, str], int]:
    """Return branches and number of commits that a clone shows."""
    with cache.up_to_date(remote, **more) as git:
        lines = git.run("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)").decode().splitlines()
        tips = dict(line.split(" ") for line in lines)
        found = {c.sha for page in GitHistory(git).pages(sorted(tips.values()), []) for c in page.commits}
        return tips, len(found)


def directory(cache: Clones) -> Path:
    (found,) = cache.folder.glob("*.git")
    return found


def test_clone_has_history_and_no_contents(cache: Clones, remote: Remote, server: Repository) -> None:
    """All branches and commits with their trees are there, files are not; what they changed is known all the same."""
    assert listed(cache, remote) == (server.branches(), 5)
    with cache.up_to_date(remote) as git:
        assert lacks_contents(git)
        assert list((git.directory / "objects" / "pack").glob("*.promisor"))
        assert not (git.directory / "hooks").exists()


def test_server_that_ignores_the_filter(cache: Clones, remote: Remote, server: Repository, caplog: Any) -> None:
    """It sends everything in packs that look the same; that is noticed, and everything works."""
    server.git("config", "--unset", "uploadpack.allowFilter")
    with caplog.at_level("INFO", "releasecopilot_git"):
        assert listed(cache, remote) == (server.branches(), 5)
    assert "sends file contents, asked or not" in caplog.text
    with cache.up_to_date(remote) as git:
        assert not lacks_contents(git)


def test_clone_follows_the_server(cache: Clones, remote: Remote, server: Repository) -> None:
    """New commits, new and deleted branches, a force-push, a folder in place of a branch."""
    server.line(2, branch="x")
    listed(cache, remote)
    before = sorted(directory(cache).glob("objects/pack/*.pack"))
    server.delete("x")
    server.commit(branch="x/y")
    server.commit(branch="main", parents=[server.reachable("main")[2]])
    assert listed(cache, remote) == (server.branches(), len(server.reachable("--branches")))
    assert set(before) < set(directory(cache).glob("objects/pack/*.pack"))
    assert listed(cache, remote) == (server.branches(), len(server.reachable("--branches")))


def test_contents_are_fetched_where_they_are_wanted(cache: Clones, remote: Remote, server: Repository) -> None:
    """A clone without contents is made anew with them, and stays whole from then on."""
    listed(cache, remote)
    with cache.up_to_date(remote, contents=True) as git:
        assert not lacks_contents(git)
    server.commit()
    listed(cache, remote)
    with cache.up_to_date(remote, contents=True) as git:
        assert not lacks_contents(git)


def test_empty_server(cache: Clones, processes: Processes, new_repository: Callable[..., Repository]) -> None:
    """A repository without any commit is cloned, and filled later."""
    server = new_repository()
    remote = Remote(server.path.as_uri(), processes)
    with cache.up_to_date(remote) as git:
        assert git.run("for-each-ref") == b""
    server.commit()
    assert listed(cache, remote) == (server.branches(), 1)


# --- broken clones ---------------------------------------------------------------------------------------------


def lose_packs(clone: Path) -> None:
    for file in clone.glob("objects/pack/*"):
        file.unlink()


def cut_packs(clone: Path) -> None:
    for file in clone.glob("objects/pack/*.pack"):
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:40])


def leave_locks(clone: Path) -> None:
    for name in ("packed-refs.lock", "refs/heads/main.lock", "config.lock"):
        (clone / name).write_text("")


def empty_head(clone: Path) -> None:
    (clone / "HEAD").write_text("")


def garble_config(clone: Path) -> None:
    (clone / "config").write_text("[core\n")


def garble_refs(clone: Path) -> None:
    (clone / "refs" / "heads" / "main").write_text("x" * 40)


@pytest.mark.parametrize("harm", [lose_packs, cut_packs, leave_locks, empty_head, garble_config, garble_refs])
def test_broken_clone_is_made_anew(
    cache: Clones, remote: Remote, server: Repository, harm: Callable[[Path], None]
) -> None:
    """Whatever a crash or a disk did to it, the next scan has a whole one."""
    listed(cache, remote)
    harm(directory(cache))
    server.commit()
    assert listed(cache, remote) == (server.branches(), 6)


def test_half_a_clone_is_no_clone(cache: Clones, remote: Remote, server: Repository) -> None:
    """What a killed process left is thrown away; a clone gets its name when it is whole."""
    with cache.up_to_date(remote) as git:
        name = git.directory.stem
    Clones(cache.folder, limit_mb=0).prune()
    (cache.folder / f"{name}.123.half" / "objects").mkdir(parents=True)
    other = cache.folder / "a.nother.123.half"
    other.mkdir()
    with FileLock(cache.folder / "a.nother.lock"):  # whoever makes it is still at work
        assert listed(cache, remote) == (server.branches(), 5)
        assert [path.name for path in cache.folder.glob("*.half")] == [other.name]
    cache.prune()
    assert list(cache.folder.glob("*.half")) == []


def test_server_out_of_reach_leaves_the_clone(cache: Clones, remote: Remote, server: Repository) -> None:
    """When it does not answer, the clone is not to blame: it stays."""
    listed(cache, remote)
    aside = server.path.with_name("aside.git")
    server.path.rename(aside)
    with pytest.raises(RemoteError, match="check the address, and that the credential may see it$") as caught:
        listed(cache, remote)
    assert caught.value.kind == "not-found"
    assert directory(cache).is_dir()
    aside.rename(server.path)
    assert listed(cache, remote) == (server.branches(), 5)


def test_unreachable_server_leaves_nothing(cache: Clones, processes: Processes) -> None:
    """No half clone stays, and the message has no user in it."""
    remote = Remote("http://bot@127.0.0.1:9/acme/api.git", processes)
    with pytest.raises(
        RemoteError, match=r"^http://127.0.0.1:9/acme/api.git: [^\n]+; check the address and the network$"
    ):
        listed(cache, remote)
    assert [path.suffix for path in cache.folder.iterdir()] == [".lock"]
    assert processes.requests == 1


# --- many processes, little room -------------------------------------------------------------------------------

_HOLDER = """
import sys, time
from pathlib import Path
from releasecopilot_git.clones import Clones
from releasecopilot_git.remote import Remote
from releasecopilot_git.running import Processes
with Clones(Path(sys.argv[1])).up_to_date(Remote(sys.argv[2], Processes())):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(cache: Clones, remote: Remote) -> Any:
    """Start another process that holds the clone."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(cache.folder), remote.url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_process_at_a_time(cache: Clones, remote: Remote, holder: Any) -> None:
    """Another one waits, then says who is in the way; a process that was killed holds nothing."""
    impatient = Clones(cache.folder, patience=0.2)
    with pytest.raises(ClonesError, match="another process has used this clone for 0.2 s") as caught:
        listed(impatient, remote)
    assert caught.value.kind == "busy"
    holder.kill()
    holder.wait()
    assert listed(cache, remote)[1] == 5


def test_clone_in_use_is_not_pruned(cache: Clones, remote: Remote, holder: Any) -> None:
    """However full the cache is, what another process reads stays."""
    Clones(cache.folder, limit_mb=0).prune()
    assert directory(cache).is_dir()


def test_longest_unused_clones_go_first(cache: Clones, processes: Processes, new_repository: Any) -> None:
    """When they are too large together, those that were used last stay."""
    remotes = []
    for number in range(3):
        server = new_repository(f"r{number}.git")
        server.line(3)
        remotes.append(Remote(server.path.as_uri(), processes))
        listed(cache, remotes[-1])
        os.utime(directory_of(cache, remotes[-1]), (time.time() - 1000 + number,) * 2)
    listed(cache, remotes[0])
    size = sum(file.stat().st_size for file in directory_of(cache, remotes[0]).rglob("*") if file.is_file())
    Clones(cache.folder, limit_mb=2.5 * size / 1e6).prune()
    assert [directory_of(cache, remote).is_dir() for remote in remotes] == [True, False, True]
    Clones(cache.folder, limit_mb=0).prune()
    assert list(cache.folder.glob("*.git")) == []


def directory_of(cache: Clones, remote: Remote) -> Path:
    return cache._directory(remote.url)


def test_clones_that_nobody_uses_go(cache: Clones, remote: Remote) -> None:
    """After so many days."""
    listed(cache, remote)
    os.utime(directory(cache), (time.time() - 3 * 86_400,) * 2)
    Clones(cache.folder, days=4).prune()
    assert directory(cache).is_dir()
    Clones(cache.folder, days=2).prune()
    assert list(cache.folder.glob("*.git")) == []


def test_no_room_at_all(cache: Clones, remote: Remote, server: Repository) -> None:
    """With a limit of 0 a clone lives as long as it is read."""
    assert listed(Clones(cache.folder, limit_mb=0), remote) == (server.branches(), 5)
    assert list(cache.folder.glob("*.git")) == []


def test_cache_that_cannot_be_written(tmp_path: Path, remote: Remote) -> None:
    """One line says where, and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SourceError, match=r"file/clones: cannot keep clones here \([^)]+\); make it writable, or choose"
    ):
        listed(Clones(tmp_path / "file" / "clones"), remote)
