"""The demo: make a small workspace, serve it as Bitbucket Cloud would, scan it, and show what came of it.

Everything is real but the service: git repositories, HTTP on loopback, the `rc` command, an SQLite file, an artifact.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

RC = Path(sys.executable).parent / "rc"
TOKEN = "demo-token"
USER = "bot@acme.example"


def main(folder: Path) -> int:
    """Run the demo in a folder; returns the exit code of the scan."""
    environment = {**os.environ, "BITBUCKET_API_TOKEN": TOKEN}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def rc(*arguments: str) -> int:
        print(f"\n$ rc {shlex.join(arguments)}", flush=True)
        return subprocess.run([RC, *arguments], cwd=folder, env=environment, check=False).returncode

    rc("sandbox", "demo", "workspace")
    serve = [RC, "sandbox", "serve", "workspace", "--user", f"{USER}:{TOKEN}"]
    print(f"\n$ rc sandbox serve workspace --user {USER}:$BITBUCKET_API_TOKEN &", flush=True)
    server = subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = server.stdout.readline().strip() if server.stdout else ""
        print(url)
        init = ("init", "--workspace", "acme", "--username", USER, "--api-url", url)
        rc(*init, "--branches", "main release/* feature/*")
        code = rc("ingest", "bitbucket-scan", "--hours", "4")
        rc("stories")
        rc("commits", "--unassigned")
    finally:
        server.terminate()
        server.wait()
    print(f"\nEverything it made is in {os.path.relpath(folder)}: config, data, artifacts, logs.")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/out").resolve()))
