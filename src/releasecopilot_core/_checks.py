"""Look for what could go wrong: the core's own checks, and those of plugins, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._children import output_of
from ._clock import ZONE_NAME, phoenix, utc_now
from ._run import Finding
from .errors import ReleaseCopilotError

if TYPE_CHECKING:
    from ._ingestor import Ingestor

Check = Callable[[], Iterable[Finding | str]]

#: Older ones lack what plugins ask of git (GIT_CONFIG_GLOBAL, credentials by environment).
OLDEST_GIT = (2, 32)

#: Less than this where artifacts go, in bytes, is worth a warning.
ROOM = 500e6


def findings(ingestor: Ingestor, source: str) -> Iterator[tuple[str, Finding]]:
    """Yield (name of the check, what it found), the core's own checks first, as soon as each is done.

    A check that raises is a finding itself, and the others go on.
    """
    for name, check in _own(ingestor, source).items():
        yield from _performed(name, check)
    try:
        for plugin, answer in ingestor.ask("rc_checks", source=source, database=ingestor.database(source)):
            for name, check in (answer if isinstance(answer, Mapping) else {}).items():
                yield from _performed(f"{plugin}: {name}", check)
    except ReleaseCopilotError as error:
        yield "plugins", Finding("failed", str(error))
    yield from (("plugins", Finding("failed", problem.message)) for problem in ingestor.problems())


def _performed(name: str, check: Check) -> Iterator[tuple[str, Finding]]:
    found = False
    try:
        for finding in check():
            found = True
            yield name, finding if isinstance(finding, Finding) else Finding("failed", str(finding))
    except Exception as error:  # code we did not write, on machines that we do not know
        found = True
        yield name, Finding("failed", " ".join(f"{error or type(error).__name__}".split()))
    if not found:
        yield name, Finding("ok", "nothing is wrong")


def _own(ingestor: Ingestor, source: str) -> dict[str, Check]:
    return {
        "settings": lambda: _settings(ingestor),
        "plugins": lambda: _plugins(ingestor),
        "time zone": _time_zone,
        "git": _git,
        "artifacts": lambda: _artifacts(ingestor, source),
    }


def _settings(ingestor: Ingestor) -> Iterator[Finding]:
    ingestor.check()
    yield Finding("ok", f"{ingestor.settings.origin}: every key is known")


def _plugins(ingestor: Ingestor) -> Iterator[Finding]:
    infos = ingestor.plugins()
    loaded = [info.name for info in infos if info.status == "loaded"]
    yield Finding("ok", f"{len(loaded)} loaded: {', '.join(loaded)}")
    disabled = [info.name for info in infos if info.status == "disabled"]
    if disabled:
        yield Finding(
            "warning", f"disabled: {', '.join(disabled)}; unset RC_DISABLED_PLUGINS or disabled_plugins to use them"
        )


def _time_zone() -> Iterator[Finding]:
    moment = phoenix(utc_now())
    if not moment.endswith("-07:00"):
        yield Finding("failed", f"{ZONE_NAME} is {moment[-6:]} from UTC here, not -07:00; reinstall tzdata")
    else:
        yield Finding("ok", f"{ZONE_NAME} is known; it is {moment[:16].replace('T', ' ')} there")


def _git() -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("warning", "there is no git; what needs a clone falls back to the service's API. Install git")
        return
    told = output_of("git", "--version") or ""
    match = re.search(r"(\d+)\.(\d+)", told)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_GIT:
        yield Finding("warning", f"{told or 'git'} is too old; clones need {'.'.join(map(str, OLDEST_GIT))} or later")
    else:
        yield Finding("ok", told)


def _artifacts(ingestor: Ingestor, source: str) -> Iterator[Finding]:
    url = ingestor.artifacts(source)
    folder = Path(url)
    if "://" in url or url.startswith("file:"):
        yield Finding("ok", f"{url} (not tried: it is no folder)")
        return
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    if not nearest.is_dir():
        yield Finding("failed", f"{nearest} is no folder; name another with --artifact-dir, or set artifacts")
        return
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        yield Finding("failed", f"{nearest}: cannot be written to ({error.strerror or error}); make it writable")
        return
    free = shutil.disk_usage(nearest).free
    text = f"{os.fspath(folder)} can be written to; {free / 1e9:,.1f} GB are free"
    yield Finding("ok", text) if free > ROOM else Finding("warning", f"{text}: make room before the next scan")


def verdict(found: Iterable[Finding]) -> str:
    """Return the worst of some findings: `ok`, `warning` or `failed`."""
    order: list[Any] = ["ok", "warning", "failed"]
    return str(max((finding.status for finding in found), key=order.index, default="ok"))
