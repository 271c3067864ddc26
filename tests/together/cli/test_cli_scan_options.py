"""Every option of `rc ingest bitbucket-scan` does what its help says."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml


def kinds(workspace: Any) -> set[str]:
    """Return the kinds of requests that were made, and forget them."""
    made = {served.kind for served in workspace.sandbox.requests}
    workspace.sandbox.clear_requests()
    return made


def test_defaults(empty_shell: Any, workspace: Any) -> None:
    """Without options and keys: four hours, each main branch, and the documented places, which are made."""
    api = workspace.add("api")
    base = api.commit("main", "RC-1", hours_ago=1)
    api.commit("feature/x", "RC-2", parents=[base])
    empty_shell.configure({"bitbucket": {**workspace.settings().raw("bitbucket"), "default_branches": []}})
    assert empty_shell.scan().code == 0
    assert (empty_shell.folder / "data/bitbucket/commits.db").is_file()
    (document,) = empty_shell.documents("artifacts/issues/wave3/bitbucket")
    assert document["window"]["hours"] == 4
    assert [entry["hash"] for entry in document["payload"]] == [base]
    assert (empty_shell.folder / f"temp_data/bitbucket/scan_{document['run_id']}.log").is_file()


def test_hours(shell: Any, workspace: Any) -> None:
    """The window ends now and begins so many hours ago; fractions count."""
    api = workspace.add("api")
    api.commit("main", "RC-1 before", hours_ago=3)
    api.commit("main", "RC-2 in it", hours_ago=2)
    done = shell.scan("--hours", "2.5")
    (document,) = shell.documents()
    assert document["window"]["hours"] == 2.5
    assert [entry["in_window"] for entry in document["payload"]] == [False, True]
    assert "RC-2" in done.out
    assert "RC-1" not in done.out


def test_config(shell: Any, workspace: Any) -> None:
    """Another settings file is read instead of the usual one."""
    workspace.add("api").commit("main", "RC-1")
    usual = shell.folder / "config" / "settings.yaml"
    values = yaml.safe_load(usual.read_text())
    (shell.folder / "other.yaml").write_text(yaml.safe_dump({**values, "database": "other/commits.db"}))
    usual.write_text("bitbucket: {workspace: elsewhere}\n")
    assert shell.scan("--config", "other.yaml").code == 0
    assert (shell.folder / "other/commits.db").is_file()
    assert "RC-1" in shell.rc("stories", "--config", "other.yaml").out


def test_repos(shell: Any, workspace: Any) -> None:
    """Several names or globs follow one flag up to the next flag, and the flag may be repeated."""
    for slug in ("api", "web-shop", "web-admin", "tools", "docs"):
        workspace.add(slug).commit("main", "RC-1")
    shell.scan("--repos", "api", "web-*", "--full", "--repos", "acme/tools", "--hours", "1")
    shell.scan("--repos=docs")
    first, second = shell.documents()
    assert first["window"]["repositories"] == ["acme/api", "acme/tools", "acme/web-admin", "acme/web-shop"]
    assert first["window"]["hours"] == 1
    assert second["window"]["repositories"] == ["acme/docs"]


def test_branches(shell: Any, workspace: Any) -> None:
    """Names and globs choose; an entry's branch is one of those."""
    api = workspace.add("api")
    base = api.commit("main", "RC-1")
    release = api.commit("release/1.0", "RC-2", parents=[base])
    api.commit("feature/x", "RC-3", parents=[base])
    assert shell.scan("--branches", "release/*", "main", "--hours", "4").code == 0
    assert workspace.stored() == {base, release}
    (document,) = shell.documents()
    assert {entry["hash"]: entry["branch"] for entry in document["payload"]} == {base: "main", release: "release/1.0"}


def test_database(shell: Any, workspace: Any) -> None:
    """A path or an `sqlite:` address; folders are made, and the settings' database is left alone."""
    workspace.add("api").commit("main", "RC-1")
    assert shell.scan("--database", "some/where/a.db").code == 0
    assert shell.scan("--database", "sqlite:///b.db").code == 0
    assert shell.scan("--database", f"sqlite:///{shell.folder}/c.db").code == 0
    assert {"some/where/a.db", "b.db", "c.db"} <= shell.files()
    assert "commits.db" not in shell.files()
    for place in ("some/where/a.db", "sqlite:b.db", shell.folder / "c.db"):
        assert "RC-1" in shell.rc("stories", "--database", place).out


def test_artifact_dir(shell: Any, workspace: Any) -> None:
    """The artifact and its schema go there, and the line on stdout says where it is."""
    workspace.add("api").commit("main", "RC-1")
    done = shell.scan("--artifact-dir", "some/where")
    (document,) = shell.documents("some/where")
    assert f"Artifact: some/where/scan_{document['run_id']}.json" in done.out
    assert not (shell.folder / "artifacts").exists()


def test_full(shell: Any, workspace: Any) -> None:
    """Older history than the window's, and its file lists, come with --full only."""
    api = workspace.add("api")
    shas = api.history("main", [200 - number / 2 for number in range(390)])
    done = shell.scan("--hours", "5.7", "--files", "none")
    assert "Older history of 1 repository is not loaded; use --full for all of it." in done.out
    assert len(workspace.stored()) == 300
    assert shell.scan("--full", "--files", "none").code == 0
    assert workspace.stored() == set(shas)
    bounded, whole = shell.documents()
    assert [d["repositories"][0]["history"] for d in (bounded, whole)] == ["bounded", "complete"]


def test_files(shell: Any, workspace: Any) -> None:
    """`none` asks for no file lists and is complete; `api` fetches what is owed then."""
    workspace.add("api").commit("main", "RC-1", files={"a.txt": "1"})
    assert shell.scan("--files", "none").code == 0
    assert "diffstat" not in kinds(workspace)
    assert shell.scan("--files", "api").code == 0
    assert "diffstat" in kinds(workspace)
    none, api = shell.documents()
    assert [d["payload"][0]["files_status"] for d in (none, api)] == ["owed", "known"]
    assert api["payload"][0]["files_changed"] == ["a.txt"]


def test_dry_run(shell: Any, workspace: Any) -> None:
    """The plan and the least it costs, as a table and as JSON; nothing is written, and no commit is asked for."""
    for slug in ("api", "web-shop"):
        workspace.add(slug).commit("main", "RC-1")
    before = shell.entries()
    done = shell.scan("--dry-run")
    assert done.code == 0
    assert re.search(r"^acme/api +3 +0 +first contact$", done.out, re.MULTILINE)
    last = done.out.rstrip().splitlines()[-3:]
    assert last[0].startswith("At least 7 requests")
    assert last[1:] == ["That takes about 1 minute.", "In this hour 1,000 requests may still be sent."]
    assert kinds(workspace) == {"repositories"}
    plan = shell.scan("--dry-run", "--json", "--repos", "api").json
    entry = {"repository": "acme/api", "requests": 3, "git_operations": 0, "note": "first contact"}
    assert (plan["entries"][1], plan["requests"], plan["quota_left"]) == (entry, 4, 1000)
    assert shell.entries() == before
    shell.scan()
    assert "unchanged" in shell.scan("--dry-run").out
    assert len(shell.documents()) == 1


def test_json(shell: Any, workspace: Any) -> None:
    """One document on stdout: the artifact without its payload, and where the artifact is."""
    workspace.add("api").commit("main", "RC-1")
    workspace.add("locked").commit("main", "RC-2")
    workspace.sandbox.set_fault("forbidden@branches:locked", "1")
    done = shell.scan("--json")
    assert done.code == 3
    printed = done.json
    artifact = json.loads((shell.folder / printed.pop("artifact")).read_text())
    assert artifact.pop("payload")
    assert printed == artifact
    assert list(printed) == list(artifact)


def test_quiet(shell: Any, workspace: Any) -> None:
    """A scan without problems prints nothing at all; one with problems prints those."""
    workspace.add("api").commit("main", "RC-1")
    done = shell.scan("--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = shell.scan("--quiet", "--branches", "main", "nope")
    assert done.code == 3
    assert done.problem == "no repository has a branch 'nope'; check --branches or default_branches"


def test_options_are_explained(shell: Any) -> None:
    """The help names each option, and says what the source does in the words of its plugin."""
    text = shell.scan("--help").out
    for option in ("--hours FLOAT", "--config PATH", "--repos NAME…", "--branches NAME…", "--database PATH-OR-URL",
                   "--artifact-dir PATH", "--full", "--files [auto|api|git|none]", "--dry-run", "--json", "--quiet",
                   "--strict"):  # fmt: skip
        assert option in text
    assert "Scan repositories of a Bitbucket Cloud workspace" in text
    assert "[default: 4.0]" in " ".join(text.split())
