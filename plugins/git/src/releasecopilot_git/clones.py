"""A cache of bare clones without file contents, which processes share: locked, bounded, rebuilt when broken."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from filelock import FileLock, Timeout

from releasecopilot_core.errors import SourceError

from .environment import reading_environment, without_userinfo
from .remote import NAME, Remote, RemoteError
from .running import Git, GitError

_log = logging.getLogger("releasecopilot_git")

_MEGABYTE = 1_000_000


class ClonesError(SourceError):
    """The cache cannot be used: its folder cannot be written, or somebody else holds the clone."""


@attrs.frozen
class Clones:
    """Clones in one folder, a directory and a lock file each; everything in it may be deleted when nobody uses it.

    `limit_mb` bounds what stays in the folder, `days` how long a clone stays that nobody uses; the one that is in use
    always stays, until it has been used. With `limit_mb` 0 none stays. `patience` is how long another process that uses the
    same clone is waited for, in seconds.
    """

    folder: Path
    limit_mb: float = 2_000.0
    days: float = 30.0
    patience: float = 60.0

    @contextlib.contextmanager
    def up_to_date(self, remote: Remote, *, contents: bool = False) -> Iterator[Git]:
        """Hold a clone of `remote` for as long as the block runs, fetched just now.

        Without `contents` it has no file contents, if the server can leave them out. A broken clone is made anew.

        Raises:
            RemoteError: the server refused, or cannot be reached.
            ClonesError: the cache cannot be used.
        """
        directory = self._directory(remote.url)
        with self._locked(directory, self.patience):
            git = Git(directory, remote.processes)
            with self._explained():
                self._fetched(git, remote, contents=contents)
            yield git
        self.prune()

    def has(self, remote: Remote) -> bool:
        """Return whether there is a clone already, whatever state it is in."""
        return self._directory(remote.url).is_dir()

    def discard(self, git: Git) -> None:
        """Remove a clone that turned out to be broken, inside the block that holds it; the next one is made anew."""
        _log.warning("%s: a broken clone; it is made anew", git.directory)
        shutil.rmtree(git.directory, ignore_errors=True)

    def _directory(self, url: str) -> Path:
        address = without_userinfo(url)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", address.removesuffix(".git").rpartition("/")[2])[-40:].strip("-.")
        digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self.folder.absolute() / f"{name or 'clone'}-{digest}.git"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = "make it writable, or choose another folder for the cache"
            message = f"{self.folder}: cannot keep clones here ({error.strerror or error}); {remedy}"
            raise ClonesError(message, kind="cache") from error

    @contextlib.contextmanager
    def _locked(self, directory: Path, patience: float) -> Iterator[None]:
        lock = FileLock(directory.with_suffix(".lock"), thread_local=False)
        with self._explained():
            directory.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=patience)
            except Timeout:  # which is an OSError, too
                message = f"{directory}: another process has used this clone for {patience:g} s; try again later"
                raise ClonesError(message, kind="busy") from None
        try:
            yield
            if directory.is_dir():
                os.utime(directory)  # when it was last used
        finally:
            lock.release()

    # --- fetching --------------------------------------------------------------------------------------------

    def _fetched(self, git: Git, remote: Remote, *, contents: bool) -> None:
        """Fetch into a clone that is there, or make it; what is half made never has its name."""
        if git.directory.exists():
            partial = _is_partial(git)
            if partial is not None and not (partial and contents):
                try:
                    remote.fetch(git.directory, partial=partial)
                    return
                except RemoteError:
                    # The server or the clone: when the server does not answer a plain question either, it was not the clone.
                    remote.refs()
            self.discard(git)
        self._made(git, remote, contents=contents)

    def _made(self, git: Git, remote: Remote, *, contents: bool) -> None:
        for half in self.folder.glob(f"{git.directory.stem}.*.half"):
            shutil.rmtree(half, ignore_errors=True)
        # The git of a process that was killed may still be writing to its own.
        half = git.directory.with_suffix(f".{os.getpid()}.half")
        try:
            for partial in [False] if contents else [True, False]:
                git.processes.run(["init", "--quiet", "--bare", "--template=", str(half)], reading_environment())
                try:
                    remote.fetch(half, partial=partial)
                    if partial and not lacks_contents(attrs.evolve(git, directory=half)):
                        _log.info("%s: sends file contents, asked or not", without_userinfo(remote.url))
                    break
                except RemoteError as error:
                    shutil.rmtree(half, ignore_errors=True)
                    if not partial or "filter" not in str(error):
                        raise
                    _log.info("%s: refuses clones without contents; all is fetched", without_userinfo(remote.url))
            half.rename(git.directory)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def sizes(self) -> dict[Path, int]:
        """Return the clones that are there, with their sizes in bytes."""
        return {clone: _size(clone) for clone in sorted(self.folder.glob("*.git")) if clone.is_dir()}

    # --- pruning ---------------------------------------------------------------------------------------------

    def prune(self) -> None:
        """Remove clones that nobody has used for long, and the longest unused ones until the rest is small enough.

        Halves that killed processes left, also of repositories that nobody scans any more, go as well.
        """
        for half in self.folder.glob("*.half"):
            clone = half.with_name(half.name.rsplit(".", 2)[0] + ".git")
            with contextlib.suppress(ClonesError), self._locked(clone, 0):
                shutil.rmtree(half, ignore_errors=True)
        kept = 0.0
        for clone, size in sorted(self.sizes().items(), key=lambda pair: _used(pair[0]), reverse=True):
            if kept + size > self.limit_mb * _MEGABYTE or time.time() - _used(clone) > self.days * 86_400:
                with contextlib.suppress(ClonesError), self._locked(clone, 0):
                    _log.info("%s: removed from the cache", clone)
                    shutil.rmtree(clone, ignore_errors=True)
                    continue
            kept += size


def _is_partial(git: Git) -> bool | None:
    """Return whether a clone was made without file contents; `None` for one that is broken.

    It stays what it is: one that is fetched once with contents and once without would have holes.
    """
    try:
        git.run("for-each-ref", "--format=%(tree)", "refs/heads/")
        return bool(git.run("config", "--default", "", "--get", f"remote.{NAME}.partialclonefilter").strip())
    except GitError:
        return None


def lacks_contents(git: Git) -> bool:
    """Return whether file contents are missing in a clone; what it was asked to be does not tell what it is.

    A server that ignores the filter sends everything, in packs that bear the same mark (`.promisor`).
    """
    tip = git.run("for-each-ref", "--count=1", "--format=%(objectname)", "refs/heads/").decode().strip()
    # With --missing nothing is fetched in order to look.
    objects = git.run("rev-list", "--objects", "--no-walk", "--missing=print", tip) if tip else b""
    return objects.startswith(b"?") or b"\n?" in objects


def _used(clone: Path) -> float:
    try:
        return clone.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0


def _size(clone: Path) -> int:
    total = 0
    for path in clone.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
