"""Recorded answers and deliveries of the real service; they lie beside the repository and are not part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket.answers import fault_of
from releasecopilot_bitbucket.payloads import branch_of, commit_of, file_of, moment_of, repository_of

from releasecopilot_core.errors import SourceError

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "payloads"

pytestmark = pytest.mark.skipif(not (FOLDER / "api").is_dir(), reason="the recorded payloads are not here")


def recorded(pattern: str) -> list[Path]:
    return sorted(FOLDER.glob(pattern))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def objects(value: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield all objects of a type, however deep."""
    if isinstance(value, dict):
        if value.get("type") == kind:
            yield value
        for inner in value.values():
            yield from objects(inner, kind)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, kind)


def check_commit(payload: dict[str, Any]) -> None:
    commit = commit_of(payload)
    assert commit.sha == payload["hash"]
    assert commit.message == payload["message"]
    assert commit.date == moment_of(payload["date"])
    assert commit.date is not None
    assert commit.author == payload["author"]["raw"]
    assert commit.author_name
    assert commit.parents == tuple(parent["hash"] for parent in payload["parents"])
    assert (commit.files, commit.files_status) == (None, "owed")


@pytest.mark.parametrize("path", recorded("api/*commits.json") + recorded("api/*_commit.json"), ids=lambda p: p.name)
def test_recorded_commits_are_read(path: Path) -> None:
    """Lists and single commits give all that their objects say."""
    answer = load(path)
    found = answer.get("values", [answer])
    assert found
    for payload in found:
        check_commit(payload)


@pytest.mark.parametrize("path", recorded("webhooks/*ush*.json"), ids=lambda p: p.name)
def test_commits_of_recorded_pushes_are_read(path: Path) -> None:
    """The commits of a delivery are of the same shape as those of the API; so are the targets of its branches."""
    changes = load(path)["push"]["changes"]
    for change in changes:
        for payload in change.get("commits") or []:
            check_commit(payload)
        for ref in (change["old"], change["new"]):
            if ref is not None and ref["type"] == "branch":
                assert branch_of(ref) == (ref["name"], ref["target"]["hash"])
                check_commit(ref["target"])


@pytest.mark.parametrize("path", recorded("api/*branches.json"), ids=lambda p: p.name)
def test_recorded_branches_are_read(path: Path) -> None:
    """Each branch has a name and a full hash, and its target is a commit."""
    values = load(path)["values"]
    assert values
    for payload in values:
        assert branch_of(payload) == (payload["name"], payload["target"]["hash"])
        check_commit(payload["target"])


@pytest.mark.parametrize("path", recorded("api/*diffstat.json"), ids=lambda p: p.name)
def test_recorded_diffstats_are_read(path: Path) -> None:
    """Each entry keeps its path, its status and its line counts."""
    values = load(path)["values"]
    assert values
    for payload in values:
        change = file_of(payload)
        assert change.path == (payload["new"] or payload["old"])["path"]
        assert change.status == payload["status"]
        assert (change.lines_added, change.lines_removed) == (payload["lines_added"], payload["lines_removed"])


@pytest.mark.parametrize("path", recorded("api/*repository.json"), ids=lambda p: p.name)
def test_recorded_repositories_are_read(path: Path) -> None:
    """A repository keeps uuid, full name, main branch and change mark."""
    payload = load(path)
    found = repository_of(payload, "bitbucket")
    assert (found.uuid, found.full_name) == (payload["uuid"], payload["full_name"])
    assert found.main_branch == payload["mainbranch"]["name"]
    assert found.updated_on == payload["updated_on"]


@pytest.mark.parametrize("path", recorded("webhooks/*.json"), ids=lambda p: p.name)
def test_repositories_of_recorded_deliveries_are_read(path: Path) -> None:
    """A delivery says less about its repository, but enough to know it by."""
    payload = load(path)["repository"]
    found = repository_of(payload, "bitbucket")
    assert found.full_name == payload["full_name"]
    assert found.uuid.startswith("{")


@pytest.mark.parametrize(
    ("name", "status", "kind", "says"),
    [
        ("gildas_error-badrequest.json", 400, "bad-answer", "x: Bitbucket answered 400 (Bad request)"),
        ("gildas_error-noapi.json", 404, "not-found", "(Resource not found)"),
        ("gildas_error-privileges.json", 403, "forbidden", "needed scope: project; granted: runner:write, pipeline:"),
    ],
)
def test_recorded_errors_are_understood(name: str, status: int, kind: str, says: str) -> None:
    """Each error body becomes one line with the service's own words; those of a scope name what is missing."""
    fault = fault_of(answer(FOLDER / "api" / name, status), "x", "api_token")
    assert isinstance(fault, SourceError)
    assert fault.kind == kind
    assert says in str(fault)
    assert "\n" not in str(fault)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503, 555])
@pytest.mark.parametrize("path", recorded("*/*.json"), ids=lambda p: p.name)
def test_any_body_under_an_error_status_is_an_error(path: Path, status: int) -> None:
    """Whatever comes with an error status, it is an error in one line."""
    fault = fault_of(answer(path, status), "x", "anonymous")
    assert fault is not None
    assert str(fault)
    assert "\n" not in str(fault)


def answer(path: Path, status: int) -> httpx.Response:
    request = httpx.Request("GET", "https://api.bitbucket.org/2.0/x")
    return httpx.Response(status, content=path.read_bytes(), request=request)
