"""The documentation says what is there: examples run, tables agree with the code, links and flags exist."""

from __future__ import annotations

import ast
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner
from releasecopilot_bitbucket.settings import BitbucketSettings, Credentials

from releasecopilot_core import CommitStorage, FileChange, Ingestor, Settings, StoryKey, Walk, _hookspecs, errors
from releasecopilot_core._cli import COMPLETE, FAILED, PARTIAL, USAGE
from releasecopilot_core._cli.root import rc
from releasecopilot_core._settings import CORE_KEYS
from releasecopilot_core.builtin.jira_keys.settings import StoryKeySettings
from releasecopilot_core.testing.stores import a_batch, a_commit
from releasecopilot_core.testing.strategies import SHAS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SAMPLE = ROOT / "config" / "settings.yaml"
PLUGIN_PAGE = ROOT / "plugins" / "bitbucket" / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("plugins/*/README.md")])
HOOKS = sorted(name for name in vars(_hookspecs) if name.startswith("rc_"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def section(page: Path, heading: str) -> str:
    """Return the text between a heading and the next one of its level."""
    _, _, rest = read(page).partition(f"\n{heading}\n")
    return rest.partition(f"\n{heading.split(maxsplit=1)[0]} ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows whose first cell is code, without the backticks of that cell."""
    found = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[re.findall(r"`([^`]+)`", cells[0])[0], *(cell.strip() for cell in cells[1:])] for cells in found]


# --- examples ------------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, from which examples can import the files that they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def run_examples(page: Path, folder: Path) -> None:
    """Run a page's Python blocks from top to bottom; one that begins with a file's name is written there instead."""
    names: dict[str, object] = {"__name__": "example"}
    for text in blocks(page, "python"):
        file = re.match(r"# (\w+\.py)\n", text)
        if file:
            (folder / file[1]).write_text(text, encoding="utf-8")
        else:
            exec(compile(text, page.name, "exec"), names)


def test_plugin_examples_run(workplace: Path) -> None:
    """Every example for plugin authors does what the page says, and its contracts hold."""
    run_examples(DOCS / "write-a-plugin.md", workplace)
    contracts = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py"]
    done = subprocess.run(contracts, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_command_example_is_a_click_command(workplace: Path) -> None:
    """The example of a whole command answers for itself."""
    run_examples(DOCS / "write-a-plugin.md", workplace)
    names: dict[str, Any] = {}
    exec((workplace / "acme_commands.py").read_text(encoding="utf-8"), names)
    assert CliRunner().invoke(names["acme"], ["--team", "payments"]).output == "stories of payments\n"


def test_embedding_examples_run(workplace: Path) -> None:
    """Every example for embedders runs, one after the other."""
    run_examples(DOCS / "embed.md", workplace)


def test_queries_answer_the_three_questions(tmp_path: Path) -> None:
    """The queries run, and answer for a small history what they promise."""
    a, b, c, d = SHAS[:4]
    keys = {a: {"RC-1"}, b: {"RC-2"}, c: {"RC-3"}, d: set()}
    changes = (FileChange("tax.py", "modified", lines_added=3, lines_removed=1),)
    line = [
        a_commit(sha, *parents, story_keys=frozenset(StoryKey(key, "message", "jira-keys") for key in keys[sha]))
        for sha, parents in ((a, ()), (b, (a,)), (c, (b,)), (d, (c,)))
    ]
    line[2] = attrs.evolve(line[2], files=changes, files_status="known")
    line[0] = attrs.evolve(line[0], date=line[0].date - timedelta(days=30))
    with CommitStorage(tmp_path / "t.db") as store:
        store.apply(a_batch(*line))
        for branch, head in (("release/1.3", b), ("release/1.4", d)):
            done = Walk(branch=branch, target=head, boundary=frozenset())
            store.apply(a_batch(walk=done, walk_ended="done"))
        store.apply(a_batch(walk=Walk(branch="main", target=d, boundary=frozenset({SHAS[5]}), bounded=True)))
    parameters = {
        "repository": "acme/api",
        "release": "release/1.4",
        "previous": "release/1.3",
        "since": "2026-11-01T00:00:00Z",
        "story": "RC-3",
    }
    db = sqlite3.connect(tmp_path / "t.db")
    answers = [db.execute(query, parameters).fetchall() for query in blocks(DOCS / "database.md", "sql")]
    db.close()
    stories, unassigned, changed, missing = answers
    assert [row[:2] for row in stories] == [("RC-3", 1), (None, 1)]
    assert [row[1] for row in unassigned] == [d]
    assert changed == [("tax.py", 1, 3, 1)]
    assert missing == [("acme/api", "branches with a boundary", 1), ("acme/api", "files owed", 3)]


# --- what tables say -----------------------------------------------------------------------------------------


def test_architecture_lists_the_rooms_in_order() -> None:
    """The page's table of rooms is the list by which the imports are checked."""
    tree = ast.parse(read(ROOT / "tests" / "test_architecture.py"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["ROOMS"]
    ]
    listed = [cells[0] for cells in rows(section(DOCS / "architecture.md", "## Rooms"))]
    assert listed == list(ast.literal_eval(values[0]))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_explained(hook: str) -> None:
    """Each hook has its place in the page for plugin authors."""
    headings = re.findall(r"^## .*$", read(DOCS / "write-a-plugin.md"), re.MULTILINE)
    assert any(re.search(rf"`{hook}\b", heading) for heading in headings)


def test_errors_are_drawn_for_embedders() -> None:
    """The tree of errors names all of them, each under its parent."""
    (tree,) = re.findall(r"^```\n(ReleaseCopilotError\n.*?)^```$", read(DOCS / "embed.md"), re.MULTILINE | re.DOTALL)
    above: list[str] = []
    found = {}
    for line in tree.splitlines():
        match = re.match(r"[│├└─ ]*", line)
        depth = len(match[0] if match else "") // 4
        name = line[depth * 4 :].split()[0]
        above[depth:] = [name]
        found[name] = above[depth - 1] if depth else "Exception"
    assert found == {name: getattr(errors, name).__base__.__name__ for name in errors.__all__}


def test_exit_codes_are_those_of_the_command() -> None:
    """Runbook and README explain every code with which `rc` ends."""
    codes = {str(code) for code in (COMPLETE, FAILED, USAGE, PARTIAL, 130, 143)}
    for page in (DOCS / "runbook.md", ROOT / "README.md"):
        listed = re.findall(r"^\| ([\d, ]+) \|", read(page), re.MULTILINE)
        assert {code for cell in listed for code in cell.split(", ")} == codes


def test_every_kind_of_problem_has_a_remedy() -> None:
    """The runbook says what to do about each kind of problem that the code can tell of."""
    kinds: set[str] = set()
    for folder in ("src/releasecopilot_core", "plugins/bitbucket/src", "plugins/git/src"):
        for path in (ROOT / folder).rglob("*.py"):
            if "testing" not in path.parts:
                kinds.update(re.findall(r'kind="([a-z-]+)"', read(path)))
    documented = {cells[0] for cells in rows(section(DOCS / "runbook.md", "## When a run is partial or failed"))}
    assert documented == kinds - {"scan", "repair", "rekey"}


def shown_default(field: attrs.Attribute[Any]) -> str:
    """Return a field's default as the tables write it."""
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, attrs.Factory):
        return "`{}`"
    if default == ():
        return "`[]`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


@pytest.mark.parametrize(("heading", "kind"), [("## Settings", BitbucketSettings), ("## Credentials", Credentials)])
def test_plugin_page_lists_every_setting_with_its_default(heading: str, kind: type) -> None:
    """The plugin's tables and its attrs classes say the same."""
    listed = {cells[0]: cells[1] for cells in rows(section(PLUGIN_PAGE, heading))}
    assert listed == {field.name: shown_default(field) for field in attrs.fields(kind)}


# --- the sample settings -------------------------------------------------------------------------------------


def test_sample_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample loads, every section is structured, and its top-level keys are known."""
    monkeypatch.setenv("BITBUCKET_API_TOKEN", "a-token")
    monkeypatch.setenv("BITBUCKET_WEBHOOK_SECRET", "a-secret")
    settings = Settings.load(SAMPLE, environ={})
    bitbucket = settings.section("bitbucket", BitbucketSettings)
    token = bitbucket.credentials.api_token
    assert token is not None
    assert (token.reveal(), token.is_literal) == ("a-token", False)
    assert [secret.reveal() for secret in bitbucket.webhook_secret] == ["a-secret"]
    assert settings.section("story_keys", StoryKeySettings) == StoryKeySettings()
    with Ingestor(settings) as ingestor:
        settings.check_keys({plugin.name for plugin in ingestor.plugins()})


def test_sample_settings_show_every_key() -> None:
    """Every key that can be set is in the sample, if only in a comment."""
    shown = set(re.findall(r"^\s*(?:# )?(\w+):", read(SAMPLE), re.MULTILINE))
    kinds = (BitbucketSettings, Credentials, StoryKeySettings)
    assert {field.name for kind in kinds for field in attrs.fields(kind)} | {*CORE_KEYS} <= shown


def test_sample_settings_show_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sample writes a value that has a default, it is the default, but for names and credentials."""
    sample = Settings.load(SAMPLE, environ={})
    section = sample.section("bitbucket", BitbucketSettings)
    chosen = {"workspace", "repositories", "default_branches", "credentials", "webhook_secret"}
    for field in attrs.fields(BitbucketSettings):
        if field.name not in chosen:
            assert getattr(section, field.name) == field.default
    for name in ("database", "artifacts", "logs"):
        assert getattr(sample, name)("bitbucket") == getattr(Settings(), name)("bitbucket")


# --- links and commands --------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.*)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and a heading in it."""
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words behind each `rc` in a block of shell, cron or systemd lines."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a line of a longer quotation
            continue
        for number, word in enumerate(words):
            if Path(word).name == "rc":
                rest = words[number + 1 :]
                ends = [place for place, other in enumerate(rest) if other in {"|", "||", "&&", ";", "&"}]
                yield rest[: min(ends, default=len(rest))]


def missing_in(words: list[str]) -> list[str]:
    """Return what of a command line `rc` does not know: a command, or flags that its help does not show."""
    command: click.Command = rc
    path: list[str] = []
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            return [] if word.startswith("-") else [word]
        command = found
        path.append(word)
    text = CliRunner().invoke(rc, [*path, "--help"]).output
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [flag for flag in flags if not re.search(rf"{flag}\b", text)]


@every_page
def test_commands_and_flags_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `rc` line in a fenced block is a command that there is, with flags that it has."""
    monkeypatch.chdir(tmp_path)
    lines = [words for text in blocks(page, "bash", "cron", "ini") for words in commands(text)]
    assert {" ".join(words): missing for words in lines if (missing := missing_in(words))} == {}


def test_command_check_finds_mistakes() -> None:
    """The check itself tells a wrong flag and a wrong command."""
    ((*words,),) = commands("cd x && rc ingest bitbucket-scan --huors 4 --full | head")
    assert missing_in(words) == ["--huors"]
    assert missing_in(["ingset", "--full"]) == ["ingset"]


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), PLUGIN_PAGE], ids=lambda page: page.name)
def test_flags_in_text_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that the text names in code is one of some command."""
    monkeypatch.chdir(tmp_path)
    paths = [
        *(
            ["init"],
            ["ingest", "bitbucket-scan"],
            ["ingest", "bitbucket-repair"],
            ["runs", "list"],
            ["rekey"],
            ["doctor"],
        ),
        *(["stories"], ["commits"], ["plugins"], ["serve", "bitbucket-webhook"], ["deliveries", "list"]),
        *(["deliveries", "show"], ["deliveries", "replay"], ["deliveries", "prune"], ["ingest", "git-scan"]),
    ]
    known = "".join(CliRunner().invoke(rc, [*path, "--help"]).output for path in paths)
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    flags = {flag for code in re.findall(r"`([^`\n]+)`", text) for flag in re.findall(r"(?<!\S)--[a-z][a-z-]+", code)}
    assert {flag for flag in flags if flag not in known} <= {"--help", "--name", "--upgrade"}
