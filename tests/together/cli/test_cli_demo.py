"""The demo of the README, as `nox -s demo` runs it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

DEMO = Path(__file__).parents[3] / "demo" / "run.py"


def test_demo_shows_the_table_of_the_readme(empty_shell: Any) -> None:
    """It makes a workspace, serves it, scans it, shows the stories of the last four hours, and ends what it started."""
    command = [sys.executable, str(DEMO), str(empty_shell.folder / "out")]
    pipes = {"capture_output": True, "encoding": "utf-8", "timeout": 120}
    done = subprocess.run(command, check=False, env=empty_shell.environment, **pipes)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S+-\d+|\(no story\)) +(\d+) +(\S+(?:, \S+)*)  ", done.stdout, re.MULTILINE)
    assert rows[:4] == [
        ("RC-14", "2", "acme/api"),
        ("MOB-8", "1", "acme/web-shop"),
        ("RC-12", "2", "acme/api, acme/web-shop"),
        ("(no story)", "4", "acme/api, acme/web-shop"),
    ]
    assert "demo-token" not in done.stdout + done.stderr
    (document,) = empty_shell.documents("out/artifacts/issues/wave3/bitbucket")
    assert (document["status"], document["problems"]) == ("complete", [])
    assert {"RC-14", "MOB-8", "RC-12"} <= {key for entry in document["payload"] for key in entry["story_keys"]}
    (run,) = empty_shell.rc("runs", "list", "--json", "--database", "out/data/bitbucket/commits.db").json
    assert (run["run_id"], run["status"]) == (document["run_id"], "complete")
    (address,) = re.findall(r"^http://\S+$", done.stdout, re.MULTILINE)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=5)
