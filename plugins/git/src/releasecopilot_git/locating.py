"""What a path or URL stands for: where the repository is, its lasting id, and what people call it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from releasecopilot_core.errors import SourceError, UsageError

from .environment import without_userinfo

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
#: As git takes it for ssh: a host and a path behind a colon, without a slash before it. One letter is a drive.
_SCP = re.compile(r"(?:[^/:@]+@)?(?P<host>[^/:@]{2,}):(?!//|:)(?P<path>.+)")
_SCHEMES = ("https", "http", "ssh", "git", "file")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


@attrs.frozen
class Location:
    """Where a repository is.

    `uuid` is its lasting id. For a URL that is host and path: user, scheme and `.git` do not count, so that a repository
    is the same one over https and ssh. For a path it is the `file:` URL of the folder; a folder that moves is a new
    repository to the store, whose commits are known already. `full_name` are the last two parts of it.
    """

    uuid: str
    full_name: str
    url: str | None = None
    directory: Path | None = None
    #: Whether files are checked out there, so that HEAD is what somebody works on.
    checkout: bool = False


def located(text: str) -> Location:
    """Return the location that a path or URL names; for a path it must be there, a URL is not asked.

    A path may be a bare repository, a checkout, or any folder inside one.

    Raises:
        SourceError: there is no repository at the path (kind `not-found`).
        UsageError: the URL is none that git may be given.
    """
    if not Path(text).exists():
        if (match := _SCHEME.match(text)) is not None:
            return _of_url(text, match[1].lower())
        if (match := _SCP.fullmatch(text)) is not None:
            return _of_server(text, match["host"], match["path"])
    return _of_path(text)


def is_url(text: str) -> bool:
    """Whether a text is a URL and not a path."""
    return bool(_SCHEME.match(text) or _SCP.fullmatch(text)) and not Path(text).exists()


def _of_path(text: str) -> Location:
    folder = Path(text).resolve()
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return _of_directory(place / ".git")
        if (place / "HEAD").is_file() and (place / "objects").is_dir() and (place / "refs").is_dir():
            return _of_directory(place)
    raise SourceError(f"{text}: no git repository here; check the path", kind="not-found")


def _of_directory(directory: Path) -> Location:
    """Return the location of a git directory; a linked work tree is the repository that it is linked to."""
    folder = directory.parent if directory.name == ".git" else directory
    if directory.is_file():  # of a submodule, or of a linked work tree
        directory = (folder / _content(directory).removeprefix("gitdir:").strip()).resolve()
    if (directory / "commondir").is_file():
        directory = (directory / _content(directory / "commondir").strip()).resolve()
        folder = directory.parent if directory.name == ".git" else directory
    return Location(folder.as_uri(), _name(folder.parts[1:]), directory=directory, checkout=folder != directory)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror}); check its rights", kind="not-found") from error


def _of_url(url: str, scheme: str) -> Location:
    shown = without_userinfo(url)
    if scheme not in _SCHEMES:
        raise UsageError(f"{shown}: {scheme}: is no address to clone from; use https, ssh, git or file")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise UsageError(f"{shown}: not an address; check how it is written") from None
    if parts.password is not None:
        raise UsageError(f"{shown}: a password must not stand in an address; give it to git's credential helper")
    if scheme == "file":
        path = Path(unquote(parts.path))
        return Location(path.as_uri() if path.is_absolute() else shown, _name(path.parts[1:]), url=url)
    if not host or not parts.path.strip("/"):
        raise UsageError(f"{shown}: no host, or no path behind it; check the address")
    return _of_server(url, host if port in (None, _PORTS[scheme]) else f"{host}:{port}", unquote(parts.path))


def _of_server(url: str, host: str, path: str) -> Location:
    parts = [part for part in path.removesuffix("/").removesuffix(".git").split("/") if part]
    return Location("/".join([host.lower(), *parts]), _name([host.lower(), *parts]), url=url)


def _name(parts: list[str] | tuple[str, ...]) -> str:
    """Return what people call a repository: `folder/name`."""
    name = "/".join(parts[-2:]).removesuffix(".git").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return name or "repository"
