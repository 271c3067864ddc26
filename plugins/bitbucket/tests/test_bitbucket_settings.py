"""The `bitbucket` section: each mistake is one line that says where, what and what to do; secrets never show."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from releasecopilot_bitbucket.settings import BitbucketSettings, Credentials, bitbucket_settings, with_known_secrets
from releasecopilot_bitbucket.source import BitbucketSource

from releasecopilot_core import Secret, Settings
from releasecopilot_core.errors import SettingsError

LITERAL = "hunter2-literal"


def read(values: dict[str, Any]) -> BitbucketSettings:
    """Read a section from a file called `settings.yaml`."""
    return bitbucket_settings(Settings({"bitbucket": values}, origin="settings.yaml"))


def error_of(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        read(values)
    return str(caught.value)


def test_workspace_is_enough() -> None:
    """All else has a default: the whole workspace, main branches, no credential, the public address."""
    section = read({"workspace": "acme"})
    assert section == BitbucketSettings(workspace="acme")
    assert (section.repositories, section.default_branches) == ((), ())
    assert section.credentials.kind == "anonymous"
    assert section.api_url == "https://api.bitbucket.org/2.0"
    assert (section.retry_seconds, section.concurrency, section.sweep_hours) == (30.0, 4, 24.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "bitbucket.workspace: 'workspace' is missing|bitbucket: 'workspace' is missing"),
        ({"workspace": ""}, "bitbucket: workspace is empty; write the workspace's slug, as in bitbucket.org/SLUG"),
        ({"workspace": "  "}, "is empty"),
        ({"repositories": ["api", ""]}, "repositories holds an empty name"),
        ({"default_branches": [" "]}, "default_branches holds an empty name"),
        ({"workspce": "acme"}, "bitbucket.workspce: unknown key; did you mean 'workspace'"),
        ({"repositories": "api"}, r"bitbucket.repositories: expected a list such as \[api\]"),
        ({"api_url": "api.bitbucket.org/2.0"}, "api_url must be an address such as https://.*'api.bitbucket.org/2.0'"),
        ({"api_url": "ftp://api.bitbucket.org"}, "api_url must be an address such as https://api.bitbucket.org/2.0"),
        ({"api_url": "https://"}, "api_url must be an address"),
        ({"api_url": "https://:8080/2.0"}, "api_url must be an address"),
        ({"api_url": ""}, "api_url must be an address"),
        ({"api_url": "https://host:abc/2.0"}, "api_url must be an address"),
        ({"api_url": "https://host:99999/2.0"}, "api_url must be an address"),
        ({"api_url": "https://[::1/2.0"}, "api_url must be an address"),
        ({"api_url": "https://host/2.0?x=1"}, "api_url must be an address"),
        ({"api_url": "https://host/2.0#x"}, "api_url must be an address"),
        ({"git_url": "bitbucket.org"}, "git_url must be an address such as https://bitbucket.org, not"),
        ({"concurrency": 0}, "concurrency must be from 1 to 32, not 0"),
        ({"concurrency": 33}, "concurrency must be from 1 to 32, not 33"),
        ({"concurrency": 2.5}, "bitbucket.concurrency: expected a whole number"),
        ({"retry_seconds": 0}, "retry_seconds must be above 0 and at most 3600, not 0"),
        ({"retry_seconds": -1}, "retry_seconds must be above 0"),
        ({"retry_seconds": float("nan")}, "retry_seconds must be above 0"),
        ({"retry_seconds": float("inf")}, "retry_seconds must be above 0"),
        ({"timeout_seconds": 0}, "timeout_seconds must be above 0"),
        ({"sweep_hours": -1}, "sweep_hours must be from 0"),
        ({"sweep_hours": float("nan")}, "sweep_hours must be from 0"),
        ({"sweep_hours": float("inf")}, "sweep_hours must be from 0"),
        ({"git_cache": ""}, "git_cache is empty; name a folder"),
        ({"git_cache_limit_mb": -1}, "git_cache_limit_mb must be 0 or above, not -1"),
        ({"files": "all"}, "bitbucket.files: expected one of auto, api, git, none, not 'all'"),
        ({"credentials": {"pasword": "x"}}, "bitbucket.credentials.pasword: unknown key; .*'app_password'"),
        ({"credentials": {"access_token": 7}}, "bitbucket.credentials.access_token: expected a reference"),
        (
            {"credentials": {"username": "a@b", "api_token": "${A}", "access_token": "${B}"}},
            "bitbucket.credentials: api_token and access_token are both set; keep exactly one",
        ),
        (
            {"credentials": {"api_token": "${A}"}},
            "bitbucket.credentials: username is missing: api_token needs the Atlassian account's e-mail address",
        ),
        (
            {"credentials": {"app_password": "${A}"}},
            "bitbucket.credentials: username is missing: app_password needs the Bitbucket user name",
        ),
        (
            {"credentials": {"username": "a@b"}},
            r"bitbucket.credentials: username without a secret; add api_token: \$\{BITBUCKET_API_TOKEN\}",
        ),
    ],
)
def test_mistake_is_one_line_with_file_path_and_remedy(values: dict[str, Any], message: str) -> None:
    """The line begins with the file and names the setting."""
    text = error_of({"workspace": "acme", **values} if values else {})
    assert text.startswith("settings.yaml: bitbucket")
    assert "\n" not in text
    assert re.search(message, text), text


@pytest.mark.parametrize(
    "address",
    [
        f"https://bot:{LITERAL}@host/2.0",
        f"bot:{LITERAL}@host/2.0",
        f"ftp://bot:{LITERAL}@host/2.0",
        f"https://{LITERAL}@host",
        f"//{LITERAL}@host",
    ],
)
@pytest.mark.parametrize("key", ["api_url", "git_url"])
def test_address_with_a_password_is_refused_without_showing_it(key: str, address: str) -> None:
    """A credential in an address would end up in messages and logs; not even the refusal shows it."""
    text = error_of({"workspace": "acme", key: address})
    assert f"{key} must not contain a user or password; use credentials" in text
    assert LITERAL not in text


@pytest.mark.parametrize(
    "values",
    [
        {"files": "none"},
        {"files": "git"},
        {"git_cache_limit_mb": 0},
        {"sweep_hours": 0},
        {"concurrency": 32},
        {"retry_seconds": 0.1},
        {"api_url": "http://[::1]:80"},
    ],
)
def test_values_at_the_edge_are_accepted(values: dict[str, Any]) -> None:
    """What the README says is allowed is allowed."""
    assert read({"workspace": "acme", **values})


def test_app_password_is_accepted_with_a_warning() -> None:
    """The warning says since when they are gone, and what to do instead."""
    with pytest.warns(UserWarning, match="removed app passwords on 2026-07-28; create an API token"):
        section = read({"workspace": "acme", "credentials": {"username": "bot", "app_password": "${APP_PASSWORD}"}})
    assert section.credentials.kind == "app_password"


@pytest.mark.parametrize("kind", ["api_token", "access_token", "app_password"])
def test_secret_that_is_written_out_warns_and_does_not_show(kind: str) -> None:
    """The warning names the setting and the two ways to refer to a secret; no text of the section has it."""
    credentials = {kind: LITERAL, **({} if kind == "access_token" else {"username": "bot"})}
    settings = Settings({"bitbucket": {"workspace": "acme", "credentials": credentials}})
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        section = bitbucket_settings(settings)
    texts = [str(warning.message) for warning in warned]
    assert any(f"bitbucket.credentials.{kind}: a secret is written out; use ${{VAR}} or file:PATH" in t for t in texts)
    assert LITERAL not in "".join([*texts, repr(section), str(section), repr(section.credentials), repr(settings)])


def test_references_do_not_warn() -> None:
    """Both ways to refer to a secret are fine."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read({"workspace": "acme", "credentials": {"username": "a@b", "api_token": "${A}"}})
        read({"workspace": "acme", "credentials": {"access_token": "file:/run/secrets/token"}})


@pytest.mark.parametrize("kind", ["api_token", "access_token", "app_password"])
def test_unset_variable_names_file_path_and_variable(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the source tells what to export; nothing is sent before."""
    monkeypatch.delenv("BITBUCKET_NOWHERE", raising=False)
    credentials = {kind: "${BITBUCKET_NOWHERE}", **({} if kind == "access_token" else {"username": "bot"})}
    settings = Settings({"bitbucket": {"workspace": "acme", "credentials": credentials}}, origin="settings.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SettingsError) as caught:
            BitbucketSource.from_settings(settings)
    assert str(caught.value) == (
        f"settings.yaml: bitbucket.credentials.{kind}: environment variable BITBUCKET_NOWHERE is not set; "
        "export it, or write the value another way"
    )


def test_unreadable_secret_file_names_file_path_and_reason(tmp_path: Path) -> None:
    """A secret file that is not there is a mistake in the settings."""
    section = BitbucketSettings(
        workspace="acme", credentials=Credentials(access_token=Secret(f"file:{tmp_path / 'token'}"))
    )
    with pytest.raises(
        SettingsError, match="settings.yaml: bitbucket.credentials.access_token: .*cannot read the secret"
    ):
        with_known_secrets(section, "settings.yaml")


def test_empty_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing would be sent as an empty password."""
    monkeypatch.setenv("BITBUCKET_EMPTY", "")
    section = BitbucketSettings(workspace="acme", credentials=Credentials(access_token=Secret("${BITBUCKET_EMPTY}")))
    with pytest.raises(SettingsError, match=r"access_token: the secret \$\{BITBUCKET_EMPTY\} is empty"):
        with_known_secrets(section, "settings.yaml")


@pytest.mark.parametrize("value", [f"{LITERAL}\n", f"{LITERAL}\r", f"\t{LITERAL}", f"{LITERAL}ü", f"{LITERAL}\x7f"])
def test_secret_that_no_header_can_carry_is_refused_without_showing_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line break from a careless export is told of at once, and not by an error of the HTTP client that quotes it."""
    monkeypatch.setenv("BITBUCKET_ODD", value)
    section = BitbucketSettings(workspace="acme", credentials=Credentials(access_token=Secret("${BITBUCKET_ODD}")))
    with pytest.raises(SettingsError, match="access_token: the secret holds a line break or another") as caught:
        with_known_secrets(section, "settings.yaml")
    assert LITERAL not in repr(caught.value)


def test_known_secret_leaves_the_section_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets stay references; a last line break in a secret's file does no harm."""
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("BITBUCKET_SET", "s3cret")
    for reference in (f"file:{tmp_path / 'token'}", "${BITBUCKET_SET}"):
        section = BitbucketSettings(workspace="acme", credentials=Credentials(access_token=Secret(reference)))
        assert with_known_secrets(section, "settings.yaml") is section
        assert "s3cret" not in repr(section)


def test_anonymous_needs_no_secret() -> None:
    """Public repositories can be read without."""
    section = BitbucketSettings(workspace="acme")
    assert with_known_secrets(section, "settings.yaml") is section


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({}, "https://bitbucket.org"),
        ({"api_url": "https://api.bitbucket.org/2.0/"}, "https://bitbucket.org"),
        ({"api_url": "http://127.0.0.1:8080/2.0"}, "http://127.0.0.1:8080"),
        ({"api_url": "https://proxy.example/bitbucket/2.0"}, "https://proxy.example"),
        ({"api_url": "https://proxy.example/2.0", "git_url": "https://bitbucket.org/"}, "https://bitbucket.org"),
    ],
)
def test_clones_come_from_beside_the_api(values: dict[str, Any], address: str) -> None:
    """A credential for a test server or a proxy goes nowhere else unless that is said."""
    assert read({"workspace": "acme", **values}).clone_url == address
