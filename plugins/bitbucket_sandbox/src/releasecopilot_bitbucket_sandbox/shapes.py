"""JSON objects in the shapes that Bitbucket gives them (facts 1.5, 2, 3, 5)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any
from urllib.parse import quote

import attrs

from .git import Change, GitCommit, GitRepository, Ref

#: E-mail domains of people without an account: their commits have no `author.user` (facts 1.5).
NO_ACCOUNT = ("invalid", "noreply.example", "localhost")


@attrs.frozen
class Shapes:
    """Builds objects for one request; `base` is the address that was called, which links repeat."""

    base: str
    workspace: str

    def repository_link(self, repository: GitRepository) -> str:
        """Return the address of a repository."""
        return f"{self.base}/repositories/{self.workspace}/{repository.slug}"

    def repository(self, repository: GitRepository) -> dict[str, Any]:
        """Return a repository object; `mainbranch` is null while it is empty."""
        main = repository.main_branch
        link = self.repository_link(repository)
        return {
            "type": "repository",
            "uuid": repository.uuid,
            "full_name": f"{self.workspace}/{repository.slug}",
            "name": repository.slug,
            "slug": repository.slug,
            "scm": "git",
            "is_private": True,
            "mainbranch": None if main is None else {"type": "branch", "name": main},
            "workspace": self.workspace_object(),
            "parent": None,
            "description": "",
            "language": "",
            "updated_on": microseconds(repository.updated_on),
            "links": {
                "self": {"href": link},
                "commits": {"href": f"{link}/commits"},
                "branches": {"href": f"{link}/refs/branches"},
            },
        }

    def workspace_object(self) -> dict[str, Any]:
        """Return the workspace as it stands in a repository."""
        return {
            "type": "workspace",
            "uuid": account("workspace", self.workspace)[0],
            "slug": self.workspace,
            "name": self.workspace,
            "links": {"self": {"href": f"{self.base}/workspaces/{self.workspace}"}},
        }

    def commit(self, repository: GitRepository, commit: GitCommit, *, author: str = "as it is") -> dict[str, Any]:
        """Return a commit object; `author` may be `without user` or `null`, as some real ones are."""
        link = f"{self.repository_link(repository)}/commit/{commit.sha}"
        return {
            "type": "commit",
            "hash": commit.sha,
            "date": seconds(commit.date),
            "author": None if author == "null" else self.author(commit, with_user=author != "without user"),
            "message": commit.message,
            "summary": rendered(commit.message),
            "rendered": {"message": rendered(commit.message)},
            "parents": [
                {
                    "type": "commit",
                    "hash": sha,
                    "links": {"self": {"href": f"{self.repository_link(repository)}/commit/{sha}"}},
                }
                for sha in commit.parents
            ],
            "links": {"self": {"href": link}, "statuses": {"href": f"{link}/statuses"}},
            "repository": {
                "type": "repository",
                "full_name": f"{self.workspace}/{repository.slug}",
                "name": repository.slug,
                "uuid": repository.uuid,
                "links": {"self": {"href": self.repository_link(repository)}},
            },
        }

    def author(self, commit: GitCommit, *, with_user: bool) -> dict[str, Any]:
        """Return an author; the key `user` is absent for people without an account."""
        author: dict[str, Any] = {"type": "author", "raw": f"{commit.name} <{commit.email}>"}
        if with_user and "@" in commit.email and not commit.email.endswith(NO_ACCOUNT):
            uuid_, account_id = account("user", commit.email)
            author["user"] = {
                "type": "user",
                "display_name": commit.name,
                "nickname": commit.name,
                "account_id": account_id,
                "uuid": uuid_,
                "links": {"self": {"href": f"{self.base}/users/{quote(uuid_)}"}},
            }
        return author

    def ref(self, repository: GitRepository, ref: Ref, commit: GitCommit) -> dict[str, Any]:
        """Return a branch or tag object; link addresses hold the name unencoded, as Bitbucket's do."""
        target = self.commit(repository, commit)
        for heavy in ("summary", "rendered"):
            del target[heavy]
        plural = "branches" if ref.kind == "branch" else "tags"
        value = {
            "type": ref.kind,
            "name": ref.name,
            "target": target,
            "links": {"self": {"href": f"{self.repository_link(repository)}/refs/{plural}/{ref.name}"}},
        }
        if ref.kind == "branch":
            value["merge_strategies"] = ["merge_commit", "squash", "fast_forward"]
            value["default_merge_strategy"] = "merge_commit"
        return value

    def change(self, repository: GitRepository, change: Change) -> dict[str, Any]:
        """Return one entry of a diffstat: `old` is null for added paths, `new` for removed ones."""

        def side(path: str | None) -> dict[str, Any] | None:
            if path is None:
                return None
            return {"type": "commit_file", "path": path, "escaped_path": quote(path)}

        return {
            "type": "diffstat",
            "status": change.status,
            "lines_added": change.added,
            "lines_removed": change.removed,
            "old": side(change.old_path),
            "new": side(change.new_path),
        }


def account(kind: str, name: str) -> tuple[str, str]:
    """Return the uuid and account id that go with a name, the same each time."""
    found = uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox:{kind}:{name}")
    return f"{{{found}}}", f"557058:{found}"


def rendered(text: str) -> dict[str, str]:
    """Return a text as Bitbucket renders it, roughly."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return {"type": "rendered", "raw": text, "markup": "markdown", "html": f"<p>{escaped}</p>"}


def seconds(moment: datetime) -> str:
    """Return a commit's date: whole seconds, and always `+00:00` (facts 1.3)."""
    return moment.isoformat(timespec="seconds")


def microseconds(moment: datetime) -> str:
    """Return a repository's date: microseconds (facts 9, number 24)."""
    return moment.isoformat(timespec="microseconds")
