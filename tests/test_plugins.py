"""The host: every plugin on its own, every fault with a name."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from releasecopilot_core import Commit, Ingestor, Settings, StoryKey, hookimpl
from releasecopilot_core._plugins import Host
from releasecopilot_core.errors import PluginError, StoreError, UnknownNameError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a plugin distribution: a module and its entry point, found as pip leaves them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str, version: str = "1.0", group: str = "releasecopilot") -> None:
        module = f"plugin_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
        sys.modules.pop(module, None)

    return install


def infos(**more: Any) -> dict[str, Any]:
    return {info.name: info for info in Host(**more).infos()}


def test_plugins_are_listed_with_version_and_hooks(installed: Callable[..., None]) -> None:
    """Installed means found; the built-in ones are listed like strangers."""
    installed(
        "acme", "from releasecopilot_core import hookimpl\n@hookimpl\ndef rc_story_keys(commit): return []", "2.5"
    )
    found = infos()
    assert (found["acme"].version, found["acme"].status, found["acme"].hooks) == ("2.5", "loaded", ("rc_story_keys",))
    assert {"jira-keys", "json-artifact", "sqlite-store"} <= set(found)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import rex_is_not_installed", "ModuleNotFoundError: No module named 'rex_is_not_installed'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        (
            "from releasecopilot_core import hookimpl\n@hookimpl\ndef rc_storykeys(commit): return []",
            "unknown hook 'rc_storykeys'; did you mean 'rc_story_keys'?",
        ),
        (
            "from releasecopilot_core import hookimpl\n@hookimpl(wrapper=True)\ndef rc_story_keys(commit):\n return (yield)",
            "wrappers are refused",
        ),
        (
            "from releasecopilot_core import hookimpl\n@hookimpl\ndef rc_story_keys(comit): return []",
            "comit",
        ),
    ],
)
def test_plugin_that_cannot_be_loaded_harms_nobody(installed: Callable[..., None], code: str, error: str) -> None:
    """It is listed with its error; the others work, and a run is told with the remedy."""
    installed("broken", code)
    host = Host()
    found = {info.name: info for info in host.infos()}
    assert found["broken"].status == "failed"
    assert error in (found["broken"].error or "")
    assert found["jira-keys"].status == "loaded"
    (problem,) = host.problems()
    assert problem.message.startswith("plugin 'broken': failed to load (")
    assert problem.message.endswith("fix it, or set RC_DISABLED_PLUGINS=broken")


def test_disabled_plugin_is_not_imported(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocked by setting or by environment, it is listed and never loaded."""
    installed("bad-one", "raise RuntimeError")
    installed("bad-two", "raise RuntimeError")
    monkeypatch.setenv("RC_DISABLED_PLUGINS", "bad-two, other")
    found = infos(disabled=["bad-one"])
    assert (found["bad-one"].status, found["bad-two"].status) == ("disabled", "disabled")
    assert "plugin_bad_one" not in sys.modules


def test_extractor_that_raises_is_blamed_and_the_others_answer() -> None:
    """One bad commit in one plugin costs that plugin's keys, counted once per plugin."""

    class Bad:
        @hookimpl
        def rc_story_keys(self, commit: Commit) -> Iterator[str]:
            yield "BAD-1"
            raise ValueError("in the middle")

    with Ingestor(plugins={"bad": Bad()}) as ingestor:
        assert [key.key for key in ingestor.story_keys_of(message="RC-1")] == ["RC-1"]
        assert [key.key for key in ingestor.story_keys_of(message="RC-2")] == ["RC-2"]
        (problem,) = ingestor.problems()
    assert problem.message.startswith("plugin 'bad': rc_story_keys failed 2 times (ValueError: in the middle)")
    assert "rc rekey" in problem.message


class _Unreadable:
    """An answer that raises when it is read, long after the hook has returned."""

    def __iter__(self) -> Iterator[str]:
        yield "RC-1"
        raise SystemExit(3)

    def __repr__(self) -> str:
        return "unreadable"


@pytest.mark.parametrize(
    "answer",
    [
        "RC-1",
        7,
        [7],
        [None],
        [""],
        ["A\nB-1"],
        ["\ud800-1"],
        ["R" * 256],
        [StoryKey(7)],
        _Unreadable(),
    ],
    ids=ascii,
)
def test_extractor_that_answers_nonsense_is_blamed(answer: object) -> None:
    """A plain text is not a list of keys: it would become four of them."""

    class Odd:
        @hookimpl
        def rc_story_keys(self, commit: Commit) -> object:
            return answer

    with Ingestor(plugins={"odd": Odd()}) as ingestor:
        assert ingestor.story_keys_of(message="nothing") == []
        assert re.search(r"failed \((TypeError|ValueError): expected|SystemExit: 3", ingestor.problems()[0].message)


def test_plain_strings_get_their_origin() -> None:
    """Of a stranger's one-liner it is found out which text named the story."""

    class Ticket:
        @hookimpl
        def rc_story_keys(self, commit: Commit) -> list[str]:
            return [f"ACME-{word[1:]}" for text in commit.texts for word in text.split() if word.startswith("#")]

    with Ingestor(Settings({"disabled_plugins": ["jira-keys"]}), plugins={"acme": Ticket()}) as ingestor:
        found = ingestor.story_keys_of(message="fix #1 and #2", branch="feature/x #2", pr_title="about #3")
    assert found == [
        StoryKey("ACME-1", "message", "acme"),
        StoryKey("ACME-2", "branch", "acme"),
        StoryKey("ACME-2", "message", "acme"),
        StoryKey("ACME-3", "pr_title", "acme"),
    ]


def test_unhashable_plugin_is_listed_as_failed() -> None:
    """What pluggy cannot keep in a set is refused at loading, not at the first question."""
    plugin = SimpleNamespace(rc_story_keys=hookimpl(lambda commit: []))
    assert "unhashable" in infos(plugins={"odd": plugin})["odd"].error


def test_source_name_that_nobody_provides_lists_what_there_is() -> None:
    """A wrong name gets the installed ones."""
    with Ingestor(plugins={"toy": _Sources({"toy": lambda settings: None})}) as ingestor:
        with pytest.raises(UnknownNameError, match="no source named 'tyo'; installed: .*toy"):
            ingestor.scan("tyo")


def test_opener_that_raises_is_blamed() -> None:
    """An error in a plugin's opener bears the plugin's name."""

    def opener(settings: Settings) -> Any:
        raise ZeroDivisionError("oops")

    with Ingestor(plugins={"toy": _Sources({"toy": opener})}) as ingestor:
        with pytest.raises(PluginError, match=r"plugin 'toy': rc_sources failed \(ZeroDivisionError: oops\)"):
            ingestor.scan("toy")


def test_store_plugin_that_raises_is_blamed() -> None:
    """Its own error is told, not that nobody knows such an address; another plugin may still open it."""

    class Broken:
        @hookimpl
        def rc_open_store(self, url: str) -> Any:
            if url.startswith("acme:"):
                raise ZeroDivisionError("oops")

    class Works:
        @hookimpl
        def rc_open_store(self, url: str) -> Any:
            return self if url == "acme:works" else None

        name = "works"

        def close(self) -> None:
            """Nothing is open."""

    plugins = {"a": Broken(), "b": Works()}
    with Ingestor(plugins=plugins, database="acme:fails") as ingestor:
        with pytest.raises(PluginError, match=r"plugin 'a': rc_open_store failed \(ZeroDivisionError: oops\)"):
            ingestor.store("toy")
    with Ingestor(plugins=plugins, database="acme:works") as ingestor:
        store: Any = ingestor.store("toy")
        assert store.name == "works"
        assert not hasattr(store, "colour")
        with pytest.raises(StoreError, match="plugin 'b': its store has no 'stories'; fix it, or upgrade it"):
            store.stories()


def test_two_plugins_cannot_claim_one_source() -> None:
    """The first by name keeps it, the other is blamed."""
    one, two = _Sources({"toy": lambda settings: 1}), _Sources({"toy": lambda settings: 2})
    with Ingestor(plugins={"a": one, "b": two}) as ingestor:
        assert ingestor.sources()["toy"](Settings()) == 1
        assert "'toy' is already provided by plugin 'a'" in ingestor.problems()[0].message


def test_hosts_share_nothing() -> None:
    """Each ingestor has its own plugins."""
    with Ingestor(plugins={"toy": _Sources({"toy": lambda settings: None})}) as one, Ingestor() as other:
        assert "toy" in one.sources()
        assert "toy" not in other.sources()


class _Sources:
    def __init__(self, sources: dict[str, Any]) -> None:
        self._sources = sources

    @hookimpl
    def rc_sources(self) -> dict[str, Any]:
        return self._sources
