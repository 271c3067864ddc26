"""Fetch the files that a commit changed, against its first parent."""

from __future__ import annotations

import attrs

from releasecopilot_core import Commit, Problem
from releasecopilot_core.errors import CommitsVanished

from .answers import Unobtainable
from .api import Api
from .payloads import file_of

FIELDS = "values.status,values.lines_added,values.lines_removed,values.old.path,values.new.path,next"
PAGE_LENGTH = "500"


@attrs.frozen
class ApiFiles:
    """File lists over `/diffstat`: one request a commit, more when it changed over 500 files."""

    api: Api
    path: str
    repository: str

    def of(self, sha: str) -> tuple[Commit, Problem | None]:
        """Return the commit with its files; or, when the service can never tell them, as `unobtainable` and why.

        Raises:
            SourceError: it did not answer this time; the commit goes on owing its files.
        """
        changes = []
        # A single sha means "against the first parent"; `topic` is said outright, since its default is not documented.
        parameters = [("pagelen", PAGE_LENGTH), ("topic", "false"), ("fields", FIELDS)]
        try:
            for values, _ in self.api.pages(f"{self.path}/diffstat/{sha}", parameters):
                changes += [file_of(value) for value in values]
        except Unobtainable as error:
            return self._given_up(sha, str(error))
        except CommitsVanished:
            return self._given_up(sha, f"{self.repository}: commit {sha} is gone from Bitbucket")
        return Commit(sha=sha, files=tuple(changes)), None

    def _given_up(self, sha: str, why: str) -> tuple[Commit, Problem]:
        message = f"{why}; its files are not known (--full asks again)"
        problem = Problem(kind="unobtainable", message=message, repository=self.repository)
        return Commit(sha=sha, files_status="unobtainable"), problem
