"""Where a repository can be read: on this disk, or in a clone of what a server has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import attrs

from .clones import Clones
from .locating import Location
from .refs import Refs, refs_of
from .remote import Remote
from .running import Git, Processes


class Place(Protocol):
    """Where a repository can be read."""

    def refs(self) -> Refs:
        """Return its branches as they are now.

        Raises:
            SourceError: it cannot be read or reached.
        """

    def reading(self, *, contents: bool) -> AbstractContextManager[Git]:
        """Hold it in a state that has all that `refs` told, or later; with the contents of files where they are wanted."""

    def refs_in(self, git: Git) -> Refs:
        """Return its branches as `git`, which `reading` gave, has them."""

    def renew(self, git: Git) -> bool:
        """Throw away what turned out to be broken; false where it is not ours to throw away."""


@attrs.frozen
class OnDisk:
    """A repository that is read where it is."""

    git: Git
    checkout: bool

    def refs(self) -> Refs:
        """Return its branches."""
        return refs_of(self.git, checkout=self.checkout)

    def reading(self, *, contents: bool) -> AbstractContextManager[Git]:
        """Return it as it is."""
        return nullcontext(self.git)

    def refs_in(self, git: Git) -> Refs:
        """Return its branches once more: they may have moved."""
        return self.refs()

    def renew(self, git: Git) -> bool:
        """Refuse: it is somebody's own."""
        return False


@attrs.frozen
class Cloned:
    """A repository on a server, read from a clone in the cache."""

    remote: Remote
    clones: Clones

    def refs(self) -> Refs:
        """Ask the server for its branches."""
        return self.remote.refs()

    def reading(self, *, contents: bool) -> AbstractContextManager[Git]:
        """Fetch, and hold the clone."""
        return self.clones.up_to_date(self.remote, contents=contents)

    def refs_in(self, git: Git) -> Refs:
        """Return the branches that were fetched: the server's may have moved since it was asked."""
        return refs_of(git, checkout=False)

    def renew(self, git: Git) -> bool:
        """Throw the clone away; the next `reading` makes it anew."""
        self.clones.discard(git)
        return True


def place_of(location: Location, processes: Processes, clones: Clones) -> Place:
    """Return where a location is read: a path where it is, a URL from a clone of it."""
    if location.directory is not None:
        return OnDisk(Git(location.directory, processes), location.checkout)
    return Cloned(Remote(location.url or "", processes), clones)
