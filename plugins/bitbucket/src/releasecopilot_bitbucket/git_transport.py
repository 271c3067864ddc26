"""Whole histories and many file lists at once: from a clone, when that is cheaper than asking the API."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
from releasecopilot_git.clones import Clones
from releasecopilot_git.files import file_lists
from releasecopilot_git.history import GitHistory
from releasecopilot_git.log import Detail
from releasecopilot_git.refs import refs_of
from releasecopilot_git.remote import Remote
from releasecopilot_git.running import Git, GitUnavailable, Processes, require_git

from releasecopilot_core import Batch, Memory, Problem, Repository
from releasecopilot_core.errors import SourceError

from .settings import BitbucketSettings

#: From so many owed file lists on, `auto` clones. A list is one of the 1,000 requests of an hour, and 100 of them take
#: some ten seconds, four at a time; a first clone is one of 60,000 git operations an hour, and takes as long for some
#: 20,000 commits.
ENOUGH_TO_CLONE = 100
#: With a clone in the cache a fetch takes about a second, as long as so many lists.
ENOUGH_TO_FETCH = 10

#: So many file lists go into the store at a time.
FILES_A_BATCH = 1_000

#: The user name that git needs for each kind of credential; the e-mail address, which the API takes, is refused here
#: (observed at Bitbucket by constructorfabric/insight, 2026). An app password goes with its own user name.
USER_NAMES = {"api_token": "x-bitbucket-api-token-auth", "access_token": "x-token-auth"}


class GitTransport:
    """The clones of one source; threads share it. `close` ends what git is doing."""

    def __init__(self, settings: BitbucketSettings) -> None:
        self.detail = Detail(renames=settings.git_renames, lines=settings.git_line_counts)
        self._settings = settings
        self._clones = Clones(Path(settings.git_cache), settings.git_cache_limit_mb, settings.git_cache_days)
        self._processes = Processes()
        self._lock = threading.Lock()
        self._unavailable: GitUnavailable | None = None
        self._checked = False
        self._told = False

    def close(self) -> None:
        """End what git is doing, and start nothing more."""
        self._processes.close()

    def clone_of(self, repository: Repository, *, mode: str, full: bool) -> Clone:
        """Return a handle on the clone of a repository; nothing is fetched before it is used."""
        address = f"{self._settings.clone_url}/{repository.full_name}.git"
        remote = Remote(address, self._processes, self._configuration(), asks=False)
        return Clone(self, self._clones, remote, repository, mode=mode, full=full)

    def require(self) -> None:
        """Make sure that there is a git that will do; it is looked for once.

        Raises:
            GitUnavailable: there is none, or it is too old.
        """
        with self._lock:
            if not self._checked:
                self._checked = True
                try:
                    require_git(self._processes)
                except GitUnavailable as error:
                    self._unavailable = error
        if self._unavailable is not None:
            raise self._unavailable

    def tells(self) -> bool:
        """Whether nobody has told yet that there is no git; from now on somebody has."""
        with self._lock:
            first, self._told = not self._told, True
            return first

    def _configuration(self) -> tuple[tuple[str, str], ...]:
        """Return git's settings for the credential: given in its environment, sent to the configured address only."""
        credentials = self._settings.credentials
        settings = [("http.followRedirects", "false")]
        if credentials.kind != "anonymous":
            user = USER_NAMES.get(credentials.kind, credentials.username or "")
            secret = getattr(credentials, credentials.kind).reveal()
            token = base64.b64encode(f"{user}:{secret}".encode()).decode()
            header = f"http.{self._settings.clone_url}/.extraHeader"
            # An empty value drops what others have set.
            settings += [(header, ""), (header, f"Authorization: Basic {token}")]
        return tuple(settings)


@attrs.define
class Clone:
    """One repository's clone during one visit: fetched when it is first needed, held until `close`.

    It never fails: when it cannot be had, `git` is `None`, a note waits in `notes`, and the API takes over.
    """

    transport: GitTransport
    clones: Clones
    remote: Remote
    repository: Repository
    mode: str = attrs.field(kw_only=True)
    full: bool = attrs.field(kw_only=True)
    notes: list[Problem] = attrs.field(factory=list)
    _held: Git | None = None
    _stack: ExitStack = attrs.field(factory=ExitStack)
    _renewed: bool = False
    _given_up: bool = False

    @property
    def wants_history(self) -> bool:
        """Whether history is to be read from the clone: with `git`, and with `auto` when all of it is wanted."""
        return self.mode == "git" or (self.mode == "auto" and self.full)

    def wants_files(self, owed: int) -> bool:
        """Whether so many file lists are to be read from the clone; with one at hand already, any number is."""
        if not owed or self.mode not in ("auto", "git"):
            return False
        enough = ENOUGH_TO_FETCH if self.clones.has(self.remote) else ENOUGH_TO_CLONE
        return self.mode == "git" or self._held is not None or owed >= enough

    def for_history(self) -> Git | None:
        """Return the clone if history is to be read from it, and it can be had."""
        return self._git() if self.wants_history else None

    def for_files(self, owed: int) -> Git | None:
        """Return the clone if so many file lists are to be read from it, and it can be had."""
        return self._git() if self.wants_files(owed) else None

    def _git(self) -> Git | None:
        if self._held is None and not self._given_up:
            try:
                self.transport.require()
                contents = self.transport.detail.needs_contents
                self._held = self._stack.enter_context(self.clones.up_to_date(self.remote, contents=contents))
            except SourceError as error:
                self._give_up(error)
        return self._held

    def _give_up(self, error: SourceError) -> None:
        if error.kind == "stopped":
            raise error
        self._given_up = True
        message = f"no clone, so that the API is asked instead: {error}"
        if not isinstance(error, GitUnavailable):
            self.notes.append(Problem(kind="note", message=message, repository=self.repository.full_name))
        elif self.transport.tells():
            self.notes.append(Problem(kind="note", message=message))

    def broken(self, error: SourceError) -> None:
        """Make the clone anew after git failed to read it; the second time the API takes over."""
        if self._held is not None and not self._renewed:
            self._renewed = True
            self.clones.discard(self._held)
            self.close()
            self._git()
        else:
            self.close()
            self._give_up(error)

    def close(self) -> None:
        """Let others use the clone."""
        self._held = None
        self._stack.close()

    # --- what is read from it --------------------------------------------------------------------------------

    def history(self, git: Git) -> GitHistory:
        """Return the history, files included."""
        return GitHistory(git, self.transport.detail)

    def tips(self, git: Git) -> dict[str, str]:
        """Return branch name -> head, as they were fetched."""
        return dict(refs_of(git, checkout=False).tips)

    def files(self, git: Git, memory: Memory) -> Iterator[Batch]:
        """Yield the file lists that are owed, as far as the clone has the commits; of those it lacks the API may know."""
        after = ""
        while shas := memory.owed_files(self.repository, FILES_A_BATCH, after):
            after = shas[-1]
            found = tuple(file_lists(git, shas, self.transport.detail))
            if found:
                yield Batch(repository=self.repository, commits=found)
