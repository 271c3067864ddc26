"""What changed, by file, against git as the oracle."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
LETTERS = {"added": "A", "removed": "D", "modified": "M"}


def statuses(api: Any, spec: str, **params: Any) -> dict[str, str]:
    """Return path -> status letter of all pages."""
    values = api.values(f"diffstat/{spec}?{urlencode(params, doseq=True)}")
    return {(value["new"] or value["old"])["path"]: LETTERS.get(value["status"], value["status"]) for value in values}


def oracle(repository: Any, base: str, sha: str) -> dict[str, str]:
    """Return what git says, without renames."""
    tokens = repository.git("diff-tree", "-r", "-z", "--name-status", "--no-renames", base, sha).split("\0")[:-1]
    return dict(zip(tokens[1::2], tokens[::2], strict=True))


def test_one_commit_against_its_parent(repository: Any, api: Any) -> None:
    """Added, changed and removed files come with their lines, old and new."""
    repository.commit(files={"a.txt": "1\n2\n", "gone.txt": "x\n"})
    sha = repository.commit(files={"a.txt": "1\n3\n4\n", "gone.txt": None, "new/ö ü.txt": "n\n"})
    body = api.get(f"diffstat/{sha}").json()
    assert (body["pagelen"], body["size"], body["page"]) == (500, 3, 1)
    changed, removed, added = body["values"][0], body["values"][1], body["values"][2]
    assert (changed["status"], changed["lines_added"], changed["lines_removed"]) == ("modified", 2, 1)
    assert changed["old"]["path"] == changed["new"]["path"] == "a.txt"
    assert (removed["status"], removed["new"], removed["old"]["path"]) == ("removed", None, "gone.txt")
    assert (added["status"], added["old"], added["lines_added"]) == ("added", None, 1)
    assert added["new"]["path"] == "new/ö ü.txt"
    assert added["new"]["escaped_path"] == "new/%C3%B6%20%C3%BC.txt"
    assert f"/src/{sha}/new/" in added["new"]["links"]["self"]["href"]


def test_root_commit_against_nothing(repository: Any, api: Any) -> None:
    """Everything in a root commit is added."""
    sha = repository.commit(files={"a": "1\n", "b/c": "2\n"})
    assert statuses(api, sha) == {"a": "A", "b/c": "A"} == oracle(repository, EMPTY_TREE, sha)


def test_merge_against_its_first_parent(repository: Any, api: Any) -> None:
    """A merge shows all that it brought in."""
    base = repository.commit(files={"a": "1"})
    side = repository.commit(branch="side", files={"side": "1"}, parents=[base])
    main = repository.commit(files={"main": "1"})
    merge = repository.commit(files={"side": "1"}, parents=[main, side])
    assert statuses(api, merge) == {"side": "A"} == oracle(repository, main, merge)


def test_ranges_stand_the_other_way_round(repository: Any, api: Any) -> None:
    """`A..B` is what A changes on top of B; slashes in names, encoded or not, do no harm."""
    base = repository.commit(files={"a": "1"})
    side = repository.commit(branch="feature/x", files={"b": "1"}, parents=[base])
    for spec in (f"{side}..{base}", "feature/x..main", "feature%2Fx..main"):
        assert statuses(api, spec) == {"b": "A"}
    assert statuses(api, "main..feature/x") == {"b": "D"}


def test_topic_compares_from_the_merge_base(repository: Any, api: Any) -> None:
    """With topic only one side's changes are shown; unrelated histories have no common ancestor."""
    base = repository.commit(files={"a": "1"})
    repository.commit(branch="side", files={"side": "one\n"}, parents=[base])
    repository.commit(files={"main": "another\n"})
    assert statuses(api, "side..main") == {"side": "A", "main": "D"}
    assert statuses(api, "side..main", topic="true") == {"side": "A"}
    repository.commit(branch="orphan", parents=[])
    answer = api.get("diffstat/orphan..main?topic=true")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No common ancestor")


def test_renames(repository: Any, api: Any) -> None:
    """A renamed file has both sides, changed lines included; with renames=false it is one gone and one new."""
    text = "".join(f"line {n}\n" for n in range(20))
    repository.commit(files={"old name.txt": text})
    sha = repository.commit(files={"old name.txt": None, "new/näme.txt": text + "more\n"})
    (value,) = api.values(f"diffstat/{sha}")
    assert (value["status"], value["lines_added"], value["lines_removed"]) == ("renamed", 1, 0)
    assert (value["old"]["path"], value["new"]["path"]) == ("old name.txt", "new/näme.txt")
    assert statuses(api, sha, renames="false") == {"old name.txt": "D", "new/näme.txt": "A"}


def test_binary_files_have_no_lines(repository: Any, api: Any) -> None:
    """Binary files count zero lines."""
    sha = repository.commit(files={"logo.png": bytes(range(256)), "empty": ""})
    counts = {v["new"]["path"]: (v["lines_added"], v["lines_removed"]) for v in api.values(f"diffstat/{sha}")}
    assert counts == {"logo.png": (0, 0), "empty": (0, 0)}


def test_odd_paths(repository: Any, api: Any) -> None:
    """Colons, tabs and quotes in paths are told as they are."""
    paths = [":colon", 'quo"te', "sp ace", "tab\tbed", "new\nline", "*", "-dash", "ümlaut"]
    sha = repository.commit(files=dict.fromkeys(paths, "1\n"))
    assert statuses(api, sha) == dict.fromkeys(paths, "A")
    assert statuses(api, sha, path="*") == {"*": "A"}


def test_paths_select(repository: Any, api: Any) -> None:
    """`path` may be repeated and name folders."""
    sha = repository.commit(files={"a/1": "1", "b/2": "2", "c": "3"})
    assert statuses(api, sha, path=["a", "c"]) == {"a/1": "A", "c": "A"}


def test_whitespace_can_be_ignored(repository: Any, api: Any) -> None:
    """With ignore_whitespace, lines that differ in blanks only do not count."""
    repository.commit(files={"a": "x y\n"})
    sha = repository.commit(files={"a": "x  y\n"})
    assert api.values(f"diffstat/{sha}")[0]["lines_added"] == 1
    assert sum(value["lines_added"] for value in api.values(f"diffstat/{sha}?ignore_whitespace=true")) == 0


def test_pages(repository: Any, api: Any) -> None:
    """Pages are numbered; 5000 a page at most."""
    sha = repository.commit(files={f"f{n:03}": "x" for n in range(7)})
    assert list(statuses(api, sha, pagelen=3)) == [f"f{n:03}" for n in range(7)]
    assert api.get(f"diffstat/{sha}?pagelen=5000").status_code == 200
    assert api.get(f"diffstat/{sha}?pagelen=5001").status_code == 400


@pytest.mark.parametrize("spec", ["nowhere", "main..nowhere", "nowhere..main", "main...main"])
def test_unknown_revisions(repository: Any, api: Any, spec: str) -> None:
    """A revision that does not exist is a 404."""
    repository.commit()
    assert api.get(f"diffstat/{spec}").json()["error"]["message"] == "Commit not found"


def test_merge_base(repository: Any, api: Any) -> None:
    """The common ancestor is told as a commit; unrelated histories are a 400."""
    base = repository.commit()
    repository.commit(branch="side", parents=[base])
    repository.commit()
    assert api.get("merge-base/side..main").json()["hash"] == base
    repository.commit(branch="orphan", parents=[])
    assert api.get("merge-base/orphan..main").status_code == 400
    assert api.get("merge-base/main").status_code == 400
