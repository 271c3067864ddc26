"""What git prints becomes the commits that git has: whatever bytes are in them, and however it is cut into blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releasecopilot_git.log import CutOff, Detail, commits_of
from releasecopilot_git.running import Git, GitError
from releasecopilot_git.testing import FILE, NASTY, SUBMODULE, Drawn, Repository, histories

from releasecopilot_core import Commit, FileChange

EVERY = Detail()
WORDS = {b"A": "added", b"D": "removed", b"M": "modified", b"T": "modified"}


def listed(git: Git, detail: Detail = EVERY) -> list[Commit]:
    return list(commits_of(git.stream("log", "--all", "--topo-order", *detail.arguments()), detail))


def text(content: bytes, encoding: list[bytes] | None) -> str:
    """Return bytes of a commit as git shows them: up to a NUL, out of the encoding that the commit names."""
    codec = {b"ISO-8859-1": "latin-1", b"UTF-7": "utf-7"}.get(encoding[0] if encoding else b"", "utf-8")
    try:
        return content.decode(codec).partition("\0")[0]
    except UnicodeDecodeError:  # git leaves it as it is
        return content.decode("utf-8", "replace")


def told_by_git(repository: Repository, sha: str) -> Commit:
    """Return a commit as its object and `git diff-tree` tell it."""
    headers, message = repository.content(sha)
    ident, _, written = headers[b"author"][0].rpartition(b"> ")
    name, _, mail = ident.partition(b"<")
    name = name.rstrip(b" \t")
    committed = int(headers[b"committer"][0].rsplit(b" ", 2)[1])
    encoding = headers.get(b"encoding")
    changed = repository.changed(sha, "--no-renames", "--name-status")
    pairs = zip(changed[::2], changed[1::2], strict=True)
    author = f"{text(name, encoding)} <{text(mail, encoding)}>"
    return Commit(
        sha=sha,
        author=author,
        author_name=author[: author.rindex("<")].strip() or None,
        author_email=author[author.rindex("<") + 1 : -1].strip() or None,
        date=datetime.fromtimestamp(committed, UTC),
        author_date=datetime.fromtimestamp(int(written.split()[0]), UTC),
        message=text(message.partition(b"\0")[0], encoding),
        parents=tuple(parent.decode() for parent in headers.get(b"parent", [])),
        files=tuple(FileChange(path.decode("utf-8", "replace"), WORDS[status]) for status, path in pairs),
    )


@given(drawn=histories())
def test_commits_are_those_of_git(
    new_repository: Callable[..., Repository], read: Callable[[Repository], Git], drawn: list[Drawn]
) -> None:
    """Every field of every commit is what its object says, with odd bytes, octopus merges, links and submodules."""
    repository = new_repository()
    shas = repository.write(drawn)
    found = {commit.sha: commit for commit in listed(read(repository))}
    assert set(found) == set(shas)
    for sha in set(shas):
        assert found[sha] == told_by_git(repository, sha)


@settings(max_examples=25)
@given(drawn=histories(), data=st.data())
def test_blocks_may_be_cut_anywhere(
    new_repository: Callable[..., Repository],
    read: Callable[[Repository], Git],
    drawn: list[Drawn],
    data: st.DataObject,
) -> None:
    """However the bytes come in, inside characters and fields too, the commits are the same."""
    repository = new_repository()
    repository.write(drawn)
    git = read(repository)
    for detail in (EVERY, Detail(files=False), Detail(lines=True, renames=True)):
        whole = git.run("log", "--all", *detail.arguments())
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
        blocks = [whole[start:end] for start, end in itertools.pairwise([0, *cuts, len(whole)])]
        assert list(commits_of(blocks, detail)) == list(commits_of([whole], detail))
        assert list(commits_of([bytes([byte]) for byte in whole], detail)) == list(commits_of([whole], detail))


@settings(max_examples=25)
@given(drawn=histories(), data=st.data())
def test_commit_that_was_cut_off_is_never_told(
    new_repository: Callable[..., Repository],
    read: Callable[[Repository], Git],
    drawn: list[Drawn],
    data: st.DataObject,
) -> None:
    """When git fails after any byte, what came is whole: the commits before it, and nothing half."""
    repository = new_repository()
    repository.write(drawn)
    git = read(repository)
    whole = git.run("log", "--all", *EVERY.arguments())
    commits = list(commits_of([whole], EVERY))
    for end in data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=8)):

        def failing(end: int = end) -> Iterator[bytes]:
            yield whole[:end]
            raise GitError("git log failed: killed")

        told: list[Commit] = []
        with pytest.raises((GitError, CutOff)):
            told.extend(commits_of(failing(), EVERY))
        assert told == commits[: len(told)]


def test_end_inside_a_commit_is_noticed() -> None:
    """A stream that just stops inside a field, or between the fields of a commit, is cut off."""
    for broken in (b"1" * 40, b"1" * 40 + b"\0", b"1" * 40 + b"\0\0" + b"5\0" * 4 + b"message\0\nM\0"):
        with pytest.raises(CutOff):
            list(commits_of([broken], EVERY))
    assert list(commits_of([], EVERY)) == []


def test_message_that_looks_like_the_log_forges_nothing(repository: Repository, read: Any) -> None:
    """Lines that look like commits, statuses and hashes stay what they are: text."""
    shas = repository.write(
        [
            Drawn(message=b"\0".join(NASTY), changes={b"a": (FILE, b"1")}),
            *(Drawn((number,), message=text, changes={text.replace(b"\0", b"") or b"x": (FILE, b"%d" % number)})
              for number, text in enumerate(filter(lambda t: b"/" not in t and t.strip(b"\0"), NASTY))),
        ]
    )  # fmt: skip
    found = listed(read(repository))
    assert [commit.sha for commit in found] == shas[::-1]
    assert all(commit == told_by_git(repository, commit.sha) for commit in found)
    assert all(commit.files and len(commit.files) == 1 for commit in found)


def test_huge_messages_are_read(repository: Repository, read: Any) -> None:
    """A message of many megabytes comes whole, between others."""
    huge = b"All work and no play\n" * 500_000
    repository.write([Drawn(message=b"before\n"), Drawn((0,), message=huge), Drawn((1,), message=b"after\n")])
    assert [commit.message for commit in listed(read(repository))] == ["after\n", huge.decode(), "before\n"]


def test_author_line_that_git_cannot_read_is_unknown(repository: Repository, read: Any) -> None:
    """What is no ident is not taken for an empty one."""
    tree = repository.git("mktree", given=b"").strip()
    for line in ("nobody", "<> 1 +0000", "A <a@x> 1 +0000"):
        content = f"tree {tree}\nauthor {line}\ncommitter A <a@x> 1 +0000\n\nx\n".encode()
        sha = repository.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", given=content).strip()
        repository.set(f"b{len(line)}", sha)
    assert {commit.author for commit in listed(read(repository))} == {None, " <>", "A <a@x>"}


def test_dates_that_no_calendar_has_are_unknown(repository: Repository, read: Any) -> None:
    """Broken tools write such dates; the commit counts all the same."""
    shas = repository.write([Drawn(committed=10**15, written=10**17), Drawn((0,))])
    found = {commit.sha: commit for commit in listed(read(repository))}
    assert (found[shas[0]].date, found[shas[0]].author_date) == (None, None)
    assert found[shas[1]].date is not None


# --- files -----------------------------------------------------------------------------------------------------


def test_merges_are_compared_with_their_first_parent(repository: Repository, read: Any) -> None:
    """An octopus brings what its other parents changed; a merge that keeps ours brings nothing."""
    shas = repository.write(
        [
            Drawn(changes={b"a": (FILE, b"1")}),
            Drawn((0,), changes={b"b": (FILE, b"1")}),
            Drawn((0,), changes={b"c": (FILE, b"1")}),
            Drawn((0, 1, 2), changes={b"b": (FILE, b"1"), b"c": (FILE, b"1")}),
            Drawn((3, 1)),
        ]
    )
    files = {commit.sha: commit.files for commit in listed(read(repository))}
    assert files[shas[3]] == (FileChange("b", "added"), FileChange("c", "added"))
    assert files[shas[4]] == ()


def test_renames_are_two_changes_unless_they_are_asked_for(repository: Repository, read: Any) -> None:
    """Without the option a renamed path is removed and added, as `git diff-tree --no-renames` has it."""
    lines = b"".join(b"line %d\n" % number for number in range(50))
    repository.write(
        [
            Drawn(changes={b"old\t\n": (FILE, lines)}),
            Drawn((0,), changes={b"old\t\n": (None, b""), b"new": (FILE, lines)}),
        ]
    )
    git = read(repository)
    newest, *_ = listed(git)
    assert newest.files == (FileChange("new", "added"), FileChange("old\t\n", "removed"))
    newest, *_ = listed(git, Detail(renames=True))
    assert newest.files == (FileChange("new", "renamed", "old\t\n"),)
    newest, *_ = listed(git, Detail(renames=True, lines=True))
    assert newest.files == (FileChange("new", "renamed", "old\t\n", 0, 0),)


@settings(max_examples=25)
@given(drawn=histories())
def test_line_counts_are_those_of_git(
    new_repository: Callable[..., Repository], read: Callable[[Repository], Git], drawn: list[Drawn]
) -> None:
    """Counts are those of `git diff-tree --numstat`, 0/0 for binary files; statuses are those without counts."""
    repository = new_repository()
    shas = repository.write(drawn)
    git = read(repository)
    plain = {commit.sha: commit for commit in listed(git)}
    for commit in listed(git, Detail(lines=True)):
        stripped = [attrs.evolve(change, lines_added=None, lines_removed=None) for change in commit.files or ()]
        assert tuple(stripped) == plain[commit.sha].files
        counts = [
            entry.decode("utf-8", "replace").split("\t", 2)
            for entry in repository.changed(commit.sha, "--no-renames", "--numstat")
        ]
        expected = {(path, *(0 if n == "-" else int(n) for n in (added, removed))) for added, removed, path in counts}
        assert {(c.path, c.lines_added, c.lines_removed) for c in commit.files or ()} == expected
    assert set(plain) == set(shas)


def test_without_files_they_are_unknown(repository: Repository, read: Any) -> None:
    """Not asked for is not the same as none: the list is owed."""
    repository.write([Drawn(changes={b"a": (FILE, b"1")}), Drawn((0,))])
    assert {(commit.files, commit.files_status) for commit in listed(read(repository), Detail(files=False))} == {
        (None, "owed")
    }
    assert [commit.files_status for commit in listed(read(repository))] == ["known", "known"]


# --- nobody's configuration matters ----------------------------------------------------------------------------

HOSTILE = (
    ("log.showSignature", "true"), ("log.showRoot", "false"), ("log.diffMerges", "combined"), ("log.mailmap", "true"),
    ("log.decorate", "full"), ("log.abbrevCommit", "true"), ("log.date", "relative"), ("log.follow", "true"),
    ("format.pretty", "oneline"), ("color.ui", "always"), ("color.diff", "always"), ("diff.renames", "copies"),
    ("diff.orderFile", "/nowhere/order"), ("diff.ignoreSubmodules", "all"), ("diff.noprefix", "true"), ("diff.relative", "true"),
    ("diff.external", "/nowhere/diff"), ("diff.statGraphWidth", "1"), ("i18n.logOutputEncoding", "UTF-16"),
    ("core.quotePath", "true"), ("core.abbrev", "4"), ("core.pager", "/nowhere/pager"), ("core.attributesFile", "/nowhere"),
    ("core.bare", "false"), ("notes.displayRef", "refs/notes/*"), ("alias.log", "!false"), ("gpg.program", "/nowhere/gpg"),
    ("core.fsmonitor", "/nowhere/monitor"), ("core.hooksPath", "/nowhere"), ("column.ui", "always"), ("pager.log", "true"),
)  # fmt: skip


def test_repository_settings_change_nothing(repository: Repository, read: Any, tmp_path: Any) -> None:
    """Whatever a repository has configured, replaced, grafted or noted, its commits are the same."""
    name, lines, mailmap = "größe".encode(), b"1\n" * 30, b"Bob <bob@acme.example> <ann@acme.example>\n"
    latin = {"message": "Größe".encode("latin-1"), "encoding": b"ISO-8859-1"}
    draft = [
        Drawn(changes={b"sub": (SUBMODULE, b"\1"), name: (FILE, lines)}, **latin),
        Drawn((0,), changes={b"sub": (SUBMODULE, b"\2"), b"b": (FILE, lines), name: (None, b"")}),
        Drawn((1, 0), changes={b".mailmap": (FILE, mailmap), b"x.bin": (FILE, b"\0")}),
    ]
    shas = repository.write(draft)
    git = read(repository)
    before = listed(git), listed(git, Detail(lines=True, renames=True))
    repository.configure(*HOSTILE)
    (repository.path / "info").mkdir(exist_ok=True)
    (repository.path / "info" / "grafts").write_text(f"{shas[2]}\n")
    (repository.path / "info" / "attributes").write_text("*.bin diff=odd\n")
    repository.git("replace", shas[0], shas[1])
    repository.git("-c", "user.name=x", "-c", "user.email=x@x", "notes", "add", "-m", "A note", shas[1])
    branches = ("--branches", "--topo-order")
    for detail, expected in zip((EVERY, Detail(lines=True, renames=True)), before, strict=True):
        assert list(commits_of(git.stream("log", *branches, *detail.arguments()), detail)) == expected


def test_environment_changes_nothing(
    repository: Repository, read: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What a shell, a hook or a home directory has set for git does not reach it."""
    repository.write([Drawn(changes={b"a": (FILE, b"1")}), Drawn((0,), message="Größe".encode())])
    git = read(repository)
    before = listed(git)
    (tmp_path / ".gitconfig").write_text(
        "".join(f"[{key.rpartition('.')[0]}]\n{key.rpartition('.')[2]} = {value}\n" for key, value in HOSTILE)
    )
    nowhere = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "EXTERNAL_DIFF", "PAGER", "EXEC_PATH_")
    variables = {
        **{f"GIT_{name}": "/nowhere" for name in nowhere},
        **{name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME")},
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "log.showRoot",
        "GIT_CONFIG_VALUE_0": "false",
        "GIT_CONFIG_PARAMETERS": "'color.ui=always'",
        "GIT_TRACE": "1",
        "GIT_NAMESPACE": "x",
        "GIT_DEFAULT_HASH": "sha256",
        "LC_ALL": "de_DE.ISO-8859-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert listed(git) == before


def test_sha256_repositories_are_read(new_repository: Any, read: Any) -> None:
    """Hashes may be longer."""
    repository = new_repository("long.git", "--object-format=sha256")
    repository.line(3)
    found = listed(read(repository))
    assert [len(commit.sha) for commit in found] == [64] * 3
    assert found[0].parents == (found[1].sha,)
    assert found[0].files
