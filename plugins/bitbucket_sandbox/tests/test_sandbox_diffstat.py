"""Diffstats and merge bases, against `git diff-tree`."""

from __future__ import annotations

import pytest


def table(api, spec, **params):
    """Return (status, old path, new path, added, removed) of each change."""
    return [
        (
            value["status"],
            value["old"] and value["old"]["path"],
            value["new"] and value["new"]["path"],
            value["lines_added"],
            value["lines_removed"],
        )
        for value in api.values(f"diffstat/{spec}", **params)
    ]


@pytest.fixture
def changed(repository):
    """Give a commit that does each kind of thing to a file."""
    text = "".join(f"line {number}\n" for number in range(20))
    first = repository.commit("First\n", {"gone": "x\ny\n", "kept": "1\n2\n", "moved": text, "same": "1\n"})
    files = {"gone": None, "kept": "1\n3\n4\n", "moved": None, "to/moved": text, "new": "1\n", "bin": bytes(range(256))}
    return first, repository.commit("Second\n", files)


def test_each_status(api, changed):
    """Added, removed, modified, renamed and binary files are told with their sides and lines."""
    assert sorted(table(api, changed[1]), key=str) == sorted(
        [
            ("added", None, "bin", 0, 0),
            ("removed", "gone", None, 0, 2),
            ("modified", "kept", "kept", 2, 1),
            ("added", None, "new", 1, 0),
            ("renamed", "moved", "to/moved", 0, 0),
        ],
        key=str,
    )


def test_renames_can_be_left_out(api, changed):
    """With `renames=false` a rename is a removal and an addition."""
    found = {(row[0], row[1] or row[2]) for row in table(api, changed[1], renames="false")}

    assert {("removed", "moved"), ("added", "to/moved")} <= found


def test_path_restricts(api, changed):
    """`path` may be repeated and keeps to these paths."""
    assert {row[1] or row[2] for row in table(api, changed[1], path=["kept", "new"])} == {"kept", "new"}


def test_root_commit_is_compared_with_nothing(api, changed):
    """All files of a root commit are added."""
    assert [row[0] for row in table(api, changed[0])] == ["added"] * 4


def test_merge_is_compared_with_its_first_parent(api, repository):
    """A merge shows all that it brought in, and not what its own side had."""
    base = repository.commit("Base\n", {"a": "1\n"})
    ours = repository.commit("Ours\n", {"ours": "1\n"})
    theirs = repository.commit("Theirs\n", {"theirs": "1\n"}, branch="side", parents=[base])
    merge = repository.commit("Merge\n", {"theirs": "1\n"}, parents=[ours, theirs])

    assert table(api, merge) == [("added", None, "theirs", 1, 0)]


def test_range_is_reversed(api, repository):
    """`A..B` tells what A changes on top of B, the other way round than git."""
    one = repository.commit("One\n", {"a": "1\n"})
    two = repository.commit("Two\n", {"b": "1\n2\n"})

    assert table(api, f"{two}..{one}") == [("added", None, "b", 2, 0)]
    assert table(api, f"{one}..{two}") == [("removed", "b", None, 0, 2)]


def test_topic_compares_from_the_merge_base(api, repository):
    """With `topic=true` what happened on B's side since does not show."""
    base = repository.commit("Base\n", {"a": "1\n"})
    repository.commit("Main\n", {"m": "other\n"})
    side = repository.commit("Side\n", {"s": "1\n"}, branch="side", parents=[base])

    assert table(api, f"{side}..main", topic="true") == [("added", None, "s", 1, 0)]
    assert len(table(api, f"{side}..main", topic="false")) == 2


def test_branch_with_a_slash_in_a_range(api, repository):
    """Names of branches may stand in a range, encoded."""
    base = repository.commit("Base\n", {"a": "1\n"})
    repository.commit("Side\n", {"b": "1\n"}, branch="topic/x", parents=[base])

    assert table(api, "topic%2Fx..main") == [("added", None, "b", 1, 0)]


@pytest.mark.parametrize(
    "path",
    [
        "tab\tin",
        "new\nline",
        'quo"te',
        "back\\slash",
        "größe",
        "日本/語",
        " spaced ",
        ":colon",
        "per%cent",
        "-dash",
        "a -> b",
        "{a => b}",
    ],
)
def test_odd_paths(api, repository, path):
    """A path of any characters is told as it is, with and without a rename."""
    text = "".join(f"{number}\n" for number in range(9))
    added = repository.commit("Add\n", {path: text})
    repository.commit("Other\n", {"other": "1\n"})
    moved = repository.commit("Move\n", {path: None, f"to/{path}": text})

    assert table(api, added) == [("added", None, path, 9, 0)]
    assert table(api, added, path=path) == [("added", None, path, 9, 0)]
    assert table(api, moved) == [("renamed", path, f"to/{path}", 0, 0)]


def test_pages(api, repository):
    """Pages are numbered and tell the size; next leads to the rest."""
    sha = repository.commit("Many\n", {f"f{number}": "1\n" for number in range(7)})

    first = api.json(f"diffstat/{sha}", pagelen=3)

    assert (first["pagelen"], first["size"], first["page"], len(first["values"])) == (3, 7, 1, 3)
    assert len(table(api, sha, pagelen=3)) == 7
    assert len({row[2] for row in table(api, sha, pagelen=3)}) == 7


def test_default_and_most_of_a_page(api, repository):
    """A page has 500 changes by default and 5000 at most."""
    sha = repository.commit("Many\n", {f"f{number:03}": "1\n" for number in range(501)})

    assert api.json(f"diffstat/{sha}")["pagelen"] == 500
    assert "next" in api.json(f"diffstat/{sha}")
    assert len(api.json(f"diffstat/{sha}", pagelen=5000)["values"]) == 501
    assert api.get(f"diffstat/{sha}", params={"pagelen": 5001}).status_code == 400


def test_modes_links_and_submodules(api, repository):
    """What is no plain file is told as well."""
    sha = repository.git(
        "fast-import", "--quiet", "--cat-blob-fd=1",
        given=b"commit refs/heads/main\nmark :1\ncommitter A <a@b.example> 1 +0000\ndata 0\n\n"
        b"M 120000 inline link\ndata 4\nthere\n".replace(b"data 4", b"data 5")
        + b"M 160000 " + b"1" * 40 + b" module\nM 100755 inline tool\ndata 1\nx\n\nget-mark :1\n",
    ).strip()  # fmt: skip

    assert [row[2] for row in table(api, sha)] == ["link", "module", "tool"]


def test_numbers_equal_diff_tree(api, repository, changed):
    """Lines are counted as git counts them."""
    lines = repository.lines("diff-tree", "-r", "-M", "--numstat", *changed)
    expected = sorted(tuple(0 if part == "-" else int(part) for part in line.split("\t")[:2]) for line in lines)

    assert sorted(row[3:] for row in table(api, changed[1])) == expected


def test_settings_where_it_runs_do_not_count(repository, serve, tmp_path, monkeypatch):
    """Attributes in the folder that the server was started from, or of its user, change no diffstat."""
    for place in (tmp_path / ".gitattributes", tmp_path / ".config" / "git" / "attributes"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("* -diff\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    repository.git("config", "core.bare", "false")
    sha = repository.commit("A\n", {"a.txt": "1\n"})

    assert table(serve(), sha) == [("added", None, "a.txt", 1, 0)]


def test_whitespace_can_be_ignored(api, repository):
    """With `ignore_whitespace`, lines that differ in blanks only do not count."""
    repository.commit("One\n", {"a": "x y\n"})
    sha = repository.commit("Two\n", {"a": "x  y\n"})

    assert [row[3] for row in table(api, sha)] == [1]
    assert sum(row[3] for row in table(api, sha, ignore_whitespace="true")) == 0


def test_sides_are_addressed(api, changed):
    """Each side's path is told escaped as well, with a link to that side's commit."""
    (value,) = api.values(f"diffstat/{changed[1]}", path="new")

    assert value["new"]["escaped_path"] == "new"
    assert f"/src/{changed[1]}/new" in value["new"]["links"]["self"]["href"]


@pytest.mark.parametrize("spec", ["1" * 40, "nowhere..main", "main..nowhere", "main...main"])
def test_unknown_revisions(api, repository, spec):
    """A diffstat of what is not there is a 404."""
    repository.commit()

    assert api.get(f"diffstat/{spec}").status_code == 404


def test_unrelated_histories(api, repository):
    """Without a common ancestor there is neither merge base nor topic diffstat."""
    repository.commit("One\n")
    repository.commit("Other\n", branch="other", parents=[])

    for path in ("merge-base/main..other", "diffstat/main..other?topic=true"):
        answer = api.get(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "No common ancestor"


def test_merge_base(api, repository):
    """The merge base of two branches is where they forked."""
    base = repository.commit("Base\n")
    repository.commit("Main\n")
    repository.commit("Side\n", branch="side", parents=[base])

    assert api.json("merge-base/main..side")["hash"] == base
    assert api.get("merge-base/main").status_code == 400
