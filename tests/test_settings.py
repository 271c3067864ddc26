"""Settings: strict, with errors that say where, what and what to do; secrets by reference."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from releasecopilot_core import Secret, Settings
from releasecopilot_core.errors import SettingsError


@attrs.frozen(kw_only=True)
class Credentials:
    """A nested section."""

    username: str | None = None
    token: Secret | None = None


@attrs.frozen(kw_only=True)
class Section:
    """A plugin's section with one of each kind."""

    workspace: str
    repositories: tuple[str, ...] = ()
    files: Literal["auto", "none"] = "auto"
    concurrency: int = 4
    seconds: float = 30.0
    sweep: bool = False
    secrets: tuple[Secret, ...] = ()
    credentials: Credentials = attrs.field(factory=Credentials)


def section(values: dict[str, Any]) -> Section:
    return Settings({"acme": values}, origin="settings.yaml").section("acme", Section)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "acme: 'workspace' is missing|acme.workspace"),
        ({"workspace": None}, r"settings\.yaml: acme\.workspace: expected text, not None"),
        ({"workspace": 7}, r"acme\.workspace: expected text, not 7; put it in quotes"),
        ({"workspace": "a", "workspce": "b"}, r"acme\.workspce: unknown key; did you mean 'workspace'\?"),
        ({"workspace": "a", "repositories": "api"}, r"acme\.repositories: expected a list such as \[api\]"),
        ({"workspace": "a", "repositories": [1]}, r"acme\.repositories: entry 1: expected text, not 1"),
        ({"workspace": "a", "concurrency": True}, r"acme\.concurrency: expected a whole number, not True"),
        ({"workspace": "a", "seconds": "30"}, r"acme\.seconds: expected a number, not '30'"),
        ({"workspace": "a", "sweep": "yes"}, r"acme\.sweep: expected true or false, not 'yes'"),
        ({"workspace": "a", "files": "sometimes"}, r"acme\.files: .*'sometimes'"),
        ({"workspace": "a", "credentials": {"pasword": "x"}}, r"acme\.credentials\.pasword: unknown key"),
        ({"workspace": "a", "credentials": {"token": 7}}, r"acme\.credentials\.token: expected a reference"),
        ({"workspace": "a", "credentials": "x"}, r"acme\.credentials"),
        ({"workspace": "a\0b"}, r"acme\.workspace: expected text without NUL characters"),
        ({"workspace": "a", 1: "b", "two": "c"}, r"acme\.1: unknown key.*\(and 1 more\)"),
        ({"workspace": "${NOWHERE_SET}"}, r"acme\.workspace: environment variable NOWHERE_SET is not set"),
    ],
)
def test_wrong_section_is_one_line_that_says_where(values: dict[str, Any], message: str) -> None:
    """The error names the file, the path inside it, the fault and the likely fix."""
    with pytest.raises(SettingsError, match=message) as caught:
        section(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [False, 0, "", [], "no"])
def test_section_that_is_no_mapping_is_refused(value: Any) -> None:
    """`acme: no` is a mistake, even where nothing in the section is required; `acme:` alone is an empty section."""
    with pytest.raises(SettingsError, match="acme: expected keys and values"):
        Settings({"acme": value}).section("acme", Credentials)
    assert Settings({"acme": None}).section("acme", Credentials) == Credentials()


def test_yaml_merge_keys_are_understood(tmp_path: Path) -> None:
    """What is merged in may be said again: only a mapping that says something twice itself is refused."""
    path = tmp_path / "s.yaml"
    path.write_text("acme: &it\n  workspace: one\n  concurrency: 2\nother:\n  <<: *it\n  workspace: two\n")
    settings = Settings.load(path, environ={})
    assert settings.section("other", Section) == Section(workspace="two", concurrency=2)


def test_right_section_is_structured_once() -> None:
    """The same object is returned each time; a single secret may stand for a list."""
    settings = Settings({"acme": {"workspace": "a", "secrets": "${ONE}", "seconds": 5}})
    first = settings.section("acme", Section)
    assert first == Section(workspace="a", secrets=(Secret("${ONE}"),), seconds=5.0)
    assert settings.section("acme", Section) is first


def test_file_and_environment_are_laid_over_each_other(tmp_path: Path) -> None:
    """`RC_SECTION__KEY` wins over the file; numbers and lists are understood."""
    path = tmp_path / "s.yaml"
    path.write_text("acme:\n  workspace: one\n  concurrency: 2\n")
    environ = {
        "RC_ACME__WORKSPACE": "two",
        "RC_ACME__SECONDS": "7.5",
        "RC_ACME__REPOSITORIES": "[a, b]",
        "RC_ACME__SWEEP": "true",
    }
    found = Settings.load(path, environ=environ).section("acme", Section)
    assert found == Section(workspace="two", concurrency=2, seconds=7.5, repositories=("a", "b"), sweep=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected keys and values at the top, not list"),
        ("acme: [1, 2\n", "not valid YAML in line 2"),
        ("acme: !!python/object/apply:os.system [echo]\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("database: 7\n", "database: expected text, not 7"),
        ('logs: "a\\0b"\n', "logs: expected text, not"),
        ("acme: {a: 1}\nother: 2\nacme: {b: 1}\n", "not valid YAML in line 3, column 1: 'acme' is there twice"),
        ("acme:\n  a: 1\n  'a': 2\n", "not valid YAML in line 3, column 3: 'a' is there twice"),
        ("acme: 2026-13-45\n", "not valid YAML: month must be in 1..12; put what is text in quotes"),
        ("acme: 0x_\n", "not valid YAML: .*; put what is text in quotes"),
        (f"acme: {'[' * 3000}{']' * 3000}\n", "not valid YAML: nested too deeply"),
        ("disabled_plugins: acme\n", r"disabled_plugins: expected a list such as \[name\]"),
    ],
)
def test_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Whatever a file holds, the error is one line with its name."""
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        Settings.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named file must exist; the default one may be replaced by the environment."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: no such settings file; run `rc init`"):
        Settings.load("nowhere.yaml")
    with pytest.raises(SettingsError, match="no settings file; run `rc init`"):
        Settings.load(environ={})
    assert Settings.load(environ={"RC_ACME__WORKSPACE": "a"}).section("acme", Section).workspace == "a"


def test_unknown_top_level_key_is_refused() -> None:
    """A key belongs to the core or to an installed plugin."""
    settings = Settings({"databse": "x.db"}, origin="s.yaml")
    with pytest.raises(SettingsError, match=r"s\.yaml: databse: unknown key; did you mean 'database'\?"):
        settings.check_keys(["acme"])
    section = Settings({"elsewhere": {"workspace": "a"}}, origin="s.yaml")
    with pytest.raises(
        SettingsError, match=r"elsewhere: unknown key: no installed plugin .* install the one that does"
    ):
        section.check_keys(["acme"])


def test_paths_default_to_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings, each source has its own files; references are expanded."""
    assert Settings().database("acme") == "data/acme/commits.db"
    assert Settings().artifacts("acme") == "artifacts/issues/wave3/acme"
    assert Settings().logs("acme") == "temp_data/acme"
    monkeypatch.setenv("DATA_DIR", "/srv")
    assert Settings({"database": "${DATA_DIR}/c.db"}).database("acme") == "/srv/c.db"


# --- secrets -------------------------------------------------------------------------------------------------


def test_secret_is_read_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable or a file holds it; the value is never kept."""
    monkeypatch.setenv("TOKEN", "s3cret")
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert Secret("${TOKEN}").reveal() == "s3cret"
    assert Secret(f"file:{file}").reveal() == "from-file"
    monkeypatch.setenv("TOKEN", "rotated")
    assert Secret("${TOKEN}").reveal() == "rotated"


@pytest.mark.parametrize("text", ["${NOT_SET_ANYWHERE}", "file:/nowhere/at/all"])
def test_secret_that_cannot_be_had_is_told(text: str) -> None:
    """The error names the reference, never a value."""
    with pytest.raises(SettingsError, match=r"NOT_SET_ANYWHERE|/nowhere/at/all"):
        Secret(text).reveal()


@given(st.text(min_size=6).filter(lambda text: "${" not in text and not text.startswith("file:")))
def test_literal_secret_never_shows(text: str) -> None:
    """A secret that was written out appears in no representation, error or pickle."""
    secret = Secret(text)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        repr(Credentials(token=secret)),
        repr(Settings({"x": {"y": text}})),
    ]
    assert secret.is_literal
    assert all(
        text not in form or text in "Secret('***')Credentials(username=None, token=Secret('***'))<Settings settings: x>"
        for form in shown
    )
    with pytest.raises(TypeError):
        pickle.dumps(secret)
