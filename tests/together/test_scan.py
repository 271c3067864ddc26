"""Scans of the sandbox over HTTP, with git as the oracle."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import document

from releasecopilot_core.errors import UnknownNameError


def test_whole_path(workspace: Any) -> None:
    """Commits, parents, dates, authors, files and keys are git's own."""
    api = workspace.add("api")
    first = api.commit("main", "RC-1 Begin\n\nUTF-8 all the way", hours_ago=3, files={"a.txt": "1\n", "ü ö.txt": "x"})
    second = api.commit("main", "Change", hours_ago=2, files={"a.txt": "2\n", "ü ö.txt": None})
    side = api.commit("feature/RC-12_fix", "Work", hours_ago=1.5, parents=[second], files={"b.txt": "b"})
    merge = api.commit("main", "Merge", hours_ago=1, parents=[second, side], files={"b.txt": "b"})
    run = workspace.scan()
    assert (run.status, run.new, run.listed) == ("complete", 4, 4)
    assert workspace.stored() == {first, second, side, merge}
    for sha in workspace.stored():
        assert workspace.files(sha) == api.files(sha)
    parents = workspace.rows(f"SELECT parent FROM commit_parents WHERE sha = '{merge}' ORDER BY position")
    assert parents == [(second,), (side,)]
    assert workspace.rows(
        f"SELECT lines_added, lines_removed FROM commit_files WHERE sha = '{second}' AND path = 'a.txt'"
    ) == [(1, 1)]
    keys = {(e["hash"], key) for e in document(run)["payload"] for key in e["story_keys"]}
    assert keys == {(first, "RC-1")}


def test_branch_names_speak_for_their_own_commits(workspace: Any) -> None:
    """A feature's commits get its story, and main's, merged into it, do not."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    own = api.commit("feature/RC-12_fix", "work", parents=[base])
    other = api.commit("main", "other work")
    merge = api.commit("feature/RC-12_fix", "merge main", parents=[own, other])
    workspace.scan()
    assert set(workspace.rows("SELECT sha, story_key, origin FROM commit_story_keys")) == {
        (own, "RC-12", "branch"),
        (merge, "RC-12", "branch"),
    }


def test_second_scan_of_a_quiet_workspace_costs_one_request(workspace: Any) -> None:
    """The workspace's list tells that nothing moved; the window's commits are seen again without asking."""
    for slug in ("api", "web", "tools"):
        workspace.add(slug).commit("main", "RC-1")
    workspace.scan()
    workspace.asked()
    run = workspace.scan()
    assert workspace.asked() == {"repositories": 1}
    assert (run.status, run.new, run.listed, run.refreshed) == ("complete", 0, 0, 3)
    assert sorted(run.story_keys) == ["RC-1"]


def test_late_push_of_old_work_is_found(workspace: Any) -> None:
    """Dates do not decide: work of last year, pushed now, is new, and outside the window."""
    api = workspace.add("api")
    api.commit("main", "base", hours_ago=2)
    workspace.scan()
    late = api.commit("feature/late", "RC-7 old work", hours_ago=24 * 365)
    run = workspace.scan(hours=4)
    assert (run.new, run.earlier) == (1, 1)
    (entry,) = [entry for entry in document(run)["payload"] if entry["hash"] == late]
    assert (entry["new"], entry["in_window"], entry["files_status"], entry["story_keys"]) == (
        True,
        False,
        "known",
        ["RC-7"],
    )


def test_first_contact_is_bounded_and_deepened(workspace: Any) -> None:
    """A window of 4 hours on a long history costs few requests and says what is not loaded; --full loads it."""
    api = workspace.add("api")
    shas = api.history("main", [float(n) / 2 for n in range(900, 0, -1)])
    run = workspace.scan(hours=4.4)
    cost = workspace.asked()
    assert document(run)["repositories"][0]["history"] == "bounded"
    assert cost["commits"] == 3
    assert cost["diffstat"] == 8
    assert run.status == "complete"
    assert workspace.stored() == set(shas[-300:])
    wider = workspace.scan(hours=60.4, files="api")
    assert workspace.asked()["diffstat"] == 112
    # The window's start had been passed already: two pages behind it, and none of them is owed its files.
    assert (wider.new, wider.status) == (200, "complete")
    full = workspace.scan(full=True, files="none")
    assert workspace.stored() == set(shas)
    assert document(full)["repositories"][0]["history"] == "complete"


def test_history_behind_a_branch_that_is_gone_is_loaded_too(workspace: Any) -> None:
    """Another branch left out what lies behind its head: `--full` goes on from its boundary all the same."""
    api = workspace.add("api")
    api.commit("main", "base", hours_ago=900)
    api.set("feature/long", api.head("main"))
    api.history("feature/long", [800.0 - n for n in range(450)])
    workspace.scan(files="none")
    api.commit("feature/next", "work", parents=[api.head("feature/long")])
    workspace.scan(files="none")
    api.delete("feature/long")
    assert workspace.scan(files="none").repositories[0].history == "bounded"
    run = workspace.scan(full=True, files="none")
    assert (run.status, run.repositories[0].history) == ("complete", "complete")
    assert workspace.stored() == set(api.reachable("main", "feature/next"))
    assert set(run.repositories[0].heads_after) == {"main", "feature/next"}


def test_history_behind_a_branch_that_is_not_wanted_any_more_is_loaded_too(workspace: Any) -> None:
    """The same for a branch that was taken out of the settings; its new commits stay unknown."""
    api = workspace.add("api")
    shas = api.history("main", [900.0 - n for n in range(450)])
    release = api.commit("release/1", "release", parents=[shas[-1]])
    workspace.scan(files="none")
    unwanted = api.commit("main", "unwanted")
    run = workspace.scan(branches=["release/*"], full=True, files="none")
    assert (run.status, run.repositories[0].history) == ("complete", "complete")
    assert workspace.stored() == {*shas, release}
    assert unwanted not in workspace.stored()


def test_force_push_and_garbage_collection(workspace: Any) -> None:
    """The old head is gone from the service: the scan goes on from what is stored, and nothing is deleted."""
    api = workspace.add("api")
    shas = api.history("main", [3.0, 2.9, 2.8, 2.7, 2.6, 2.5])
    workspace.scan()
    api.set("main", shas[1])
    api.collect_garbage()
    new = api.commit("main", "rewritten")
    run = workspace.scan()
    assert (run.status, run.listed, run.new) == ("complete", 1, 1)
    assert workspace.stored() == {*shas, new}
    assert document(run)["repositories"][0]["heads_after"]["main"] == new


def test_deleted_and_recreated_branches(workspace: Any) -> None:
    """A branch that is gone from the listing is marked, and lives again when it comes back."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    api.commit("feature/x", "work", parents=[base])
    workspace.scan()
    api.delete("feature/x")
    workspace.scan()
    assert workspace.rows("SELECT branch FROM heads WHERE deleted_at IS NULL") == [("main",)]
    again = api.commit("feature/x", "other work", parents=[base])
    workspace.scan()
    assert ("feature/x", again) in workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL")


def test_renamed_repository_stays_the_same(workspace: Any) -> None:
    """The uuid is the identity: one row changes its name, and nothing is new."""
    api = workspace.add("api")
    api.commit("main", "base")
    workspace.scan()
    shutil.move(workspace.repositories / "api.git", workspace.repositories / "core.git")
    run = workspace.scan()
    assert (run.status, run.new) == ("complete", 0)
    assert workspace.rows("SELECT full_name FROM repositories") == [("acme/core",)]


def test_fork_shares_commits_and_keeps_its_own_links(workspace: Any) -> None:
    """The same sha in two repositories is one commit, with an entry for each."""
    api = workspace.add("api")
    sha = api.commit("main", "RC-1 shared")
    shutil.copytree(workspace.repositories / "api.git", workspace.repositories / "fork.git")
    run = workspace.scan()
    assert [(e["hash"], e["repository"]) for e in document(run)["payload"]] == [(sha, "acme/api"), (sha, "acme/fork")]
    assert len(workspace.rows("SELECT * FROM commits")) == 1


def test_empty_repository_is_complete(workspace: Any) -> None:
    """Whether an empty repository answers 200 or 404, there is nothing to miss."""
    workspace.add("empty")
    for answer in ("200", "404"):
        workspace.sandbox.set_fault("empty-repository", answer)
        assert workspace.scan().status == "complete"


def test_authors_without_account(workspace: Any) -> None:
    """`author.user` may be absent and `author` null: the rest of the commit is kept."""
    api = workspace.add("api")
    api.commit("main", "x", author="Jenkins <>")
    workspace.sandbox.set_fault("no-author-user", "1")
    workspace.scan()
    assert workspace.rows("SELECT author, author_name, author_email FROM commits") == [("Jenkins <>", "Jenkins", None)]
    workspace.sandbox.set_fault("null-author", "1")
    api.commit("main", "y")
    assert workspace.scan().new == 1


def test_repositories_are_chosen_by_name_and_glob(workspace: Any) -> None:
    """Names, globs and `workspace/name` select; a name that is not there is the caller's mistake."""
    for slug in ("api", "web-shop", "web-admin"):
        workspace.add(slug).commit("main", "x")
    run = workspace.scan(repositories=["web-*", "acme/api"])
    assert [r.name for r in run.repositories] == ["acme/api", "acme/web-admin", "acme/web-shop"]
    assert [r.name for r in workspace.scan(repositories=["api"]).repositories] == ["acme/api"]
    with pytest.raises(UnknownNameError, match="no repository 'apo' in workspace 'acme'"):
        workspace.scan(repositories=["apo"])
    run = workspace.scan(bitbucket={"repositories": ["api", "gone"]})
    assert (run.status, {r.name: r.status for r in run.repositories}) == (
        "partial",
        {"acme/api": "complete", "acme/gone": "failed"},
    )


def test_branches_are_chosen_by_name_and_glob(workspace: Any) -> None:
    """`*` crosses `/`; a glob without a match is nothing, a name found nowhere makes the run partial."""
    api = workspace.add("api")
    base = api.commit("main", "base", hours_ago=2)
    deep = api.commit("feature/a/b", "deep", parents=[base])
    other = api.commit("release/1", "release", parents=[base])
    run = workspace.scan(branches=["main", "feature/*", "hotfix/*"])
    assert (run.status, workspace.stored()) == ("complete", {base, deep})
    assert (document(run)["payload"][0]["branch"], document(run)["payload"][0]["branches"]) == ("main", ["main"])
    run = workspace.scan(branches=["release/1", "nope"])
    assert (run.status, run.problems[0].kind) == ("partial", "branch")
    assert workspace.stored() == {base, deep, other}


def test_no_branches_configured_means_the_main_branch(workspace: Any) -> None:
    """Each repository's own main branch, whatever it is called."""
    api = workspace.add("api")
    base = api.commit("trunk", "base")
    api.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    api.commit("feature/x", "x", parents=[base])
    workspace.scan(bitbucket={"default_branches": []})
    assert workspace.stored() == {base}


def test_plan_costs_a_listing_and_writes_nothing(workspace: Any) -> None:
    """A dry run leaves no database, and tells what would be done."""
    from releasecopilot_core import Ingestor

    workspace.add("api").commit("main", "x")
    with Ingestor(workspace.settings()) as ingestor:
        plan = ingestor.plan("bitbucket")
    assert [(entry.repository, entry.requests, entry.note) for entry in plan.entries] == [
        ("(all)", 1, "choosing the repositories"),
        ("acme/api", 3, "first contact"),
    ]
    assert (plan.requests, plan.git_operations, plan.quota_left) == (4, 0, 1000)
    assert workspace.asked() == {"repositories": 1}
    assert not (workspace.folder / "commits.db").exists()
    spent = workspace.scan().requests
    assert spent == plan.requests + 1  # the files of its one commit
    with Ingestor(workspace.settings()) as ingestor:
        plan = ingestor.plan("bitbucket")
    assert (plan.entries[1].requests, plan.entries[1].note) == (0, "unchanged")
    assert plan.quota_left == 1000 - spent


def test_long_lists_of_heads_go_into_a_form(workspace: Any) -> None:
    """Many branches do not fit into a URL: the listing is asked by POST, and paged by GET."""
    api = workspace.add("api")
    base = api.commit("main", "base")
    for number in range(60):
        api.commit(f"feature/RC-{number + 1}", "work", parents=[base])
    workspace.scan(files="none")
    api.commit("feature/new", "new work", parents=[base])
    workspace.sandbox.clear_requests()
    workspace.scan(files="none")
    assert "POST" in {served.method for served in workspace.sandbox.requests}
    assert len(workspace.stored()) == 62


# --- random histories ----------------------------------------------------------------------------------------

BRANCHES = ("main", "release/1", "feature/RC-9")
ACTIONS = ("commit", "commit", "commit", "merge", "branch", "rewind", "delete", "scan", "gc")


@settings(max_examples=15)
@given(st.data())
def test_random_histories_end_equal_to_git(make_workspace: Any, data: st.DataObject) -> None:
    """Whatever was pushed, rewritten and deleted between scans: all that is reachable is stored, with its files."""
    workspace = make_workspace()
    api = workspace.add("api")
    api.commit("main", "base")
    seen_at_scans: set[str] = set()
    for action in data.draw(st.lists(st.sampled_from(ACTIONS), max_size=14)):
        branch = data.draw(st.sampled_from(BRANCHES))
        heads = api.branches()
        hours = data.draw(st.floats(0.1, 300))
        if action == "scan":
            hours = data.draw(st.sampled_from([1.0, 4.0, 100.0]))
            assert workspace.scan(hours=hours).status == "complete"
            seen_at_scans |= set(api.reachable(*heads.values())) & workspace.stored()
        elif action == "gc":
            api.collect_garbage()
        elif not heads or (action == "commit" and branch in heads):
            api.commit(branch, hours_ago=hours)
        elif action == "branch" or branch not in heads:
            start = data.draw(st.sampled_from(sorted(heads.values())))
            api.commit(branch, parents=[start], hours_ago=hours)
        elif action == "merge":
            other = data.draw(st.sampled_from(sorted(heads)))
            parents = list(dict.fromkeys([heads[branch], heads[other]]))
            api.commit(branch, parents=parents, hours_ago=hours)
        elif action == "rewind":
            api.set(branch, data.draw(st.sampled_from(api.reachable(heads[branch]))))
        elif action == "delete" and branch != "main":
            api.delete(branch)
    run = workspace.scan(full=True)
    assert run.status == "complete"
    reachable = set(api.reachable(*api.branches().values()))
    assert reachable <= workspace.stored()
    assert seen_at_scans <= workspace.stored()
    assert dict(workspace.rows("SELECT branch, sha FROM heads WHERE deleted_at IS NULL")) == api.branches()
    for sha in reachable:
        assert workspace.files(sha) == api.files(sha)
    statuses = {status for sha, status in workspace.rows("SELECT sha, files_status FROM commits") if sha in reachable}
    assert statuses <= {"known"}
