"""The branches of a repository, and which of them is the main one."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .running import Git

_HEADS = "refs/heads/"
_ORIGIN = "refs/remotes/origin/"

#: In a checkout HEAD is what somebody works on; the main branch is known by its name, when no remote tells it.
_MAIN_NAMES = ("main", "master", "trunk")


@attrs.frozen
class Refs:
    """Branch name -> head of all branches, and the main branch's name; `None` where there is none."""

    tips: Mapping[str, str]
    main: str | None


def refs_of(git: Git, *, checkout: bool) -> Refs:
    """Return the branches of a repository on this machine; those that point to no commit that is here are left out.

    The main branch of a bare repository is that of HEAD. In a checkout it is that of `origin`, then one that is called
    `main`, `master` or `trunk`, and only then the one that is checked out: working on a feature makes it no main branch.
    """
    shape = "%(HEAD)%(objectname) %(refname) %(symref)"
    # Names of refs hold no blanks and no control characters (git-check-ref-format).
    printed = git.run("for-each-ref", f"--format={shape}", _HEADS, f"{_ORIGIN}HEAD").decode("utf-8", "replace")
    tips: dict[str, str] = {}
    head = origin = None
    for line in printed.split("\n")[:-1]:
        sha, name, target = line[1:].split(" ")
        if name.startswith(_HEADS):
            tips[name.removeprefix(_HEADS)] = sha
            head = name.removeprefix(_HEADS) if line[0] == "*" else head
        else:
            origin = target.removeprefix(_ORIGIN)
    kinds = git.kinds(list(tips.values()))
    tips = {name: sha for (name, sha), kind in zip(tips.items(), kinds, strict=True) if kind == "commit"}
    candidates = (origin, *_MAIN_NAMES, head) if checkout else (head,)
    return Refs(tips, next((name for name in candidates if name in tips), None))


def refs_told(answer: bytes) -> Refs:
    """Return the branches that `git ls-remote --symref` printed; the main one is that of the server's HEAD."""
    tips: dict[str, str] = {}
    main = None
    for line in answer.decode("utf-8", "replace").split("\n"):
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith(f"ref: {_HEADS}"):
            main = value.removeprefix(f"ref: {_HEADS}")
        elif name.startswith(_HEADS):
            tips[name.removeprefix(_HEADS)] = value
    return Refs(tips, main if main in tips else None)
