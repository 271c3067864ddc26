"""What git does not know: kept in memory, and in a file if a folder is named for it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from .pulls import PullRequests
from .subscriptions import Subscriptions

_FILE = "sandbox.json"
_VERSION = 1


class NotAState(ValueError):
    """A folder that cannot be used to keep state in; the message says why."""


class State:
    """Pull requests and webhooks; with a folder, they outlive the process.

    The file holds the secrets with which webhooks are signed, so only its owner can read it. It is written anew after each
    change, under a temporary name first.

    Raises:
        NotAState: the folder cannot be written, or its file is none of ours.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.pull_requests = PullRequests(self._save)
        self.hooks = Subscriptions(self._save)
        self._path = None if folder is None else folder / _FILE
        self._lock = threading.Lock()
        if self._path is not None:
            self._load(self._path)

    def _load(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if found is not None:
                if found["version"] != _VERSION:
                    raise NotAState(f"{path}: made by another version of the sandbox; name another folder")
                self.pull_requests.load(found["pull_requests"])
                self.hooks.load(found["hooks"])
            self._save()
        except OSError as error:
            raise NotAState(f"{path}: cannot be used ({error.strerror or error}); name another folder") from error
        except NotAState:
            raise
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise NotAState(f"{path}: is no state of the sandbox; name another folder") from error

    def _save(self) -> None:
        if self._path is None:
            return
        with self._lock:
            body: dict[str, Any] = {
                "version": _VERSION,
                "pull_requests": self.pull_requests.dump(),
                "hooks": self.hooks.dump(),
            }
            temporary = self._path.with_suffix(".tmp")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(body, file, indent=1)
            temporary.replace(self._path)
