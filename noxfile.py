"""Every chore: `nox -s demo`, `tests`, `soak`, `lint`, `types`, `bench`, `build`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DISTRIBUTIONS = (
    ".",
    "plugins/bitbucket",
    "plugins/bitbucket_sandbox",
    "plugins/git",
    "plugins/runbook_compat",
    "plugins/webhook_fastapi",
    "plugins/webhook_flask",
)
BACKEND = "hatchling>=1.26"
SYSTEM_TEMPORARY = tempfile.gettempdir()
#: For `bench` only.
PEERS = ("perceval", "pydriller", "matplotlib")
STUBS = ("types-gunicorn", "types-jsonschema", "types-PyYAML", "types-waitress")

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True


def wheels(session: nox.Session) -> list[str]:
    """Build a wheel of each distribution and return their paths."""
    folder = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    session.install("--quiet", BACKEND)
    projects = [str(ROOT / name) for name in DISTRIBUTIONS]
    pip = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    session.run(*pip, "--wheel-dir", str(folder), *projects, silent=True)
    return sorted(map(str, folder.glob("*.whl")))


def install(session: nox.Session, *more: str) -> None:
    """Install the built wheels, as a user gets them, and what the session needs besides."""
    built = wheels(session)
    # The same version may have been built from other sources before.
    session.install("--quiet", "--no-deps", "--force-reinstall", *built)
    session.install("--quiet", *built, *more)


@nox.session
def demo(session: nox.Session) -> None:
    """Scan a workspace that the sandbox serves over HTTP from real git repositories."""
    install(session)
    session.run("python", "demo/run.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests against the installed wheels."""
    # waitress: the Flask plugin serves with it where there is no gunicorn.
    install(session, "hypothesis>=6.100", "pytest>=8.0", "pytest-xdist>=3.5", "waitress>=3.0")
    arguments = session.posargs or ["-n", "auto", "--dist", "worksteal", "tests", "plugins"]
    # Not below this checkout: tests of what is no repository need a folder outside of any.
    session.run("python", "-m", "pytest", *arguments, env={"TMPDIR": SYSTEM_TEMPORARY})


@nox.session
def soak(session: nox.Session) -> None:
    """Hold the database to git for thousands of drawn histories, crashes and faults; goes on where it stopped."""
    install(session, "hypothesis>=6.100", "pytest>=8.0", "waitress>=3.0")
    session.run("python", "tests/together/soak.py", *session.posargs, env={"TMPDIR": SYSTEM_TEMPORARY})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("--quiet", "ruff>=0.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "hypothesis>=6.100", "mypy>=1.13", "pytest>=8.0", *STUBS)
    session.run("mypy", "src", *(f"{name}/src" for name in DISTRIBUTIONS[1:]), "tests/typing")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed, memory and requests side by side with their peers, and print ratios."""
    install(session)
    session.run("python", "benchmarks/run.py", *session.posargs, env={"BENCH_PEERS": peers(session)})


def peers(session: nox.Session) -> str:
    """Install what ours is measured against, and what draws plots, in folders of their own; return these as a path.

    Not in the environment: every package that is installed there makes `rc` start a little later. One that cannot be
    installed is left out of the table.
    """
    folders = {name: Path(session.create_tmp()).resolve() / "peers" / name for name in PEERS}
    for name, folder in folders.items():
        if not folder.exists():
            session.install("--quiet", "--target", str(folder), name, success_codes=[0, 1])
    return os.pathsep.join(map(str, folders.values()))


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source archives of all distributions into `dist`."""
    session.install("--quiet", BACKEND, "build>=1.2", "twine>=6.0")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for name in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", str(ROOT / name), silent=True)
    session.run("twine", "check", "--strict", *map(str, sorted((ROOT / "dist").iterdir())))
