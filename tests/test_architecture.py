"""What holds the house up: import order, lazy imports, and a core that knows no service."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import releasecopilot_core

CORE = Path(releasecopilot_core.__file__).parent

#: Rooms, lowest first; a room imports only from rooms above it in this list.
ROOMS = (
    "errors",
    "_model",
    "_batch",
    "_run",
    "_interfaces",
    "_forms",
    "_hookspecs",
    "_codec",
    "_settings",
    "_plugins",
    "_opening",
    "_keys",
    "walking",
    "selecting",
    "_clock",
    "_children",
    "document",
    "_preparing",
    "_pipeline",
    "_group_commit",
    "_deliveries",
    "_webhooks",
    "_session",
    "_requests",
    "_ingestor",
    "_repairing",
    "_serving",
    "_checks",
    "_cli",
    "builtin",
    "testing",
)

#: Rooms that see the core only through the shelf and its public modules, as a stranger would.
GUESTS = ("builtin", "testing")
PUBLIC = {"errors", "walking", "selecting", "document", "testing", "builtin"}


def modules() -> list[tuple[str, Path]]:
    """Return (room, file) of every module of the core but the shelf."""
    found = []
    for path in sorted(CORE.rglob("*.py")):
        room = path.relative_to(CORE).parts[0].removesuffix(".py")
        if room != "__init__":
            found.append((room, path))
    return found


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a module imports, also inside functions; not those only for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    package = ("releasecopilot_core", *path.relative_to(CORE).parts[:-1])
    rooms = set()
    for node in ast.walk(tree):
        if id(node) in hidden or not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else ()
        parts = (*base, *(node.module.split(".") if node.module else ()))
        if parts[:1] != ("releasecopilot_core",):
            continue
        names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        rooms.update(
            name if (CORE / name).is_dir() or (CORE / f"{name}.py").exists() else _home(name) for name in names
        )
    return rooms


def _home(name: str) -> str:
    """Return the room that a name of the shelf lives in."""
    home = releasecopilot_core._SHELF.get(name, "")
    return home.split(".")[0]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: str(getattr(value, "name", value)))
def test_rooms_import_one_way(room: str, path: Path) -> None:
    """A room imports only itself and rooms above it in the list."""
    assert room in ROOMS
    allowed = {*ROOMS[: ROOMS.index(room) + 1], ""}
    assert imported_rooms(path) <= allowed


@pytest.mark.parametrize(("room", "path"), [(r, p) for r, p in modules() if r in GUESTS], ids=str)
def test_guests_use_the_public_api_only(room: str, path: Path) -> None:
    """Built-in plugins and the test kit import what a stranger's plugin may import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("releasecopilot_core."):
            assert (node.module or "").split(".")[1] in PUBLIC


def test_core_knows_no_service() -> None:
    """Nothing in the core bears the name of a service: sources are plugins."""
    for _, path in modules():
        assert "bitbucket" not in path.read_text(encoding="utf-8").lower(), path


def loaded_by(code: str) -> set[str]:
    """Return the names of all modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines())


def test_help_imports_no_plugin_and_nothing_heavy() -> None:
    """`rc --help` answers without any plugin, and without the libraries that plugins need."""
    modules = loaded_by("from releasecopilot_core._cli import run\nassert run(['--help']) == 0")
    heavy = {"httpx", "sqlite_utils", "jsonschema", "cattrs", "attrs", "attr", "pluggy", "yaml", "sqlite3"}
    assert modules & heavy == set()
    assert {name for name in modules if name.startswith("releasecopilot_")} <= {
        "releasecopilot_core",
        "releasecopilot_core.errors",
        "releasecopilot_core._cli",
        "releasecopilot_core._cli.pipes",
        "releasecopilot_core._cli.root",
    }


def test_importing_the_shelf_loads_nothing() -> None:
    """The package itself is light; a name is resolved when it is used."""
    modules = loaded_by("import releasecopilot_core")
    assert {name for name in modules if name.startswith("releasecopilot_core.")} == set()


def test_hook_specifications_load_nothing_heavy() -> None:
    """A plugin that imports the marker pays for pluggy, and for nothing else."""
    modules = loaded_by("from releasecopilot_core import hookimpl")
    assert modules & {"attrs", "cattrs", "yaml", "sqlite3", "click", "jsonschema"} == set()


@pytest.mark.parametrize("name", releasecopilot_core.__all__)
def test_every_name_on_the_shelf_resolves(name: str) -> None:
    """What the shelf lists can be had, and has a docstring if it is a class or function."""
    value = getattr(releasecopilot_core, name)
    assert not callable(value) or value.__doc__


def test_unknown_name_on_the_shelf_is_an_attribute_error() -> None:
    """A misspelt name fails like anywhere else."""
    with pytest.raises(AttributeError, match="Ingester"):
        _ = releasecopilot_core.Ingester
