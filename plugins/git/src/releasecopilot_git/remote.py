"""Talk to the server of a URL: list its branches, fetch them. Credentials are git's own business."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from releasecopilot_core.errors import SourceError

from .environment import network_environment, without_userinfo
from .refs import Refs, refs_told
from .running import GitError, Processes

#: The name of the server in a clone's configuration; `origin` may mean something in the user's.
NAME = "releasecopilot"

# Said by git, curl, ssh and servers, in lower case; the first that fits.
_KINDS = (
    ("authentication", ("authentication failed", "could not read username", "could not read password", "permission denied",
                        "invalid credentials", "error: 401", "host key verification failed")),
    ("forbidden", ("error: 403", "not authorized", "access denied")),
    ("not-found", ("not found", "does not appear to be a git repository", "does not exist", "error: 404",
                   "no such file or directory")),
)  # fmt: skip
_REMEDIES = {
    "authentication": "give git a credential for it: a credential helper, GIT_ASKPASS, or an ssh key without questions",
    "forbidden": "check what the credential may do",
    "not-found": "check the address, and that the credential may see it",
    "unreachable": "check the address and the network",
}


class RemoteError(SourceError):
    """The server refused, or cannot be reached."""


@attrs.frozen
class Remote:
    """A repository on a server.

    `configuration` holds settings of git for it alone, such as `http.extraHeader`; they may hold a credential and are
    given to git in its environment. `url` is given that way, too: it may carry a user name. With `asks` false no
    credential is used but that.
    """

    url: str
    processes: Processes = attrs.field(repr=False, eq=False)
    configuration: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    asks: bool = True

    def refs(self) -> Refs:
        """Return the server's branches; one request, two where a credential is asked for.

        Raises:
            RemoteError: it refused, or cannot be reached.
        """
        # In no repository: one around the working directory would have a say in what the server's name stands for.
        environment = {**self._environment(), "GIT_DIR": os.devnull}
        return refs_told(self._run(["ls-remote", "--symref", NAME, "HEAD", "refs/heads/*"], environment))

    def fetch(self, directory: Path, *, partial: bool) -> None:
        """Bring the branches of the clone in `directory` up to the server's, those that are gone there included.

        `partial` asks for a clone without file contents; a server that does not know how sends them.

        Raises:
            RemoteError: it refused, or cannot be reached, or the clone is broken: git does not always tell.
        """
        arguments = [
            f"--git-dir={directory}", "fetch", "--quiet", "--prune", "--force", "--no-tags", "--no-recurse-submodules",
            "--no-write-fetch-head", "--filter=blob:none" if partial else "--no-filter", NAME, "+refs/heads/*:refs/heads/*",
        ]  # fmt: skip
        self._run(arguments, self._environment(), folder=directory)

    def _run(self, arguments: Sequence[str], environment: dict[str, str], *, folder: Path | None = None) -> bytes:
        self.processes.count_request()
        try:
            return self.processes.run(arguments, environment, folder=folder)
        except GitError as error:
            said = str(error).partition("failed: ")[2] or str(error)
            raise self._explained(said) from error

    def _explained(self, said: str) -> RemoteError:
        lowered = said.lower()
        kind = next((kind for kind, signs in _KINDS if any(sign in lowered for sign in signs)), "unreachable")
        return RemoteError(f"{without_userinfo(self.url)}: {said}; {_REMEDIES[kind]}", kind=kind)

    def _environment(self) -> dict[str, str]:
        ours = (
            (f"remote.{NAME}.url", self.url),
            # Packs of a clone are few and large, and whoever reads it does not wait for somebody else's housekeeping.
            ("fetch.unpackLimit", "1"),
            ("gc.autoDetach", "false"),
            ("maintenance.autoDetach", "false"),
            # With it a listing begins before git has looked at all commits.
            ("fetch.writeCommitGraph", "true"),
            ("core.hooksPath", os.devnull),
        )
        return network_environment((*ours, *self.configuration), asks=self.asks)
