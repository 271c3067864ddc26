"""The operator's page, tried: every command of its shell blocks is run, from top to bottom, against the sandbox."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from releasecopilot_bitbucket.webhooks import signature_of

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
TOKEN, SECRET = "s3cret-token", "s3cret-webhook"
#: Tools of the operator's that a machine may lack; everything else is ours, or every system's.
TOOLS = ("curl", "jq", "sqlite3")


def scripts() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Operator:
    """Works through the page in one folder; ids and places of the page stand for those that there are."""

    def __init__(self, workspace: Any, folder: Path) -> None:
        self.workspace = workspace
        self.folder = folder
        self.port = _free_port()
        self.server: subprocess.Popen[bytes] | None = None
        tools = folder / "bin"
        tools.mkdir(parents=True)
        # Amazon's tool cannot be had here: what it prints is all that matters.
        (tools / "aws").write_text(f"#!/bin/sh\necho {TOKEN}\n")
        (tools / "aws").chmod(0o755)
        (folder / "backup").mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RC_BITBUCKET__API_URL": workspace.sandbox.url,
            "BITBUCKET_API_TOKEN": TOKEN,
            "BITBUCKET_WEBHOOK_SECRET": SECRET,
        }

    def run(self, script: str) -> list[str]:
        """Run one block; returns the commands of ours that were run."""
        script = script.replace("/srv/releasecopilot", str(self.folder)).replace("8080", str(self.port))
        script = re.sub(r"=….*", f"={TOKEN}", script)
        lines = [line for line in script.splitlines() if not line.startswith(("pip ", "export BITBUCKET_WEBHOOK"))]
        lines = [line for line in lines if all(shutil.which(tool) or tool not in line for tool in TOOLS)]
        if serving := [line for line in lines if line.startswith("rc serve")]:
            self.serve(serving[0])
            lines = [line for line in lines if line not in serving]
        text = self._with_real_ids("\n".join(lines))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return re.findall(r"^(?:exec )?(rc [a-z -]+?)(?: --| [A-Z0-9]|$)", "\n".join([*lines, *serving]), re.MULTILINE)

    def serve(self, line: str) -> None:
        """Start the server of the page, and deliver something to it."""
        # The line that the page adds to the settings here.
        self.environment["RC_BITBUCKET__WEBHOOK_SECRET"] = "${BITBUCKET_WEBHOOK_SECRET}"
        self.server = subprocess.Popen(line.split(), cwd=self.folder, env=self.environment, stderr=subprocess.PIPE)
        address = f"http://127.0.0.1:{self.port}"
        for _ in range(300):
            try:
                if httpx.get(f"{address}/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        body = b'{"push": {"changes": []}, "repository": {"uuid": "{1}", "full_name": "acme/api"}}'
        headers = {"X-Event-Key": "repo:push", "X-Hub-Signature": signature_of(body, SECRET)}
        assert httpx.post(f"{address}/webhooks/bitbucket", content=body, headers=headers).status_code == 202

    def end(self) -> int | None:
        """End the server as systemd would; returns its exit code."""
        if self.server is None:
            return None
        self.server.terminate()
        self.server.communicate(timeout=60)
        return self.server.returncode

    def _with_real_ids(self, text: str) -> str:
        import sqlite3

        file = self.folder / "data/bitbucket/commits.db"
        if "20261123T" not in text or not file.exists():
            return text
        db = sqlite3.connect(file)
        try:
            (delivery,) = db.execute("SELECT id FROM deliveries").fetchone() or ("",)
            (run,) = db.execute("SELECT run_id FROM runs ORDER BY started_at").fetchone()
        finally:
            db.close()
        return text.replace("20261123T170000Z-1a2b3c4d5e", delivery).replace("20261123T170000Z-1a2b3c", run)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def operator(workspace: Any, tmp_path: Path) -> Iterator[Operator]:
    workspace.add("api").commit("main", "RC-1 work")
    operator = Operator(workspace, tmp_path / "srv")
    yield operator
    operator.end()


def test_every_command_of_the_page_works(operator: Operator) -> None:
    """Set-up, scan script, server, deliveries, monitoring, rekey and backups, in the order of the page."""
    ran = {command for script in scripts() for command in operator.run(script)}
    assert operator.end() == 0
    assert ran >= {
        *(
            "rc init",
            "rc doctor",
            "rc ingest bitbucket-scan",
            "rc serve bitbucket-webhook",
            "rc ingest bitbucket-repair",
        ),
        *("rc deliveries list", "rc deliveries show", "rc deliveries replay", "rc deliveries prune"),
        *("rc runs list", "rc runs show", "rc rekey"),
    }
    assert operator.workspace.sandbox.requests
    folder = operator.folder
    assert (folder / "data/bitbucket/commits.db").exists()
    if shutil.which("sqlite3"):
        assert list((folder / "backup").glob("commits*.db"))
