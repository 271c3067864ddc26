"""The README: its example runs, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

from releasecopilot_bitbucket_sandbox.commands import sandbox
from releasecopilot_bitbucket_sandbox.faults import FAULTS, KINDS
from releasecopilot_bitbucket_sandbox.routes import ADDRESSES

HERE = Path(__file__).parent
README = HERE.parent.joinpath("README.md").read_text(encoding="utf-8")


def test_example_runs(tmp_path):
    """The Python example does what it asserts."""
    for text in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        exec(compile(text, "README.md", "exec"), {"folder": tmp_path / "workspace"})


def test_every_fault_is_explained_and_tried():
    """The table of faults names every fault, and this folder tries each."""
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))

    assert re.findall(r"^\| `([a-z0-9-]+)=", README, re.MULTILINE) == list(FAULTS)
    assert [name for name in FAULTS if f'"{name}' not in tests] == []


def test_every_kind_and_option_is_named():
    """Kinds of requests and options of the command are all explained."""
    assert [kind for kind in KINDS if f"`{kind}`" not in README] == []
    options = {option for parameter in sandbox.commands["serve"].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--") and option not in README} == set()


def test_every_address_is_named():
    """The table of addresses leaves none out."""
    shown = re.sub(r"\{.*?\}|`", "", README).replace("…/", "/")
    last = {re.sub(r"<.*?>", "", address).rstrip("/").rsplit("/", 1)[-1] for address in ADDRESSES}
    assert {part for part in last if part not in shown} == set()
