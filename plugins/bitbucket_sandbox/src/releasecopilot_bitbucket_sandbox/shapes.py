"""JSON objects in the shapes that Bitbucket gives them.

Taken from payloads that jenkinsci/bitbucket-branch-source-plugin and gildas/bitbucket-cli recorded between 2018 and 2026.
"""

from __future__ import annotations

import uuid
from collections.abc import Container
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from .git import Change, GitCommit, Ref, Tag
from .repositories import Repository

MERGE_STRATEGIES = ["merge_commit", "squash", "fast_forward"]
_PROJECT = "SANDBOX"


def has_account(email: str, users: Container[str]) -> bool:
    """Return whether an address belongs to an account: those of `users` do, `noreply` ones and `….invalid` do not."""
    return email in users or ("@" in email and not email.endswith(".invalid") and "noreply" not in email)


@attrs.frozen
class Shapes:
    """Builds objects for one request; `base` is the address that was called, which links repeat."""

    base: str
    workspace: str
    users: Container[str] = ()

    @property
    def web(self) -> str:
        """Return the address under which pages for people would be."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    def repository_link(self, repository: Repository) -> str:
        """Return the address of a repository."""
        return f"{self.base}/repositories/{self.workspace}/{repository.slug}"

    def repository_page(self, repository: Repository) -> str:
        """Return the address under which a repository's page for people would be."""
        return f"{self.web}/{self.workspace}/{repository.slug}"

    # --- workspace and repositories --------------------------------------------------------------------------

    def workspace_object(self) -> dict[str, Any]:
        """Return the workspace as it stands in a repository."""
        return {
            "type": "workspace",
            "uuid": account("workspace", self.workspace)[0],
            "slug": self.workspace,
            "name": self.workspace,
            "links": {
                "self": {"href": f"{self.base}/workspaces/{self.workspace}"},
                "html": {"href": f"{self.web}/{self.workspace}/"},
                "avatar": {"href": f"{self.web}/workspaces/{self.workspace}/avatar/"},
            },
        }

    def project(self) -> dict[str, Any]:
        """Return the one project that all repositories are in."""
        link = f"{self.base}/workspaces/{self.workspace}/projects/{_PROJECT}"
        page = f"{self.web}/{self.workspace}/workspace/projects/{_PROJECT}"
        return {
            "type": "project",
            "key": _PROJECT,
            "uuid": account("project", self.workspace)[0],
            "name": self.workspace,
            "links": {"self": {"href": link}, "html": {"href": page}, "avatar": {"href": f"{page}/avatar/32"}},
        }

    def repository(self, repository: Repository, *, caller: str | None = None) -> dict[str, Any]:
        """Return a repository object; `mainbranch` is null while it is empty, and `size` is left at 0."""
        main = repository.main_branch
        workspace = self.workspace_object()
        return {
            "type": "repository",
            "uuid": repository.uuid,
            "full_name": f"{self.workspace}/{repository.slug}",
            "name": repository.slug,
            "slug": repository.slug,
            "scm": "git",
            "is_private": True,
            "mainbranch": None if main is None else {"type": "branch", "name": main},
            "workspace": workspace,
            "project": self.project(),
            "owner": {"type": "team", "display_name": self.workspace, "uuid": workspace["uuid"]},
            "parent": None,
            "description": "",
            "language": "",
            "website": "",
            "size": 0,
            "has_issues": False,
            "has_wiki": False,
            "fork_policy": "no_public_forks",
            "created_on": microseconds(repository.created_on),
            "updated_on": microseconds(repository.updated_on),
            "links": {
                **self._repository_links(repository),
                **self._listing_links(repository),
                "clone": self._clone_links(repository, caller),
            },
        }

    def _listing_links(self, repository: Repository) -> dict[str, Any]:
        link = self.repository_link(repository)
        rest = ("watchers", "commits", "pullrequests", "forks", "downloads", "hooks")
        return {
            **{name: {"href": f"{link}/{name}"} for name in rest},
            "branches": {"href": f"{link}/refs/branches"},
            "tags": {"href": f"{link}/refs/tags"},
            "source": {"href": f"{link}/src"},
        }

    def _clone_links(self, repository: Repository, caller: str | None) -> list[dict[str, str]]:
        """Return the clone addresses.

        The first carries the caller's name as user information, as the recorded ones do, but leads to this server and not
        to `bitbucket.org`.
        """
        name = f"{quote(caller.partition('@')[0])}@" if caller else ""
        place = f"{self.workspace}/{repository.slug}.git"
        return [
            {"name": "https", "href": f"{self.web.replace('://', f'://{name}')}/{place}"},
            {"name": "ssh", "href": f"git@bitbucket.org:{place}"},
        ]

    def short_repository(self, repository: Repository) -> dict[str, Any]:
        """Return a repository as it stands in other objects."""
        return {
            "type": "repository",
            "full_name": f"{self.workspace}/{repository.slug}",
            "name": repository.slug,
            "uuid": repository.uuid,
            "links": self._repository_links(repository),
        }

    def _repository_links(self, repository: Repository) -> dict[str, Any]:
        return {
            "self": {"href": self.repository_link(repository)},
            "html": {"href": self.repository_page(repository)},
            "avatar": {"href": f"{self.web}/ravatar/{quote(repository.uuid)}?ts=default"},
        }

    def user(self, email: str | None, name: str | None = None) -> dict[str, Any]:
        """Return an account; without e-mail, that of an access token's bot. There is no `username` since 2019."""
        uuid_, account_id = account("user", email or self.workspace)
        shown = name or (email or f"{self.workspace} bot").partition("@")[0]
        return {
            "type": "user",
            "display_name": shown,
            "nickname": shown,
            "account_id": account_id,
            "uuid": uuid_,
            "links": {
                "self": {"href": f"{self.base}/users/{quote(uuid_)}"},
                "avatar": {"href": f"{self.web}/avatar/{quote(uuid_)}"},
                "html": {"href": f"{self.web}/{quote(uuid_)}/"},
            },
        }

    # --- commits ---------------------------------------------------------------------------------------------

    def commit(self, repository: Repository, commit: GitCommit, *, author: str = "as it is") -> dict[str, Any]:
        """Return a commit object; `author` may be `without user` or `null`, as some real ones are.

        `date` is the committer's: Jenkins' plugin maps Data Center's `committerTimestamp` to it (pull request 1021), and
        after a rebase three recorded commits share one second (`commit_created.json`). The author's date is not told.
        """
        return {
            **self._bare_commit(repository, commit, author),
            "summary": rendered(commit.message),
            "rendered": {"message": rendered(commit.message)},
        }

    def _bare_commit(self, repository: Repository, commit: GitCommit, author: str = "as it is") -> dict[str, Any]:
        link = self.repository_link(repository)
        own = f"{link}/commit/{commit.sha}"
        return {
            "type": "commit",
            "hash": commit.sha,
            "date": seconds(commit.date),
            "author": None if author == "null" else self.author(commit, with_user=author != "without user"),
            "message": commit.message,
            "parents": [
                {"type": "commit", "hash": sha, "links": self.commit_links(repository, sha)} for sha in commit.parents
            ],
            "links": {
                **self.commit_links(repository, commit.sha),
                "diff": {"href": f"{link}/diff/{commit.sha}"},
                "patch": {"href": f"{link}/patch/{commit.sha}"},
                **{name: {"href": f"{own}/{name}"} for name in ("approve", "comments", "statuses")},
            },
            "repository": self.short_repository(repository),
        }

    def commit_links(self, repository: Repository, sha: str) -> dict[str, Any]:
        """Return the links that any mention of a commit has."""
        return {
            "self": {"href": f"{self.repository_link(repository)}/commit/{sha}"},
            "html": {"href": f"{self.repository_page(repository)}/commits/{sha}"},
        }

    def author(self, person: GitCommit | Tag, *, with_user: bool = True) -> dict[str, Any]:
        """Return an author; for people without an account the key `user` is absent, not null."""
        author: dict[str, Any] = {"type": "author", "raw": f"{person.name} <{person.email}>"}
        if with_user and has_account(person.email, self.users):
            author["user"] = self.user(person.email, person.name)
        return author

    # --- refs ------------------------------------------------------------------------------------------------

    def ref(self, repository: Repository, ref: Ref, target: GitCommit) -> dict[str, Any]:
        """Return a branch or tag object; link addresses hold the name unencoded, as Bitbucket's do."""
        link = self.repository_link(repository)
        plural, page = ("branches", "branch") if ref.kind == "branch" else ("tags", "commits/tag")
        value = {
            "type": ref.kind,
            "name": ref.name,
            "target": self._bare_commit(repository, target),
            "links": {
                "self": {"href": f"{link}/refs/{plural}/{ref.name}"},
                "commits": {"href": f"{link}/commits/{ref.name}"},
                "html": {"href": f"{self.repository_page(repository)}/{page}/{ref.name}"},
            },
        }
        if ref.kind == "branch":
            return {**value, "merge_strategies": MERGE_STRATEGIES, "default_merge_strategy": "merge_commit"}
        tag = ref.tag
        return {
            **value,
            "message": tag.message if tag else None,
            "date": seconds(tag.date) if tag else None,
            "tagger": self.author(tag) if tag else None,
        }

    # --- differences -----------------------------------------------------------------------------------------

    def change(self, repository: Repository, change: Change, old: str, new: str) -> dict[str, Any]:
        """Return one entry of a diffstat: `old` is null for added paths, `new` for removed ones."""
        return {
            "type": "diffstat",
            "status": change.status,
            "lines_added": change.added,
            "lines_removed": change.removed,
            "old": self._file(repository, old, change.old_path),
            "new": self._file(repository, new, change.new_path),
        }

    def _file(self, repository: Repository, sha: str, path: str | None) -> dict[str, Any] | None:
        if path is None:
            return None
        escaped = quote(path)
        link = f"{self.repository_link(repository)}/src/{sha}/{escaped}"
        return {"type": "commit_file", "path": path, "escaped_path": escaped, "links": {"self": {"href": link}}}


def account(kind: str, name: str) -> tuple[str, str]:
    """Return the uuid and account id that go with a name, the same each time."""
    found = uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox:{kind}:{name}")
    return f"{{{found}}}", f"557058:{found}"


def rendered(text: str) -> dict[str, str]:
    """Return a text as Bitbucket renders it, roughly: one paragraph, whatever the Markdown in it says."""
    escaped = text.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"type": "rendered", "raw": text, "markup": "markdown", "html": f"<p>{escaped}</p>"}


def seconds(moment: datetime) -> str:
    """Return a commit's date: whole seconds, and always `+00:00` (codecov/shared, cassettes compared with git)."""
    return moment.isoformat(timespec="seconds")


def microseconds(moment: datetime) -> str:
    """Return a repository's date: microseconds, `+00:00`."""
    return moment.isoformat(timespec="microseconds")
