"""Release Copilot core: the commit record that says which stories are in a release.

This is the shelf: everything that embedders and plugin authors may rely on is here or in the public modules `document`,
`errors`, `selecting`, `testing` and `walking`. Names are resolved when they are first used, so that importing this costs
next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._batch import Announced as Announced
    from ._batch import Batch as Batch
    from ._batch import Scanned as Scanned
    from ._batch import Stale as Stale
    from ._batch import Walk as Walk
    from ._clock import phoenix as phoenix
    from ._deliveries import Answer as Answer
    from ._forms import Question as Question
    from ._forms import SettingsForm as SettingsForm
    from ._hookspecs import hookimpl as hookimpl
    from ._ingestor import Ingestor as Ingestor
    from ._ingestor import story_keys_of as story_keys_of
    from ._interfaces import Memory as Memory
    from ._interfaces import Sink as Sink
    from ._interfaces import Source as Source
    from ._interfaces import Store as Store
    from ._interfaces import WebhookDecoder as WebhookDecoder
    from ._model import FILES_STATUSES as FILES_STATUSES
    from ._model import ORIGINS as ORIGINS
    from ._model import Commit as Commit
    from ._model import FileChange as FileChange
    from ._model import Problem as Problem
    from ._model import PullRequest as PullRequest
    from ._model import Repository as Repository
    from ._model import RepositoryState as RepositoryState
    from ._model import Sighting as Sighting
    from ._model import StoryKey as StoryKey
    from ._model import Window as Window
    from ._model import files_rank as files_rank
    from ._plugins import PluginInfo as PluginInfo
    from ._run import Applied as Applied
    from ._run import Delivery as Delivery
    from ._run import DeliveryRecord as DeliveryRecord
    from ._run import Finding as Finding
    from ._run import Plan as Plan
    from ._run import PlanEntry as PlanEntry
    from ._run import Progress as Progress
    from ._run import RepositoryReport as RepositoryReport
    from ._run import Run as Run
    from ._run import ScanRequest as ScanRequest
    from ._serving import Serving as Serving
    from ._serving import Webhook as Webhook
    from ._serving import open_webhook as open_webhook
    from ._session import new_run_id as new_run_id
    from ._settings import Secret as Secret
    from ._settings import Settings as Settings
    from .builtin.sqlite_store.storage import CommitStorage as CommitStorage

__version__ = "0.1.0"

_SHELF = {
    "phoenix": "_clock",
    **dict.fromkeys(("Question", "SettingsForm"), "_forms"),
    "hookimpl": "_hookspecs",
    **dict.fromkeys(("Ingestor", "story_keys_of"), "_ingestor"),
    **dict.fromkeys(("Memory", "Sink", "Source", "Store", "WebhookDecoder"), "_interfaces"),
    **dict.fromkeys(("Announced", "Batch", "Scanned", "Stale", "Walk"), "_batch"),
    **dict.fromkeys(
        (
            *("FILES_STATUSES", "ORIGINS", "Commit", "FileChange", "Problem", "PullRequest", "Repository"),
            *("RepositoryState", "Sighting", "StoryKey", "Window", "files_rank"),
        ),
        "_model",
    ),
    "PluginInfo": "_plugins",
    **dict.fromkeys(
        (
            *("Applied", "Delivery", "DeliveryRecord", "Finding", "Plan", "PlanEntry", "Progress", "RepositoryReport"),
            *("Run", "ScanRequest"),
        ),
        "_run",
    ),
    "new_run_id": "_session",
    **dict.fromkeys(("Serving", "Webhook", "open_webhook"), "_serving"),
    "Answer": "_deliveries",
    **dict.fromkeys(("Secret", "Settings"), "_settings"),
    "CommitStorage": "builtin.sqlite_store.storage",
}

__all__ = ["__version__", *sorted(_SHELF)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _SHELF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_SHELF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SHELF})
