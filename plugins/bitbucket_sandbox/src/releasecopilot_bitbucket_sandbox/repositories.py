"""The workspace's repositories: folders that may come, go and be renamed while they are served."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .git import Git, GitError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotARepository(ValueError):
    """A path that holds no git repository."""


class Repository:
    """A git repository on this machine, bare or not; `slug` is its name in the workspace."""

    def __init__(self, git: Git, slug: str) -> None:
        self.git = git
        self.slug = slug
        self._uuid: tuple[tuple[int, ...], str] | None = None

    @classmethod
    def at(cls, path: Path) -> Repository | None:
        """Return the repository at a path, `None` if there is none; a further work tree stands for its repository."""
        for candidate in (_linked(path / ".git"), path):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return cls(Git(candidate), slug_of(path))
        return None

    @property
    def uuid(self) -> str:
        """Return the lasting id, in braces: from `git config sandbox.uuid`, else from the folder itself.

        A renamed folder keeps it, as a renamed repository does: it is made of device, inodes, and the time of
        `description`, which git writes once. One inode would not do: it is given to the next folder after this one.
        """
        folder = self.git.folder
        status, objects = folder.stat(), folder.joinpath("objects").stat()
        state = (
            status.st_dev,
            status.st_ino,
            objects.st_ino,
            _changed(folder / "description"),
            _changed(folder / "config"),
        )
        known = self._uuid
        if known is None or known[0] != state:
            text = self._configured() or str(uuid.uuid5(uuid.NAMESPACE_OID, ":".join(map(str, state[:4]))))
            # Read once: another thread may see the next folder here by now.
            self._uuid = known = (state, f"{{{text}}}")
        return known[1]

    def _configured(self) -> str | None:
        if b"sandbox" not in _read(self.git.folder / "config").lower():
            return None  # most have none: spare the process
        try:
            return self.git.run("config", "--local", "sandbox.uuid").strip().strip("{}") or None
        except GitError:
            return None

    @property
    def updated_on(self) -> datetime:
        """Return when a ref last changed: the newest time of any file that holds refs, and of their folders."""
        newest = max(_changed(self.git.folder / "HEAD"), _changed(self.git.folder / "packed-refs"))
        for folder, _, files in os.walk(self.git.folder / "refs"):
            newest = max([newest, _changed(Path(folder)), *(_changed(Path(folder, file)) for file in files)])
        return _EPOCH + timedelta(microseconds=newest // 1000)

    @property
    def created_on(self) -> datetime:
        """Return when the repository was made, as far as can be told."""
        folder = self.git.folder
        return _EPOCH + timedelta(
            microseconds=(_changed(folder / "description") or _changed(folder / "config")) // 1000
        )

    @property
    def main_branch(self) -> str | None:
        """Return the branch that HEAD names, else the first one; `None` while the repository has no commits."""
        folder = self.git.folder
        head = _read(folder / "HEAD").decode("utf-8", "replace").strip()
        name = head.removeprefix("ref: refs/heads/")
        if name != head:
            packed = f" refs/heads/{name}\n".encode() in _read(folder / "packed-refs")
            if packed or (folder / "refs/heads" / name).is_file():
                return name
        branches = self.git.refs("heads")
        return branches[0].name if branches else None


class Shelf:
    """The folders that are served, looked through at each request. Thread-safe."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._paths: list[Path] = []
        self._hidden: set[str] = set()
        self._known: dict[Path, Repository] = {}
        self._by_slug: dict[str, Repository] = {}
        self._lock = threading.Lock()
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """Serve a repository, or a folder of them, too.

        Raises:
            NotARepository: there is no such folder.
        """
        if not path.is_dir():
            raise NotARepository(f"{path}: no such folder")
        with self._lock:
            self._hidden -= {slug_of(path), *(slug_of(child) for child in _children(path))}
            self._paths.append(path)

    def remove(self, slug: str) -> None:
        """Serve a repository no longer; its folder is left alone.

        Raises:
            NotARepository: none is served under that name.
        """
        if self.find(slug) is None:
            raise NotARepository(f"no repository {slug!r} is served")
        with self._lock:
            self._hidden.add(slug)

    def all(self) -> list[Repository]:
        """Return what is there now; of two with the same slug, the first."""
        with self._lock:
            found: dict[str, Repository] = {}
            known: dict[Path, Repository] = {}
            for path in self._paths:
                for place in (path, *_children(path)):
                    repository = self._at(place)
                    if repository is None:
                        continue
                    known[place] = repository
                    if repository.slug not in self._hidden:
                        found.setdefault(repository.slug, repository)
                    if place == path:
                        break  # what lies in a working tree is not ours to serve
            self._known, self._by_slug = known, found
            return list(found.values())

    def _at(self, place: Path) -> Repository | None:
        known = self._known.get(place)
        if known is not None and (known.git.folder / "HEAD").is_file():
            return known  # with what it remembers
        return Repository.at(place)

    def find(self, name: str) -> Repository | None:
        """Return the repository of a slug, or of a uuid in braces."""
        seen = self._by_slug.get(name.lower())
        if seen is not None and seen.slug not in self._hidden and (seen.git.folder / "HEAD").is_file():
            return seen  # without a look at all the others
        for repository in self.all():
            with contextlib.suppress(OSError):  # one that is taken away while we look is none of ours
                if name.lower() == repository.slug or (name.startswith("{") and name == repository.uuid):
                    return repository
        return None


def slug_of(path: Path) -> str:
    """Return a folder's name as a slug: lower case, and nothing that would have to be encoded in an address."""
    return re.sub(r"[^\w.-]+", "-", path.resolve().name.removesuffix(".git").lower(), flags=re.ASCII) or "repository"


def _linked(place: Path) -> Path:
    """Return the folder that a `.git` file points to, as `git worktree` and submodules have one; else the place."""
    if not place.is_file():
        return place
    text = _read(place).decode("utf-8", "surrogateescape").strip()
    folder = place.parent / text.removeprefix("gitdir: ")
    common = _read(folder / "commondir").decode("utf-8", "surrogateescape").strip()
    return (folder / common).resolve()


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return []


def _changed(path: Path) -> int:
    """Return a file's time in nanoseconds, 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
