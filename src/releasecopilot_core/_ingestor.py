"""`Ingestor`: the one object that embedders and the command line use."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from ._clock import utc_now
from ._deliveries import DeliverySteps
from ._forms import SettingsForm
from ._interfaces import Source, Store
from ._keys import KeyFinder
from ._model import Commit, FilesMode, Problem, Sighting, StoryKey, Window
from ._opening import Opener
from ._pipeline import Tally
from ._plugins import Host, PluginInfo
from ._requests import scan_request
from ._run import DeliveryStatus, Plan, Progress, Run, ScanRequest
from ._session import Session, new_run_id
from ._settings import Settings, webhook_settings
from ._webhooks import Receiver, prune, replay
from .errors import MissingDatabaseError, PluginError, SettingsError, UsageError

#: The window that labels what a repair finds.
REPAIR_HOURS = 24.0


class Ingestor:
    """Scans sources into a store, derives story keys, and publishes an artifact a run.

    It holds its own plugins and stores: any number may live in one process, and one may be used from several threads.
    Nothing is loaded or opened before it is needed. Use it as a context manager, or call `close`.

    `plugins` are added to the installed ones (name -> module or object with hooks). `database` and `artifacts` override
    the settings. `storage` is an open store that is used for every source; the caller goes on to own it.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        database: str | os.PathLike[str] | None = None,
        artifacts: str | os.PathLike[str] | None = None,
        storage: Store | None = None,
    ) -> None:
        self._storage = storage
        self.settings = settings or Settings()
        self._database = None if database is None else os.fspath(database)
        self._artifacts = None if artifacts is None else os.fspath(artifacts)
        self._host = Host(disabled=self.settings.disabled_plugins, plugins=plugins)
        self._open = Opener(self._host, self.settings)
        self._keys = KeyFinder(self._host, self.settings)
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(
        cls,
        settings: str | os.PathLike[str] | Settings | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        database: str | os.PathLike[str] | None = None,
        artifacts: str | os.PathLike[str] | None = None,
    ) -> Ingestor:
        """Open an ingestor by a settings file (default: `config/settings.yaml`) or a `Settings` object.

        Raises:
            SettingsError: the file is missing or wrong; the message names the path inside it.
        """
        loaded = settings if isinstance(settings, Settings) else Settings.load(settings)
        return cls(loaded, plugins=plugins, database=database, artifacts=artifacts)

    def __enter__(self) -> Ingestor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stores that were opened."""
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    # --- plugins and stores ----------------------------------------------------------------------------------

    def plugins(self) -> list[PluginInfo]:
        """Return all installed plugins with version, hooks, and the error of those that failed."""
        return self._host.infos()

    def problems(self) -> list[Problem]:
        """Return what went wrong with plugins so far."""
        return self._host.problems()

    def sources(self) -> dict[str, Callable[[Settings], Source]]:
        """Return source name -> opener of all sources that plugins provide."""
        return {name: opener for name, (_, opener) in self._host.named("rc_sources", settings=self.settings).items()}

    def settings_forms(self) -> dict[str, SettingsForm]:
        """Return section -> what `rc init` asks for it."""
        return {name: form for name, (_, form) in self._host.named("rc_settings_forms").items()}

    def store(self, source: str, *, create: bool = True) -> Store:
        """Return the store of a source, opened at first use; with `create=False` it must exist already.

        Raises:
            MissingDatabaseError: there is none, and it was not to be created.
            DatabaseFormatError: the database is not ours, or newer.
            StoreError: it cannot be opened.
        """
        if self._storage is not None:
            return self._storage
        url = self.database(source)
        with self._lock:
            if url not in self._stores:
                self._stores[url] = self._open.store(url, create=create)
            return self._stores[url]

    def database(self, source: str) -> str:
        """Return the path or URL of a source's database."""
        return self._database or self.settings.database(source)

    def artifacts(self, source: str) -> str:
        """Return the folder or URL of a source's artifacts."""
        return self._artifacts or self.settings.artifacts(source)

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yield (plugin name, answer) of every plugin that implements a hook; one that raises is noted as a problem."""
        return self._host.ask(hook, settings=self.settings, **arguments)

    def default_source(self) -> str:
        """Return the source that questions without one are about: the only one that is configured, or installed.

        Raises:
            UsageError: there is no such single one; the message says how to choose.
        """
        installed = sorted(self.sources())
        configured = [name for name in installed if self.settings.has_section(name)]
        candidates = configured or installed
        if len(candidates) == 1:
            return candidates[0]
        if self._database or self.settings.raw("database"):
            return candidates[0] if candidates else "commits"
        known = ", ".join(candidates) or "none"
        raise UsageError(
            f"which database? sources: {known}; choose one with --source, or name its file with --database"
        )

    def check(self) -> None:
        """Raise a `SettingsError` for settings that are wrong, before anything is begun."""
        self.settings.check_keys({*self._host.names(), *self.sources()})
        webhook_settings(self.settings)
        self._keys.check()

    # --- scanning --------------------------------------------------------------------------------------------

    def scan(
        self,
        source: str,
        *,
        hours: float = 4.0,
        repositories: Sequence[str] | None = None,
        branches: Sequence[str] | None = None,
        full: bool = False,
        files: FilesMode | None = None,
        strict: bool = False,
        run_id: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_finish: Callable[[Run], None] | None = None,
    ) -> Run:
        """Bring the store up to date with a source and publish the run's artifact.

        `hours` is the length of the window that ends now; it labels and selects, it does not limit what is found on
        branches that are known. `repositories` and `branches` are names or globs, by default those of the settings.
        `strict` refuses to start when a plugin failed to load.

        A run that failed or is partial is returned, not raised: see `run.status` and `run.problems`. After Ctrl-C the
        artifact is written, `on_finish` is called with the run, and `KeyboardInterrupt` goes on.

        Raises:
            UsageError: the request or the settings are wrong; nothing was scanned.
            StoreError: the store cannot be opened.
        """
        request = scan_request(hours, repositories, branches, full=full, files=files)
        self.check()
        if strict and (problems := self._host.problems()):
            raise UsageError(f"{problems[0].message} (--strict)")
        return self._perform(source, "scan", request, run_id, on_progress, on_finish)

    def repair(
        self,
        source: str,
        *,
        run_id: str | None = None,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_finish: Callable[[Run], None] | None = None,
    ) -> Run:
        """Fetch what webhooks announced and did not carry, and nothing else; publish the run's artifact.

        Branches that were pushed to, pull requests that were updated, and the file lists that they owe. It ends and
        raises as `scan` does. With nothing to repair it is complete without a request. `stop` ends it early from another
        thread, also while it waits for the service: the run is `interrupted`, and returned.
        """
        self.check()
        # Nothing that was announced is too old to be wanted: the window only labels.
        request = attrs.evolve(scan_request(REPAIR_HOURS, None, None, full=False, files=None), repair=True)
        return self._perform(source, "repair", request, run_id, on_progress, on_finish, stop)

    def _perform(
        self,
        source: str,
        kind: str,
        request: ScanRequest,
        run_id: str | None,
        on_progress: Callable[[Progress], None] | None,
        on_finish: Callable[[Run], None] | None,
        stop: threading.Event | None = None,
    ) -> Run:
        # The source first: when its settings are wrong, no database and no folder is made.
        with self._open.source(source) as opened:
            # A database that is wrong is refused before a folder is made; one that is missing is made last.
            with contextlib.suppress(MissingDatabaseError):
                self.store(source, create=False)
            sink, store = self._open.sink(self.artifacts(source)), self.store(source)
            run = Run(
                run_id=run_id or new_run_id(),
                kind=kind,
                source=source,
                window=request.window,
                started_at=utc_now(),
                plugins=self._host.versions(),
                key_rules=self._keys.fingerprint,
            )
            tally = Tally(store, request.window, run.run_id, on_progress)
            blame = self._open.blame(source, self.artifacts(source))
            session = Session(run, opened, store, sink, blame, self._host, tally, on_finish, stop)
            return session.perform(attrs.evolve(request, run_id=run.run_id), self._keys)

    def plan(
        self,
        source: str,
        *,
        hours: float = 4.0,
        repositories: Sequence[str] | None = None,
        branches: Sequence[str] | None = None,
        full: bool = False,
        files: FilesMode | None = None,
    ) -> Plan:
        """Return what `scan` with the same arguments would do and the least it would cost; writes nothing.

        Raises:
            UsageError: the request or the settings are wrong.
            SourceError: the service cannot be asked.
        """
        request = scan_request(hours, repositories, branches, full=full, files=files)
        self.check()
        with self._open.source(source) as opened, contextlib.ExitStack() as stack:
            try:
                store = self.store(source, create=False)
            except MissingDatabaseError:
                # Planning must leave nothing behind: what is not there yet remembers nothing.
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                empty = self._open.store(f"{folder}/empty.db", create=True)
                store = stack.enter_context(contextlib.closing(empty))
            plugin = self._host.opener("rc_sources", source)
            plan = self._host.guard(plugin, f"plan of source {source!r}", lambda: opened.plan(request, store))
            if not isinstance(plan, Plan):
                raise PluginError(plugin, f"source {source!r} planned {type(plan).__name__}, not a Plan")
            return plan

    # --- webhooks --------------------------------------------------------------------------------------------

    def webhooks(self) -> list[str]:
        """Return the names of the services whose webhooks installed plugins can decode."""
        return sorted(self._host.named("rc_webhooks", settings=self.settings))

    def receiver(self, service: str, *, store: Store | None = None, secrets: Sequence[str] | None = None) -> Receiver:
        """Return what takes the deliveries of a service: into `store`, by default that of the source of the same name.

        `secrets` are by default those of the settings; without any, every delivery passes.

        Raises:
            UnknownNameError: no plugin decodes the deliveries of such a service.
            SettingsError: the settings are wrong.
            UsageError: the store is of an earlier release, and takes no deliveries.
        """
        self.check()
        decoder = self._open.decoder(service)
        section = webhook_settings(self.settings)
        store = store or self.store(service)
        if not hasattr(store, "deliver_all"):
            raise UsageError(
                f"{type(store).__name__} has no 'deliver_all', and cannot take deliveries; upgrade the store"
            )
        return Receiver(
            DeliverySteps(
                service=service,
                store=store,
                decoder=decoder,
                keys=self._keys,
                secrets=tuple(decoder.secrets if secrets is None else secrets),
                body_limit=section.body_limit,
            )
        )

    def replay(self, service: str, delivery_id: str) -> DeliveryStatus | None:
        """Decode a kept delivery anew, after an upgrade; returns how it went, `None` when its raw body is gone."""
        return replay(self.store(service), self._open.decoder(service), self._keys, delivery_id)

    def prune_deliveries(self, service: str, *, days: float | None = None) -> int:
        """Drop raw bodies older than so many days (by default as configured); returns of how many deliveries."""
        return prune(self.store(service), webhook_settings(self.settings).keep_days if days is None else days)

    # --- story keys ------------------------------------------------------------------------------------------

    def keys_are_stale(self, source: str) -> bool:
        """Whether stored keys were derived by other rules than today's; `rekey` mends that."""
        return bool(self.store(source).key_rules() - {self._keys.fingerprint})

    def rekey(self, source: str, *, apply: bool = True) -> list[tuple[str, frozenset[StoryKey], frozenset[StoryKey]]]:
        """Derive all story keys anew from what is stored; returns (sha, keys before, keys now) of those that change.

        With `apply=False` nothing is written. Raises `PluginError` when any plugin fails: its keys would be lost.
        """
        self.check()
        store = self.store(source)
        changes = []
        for commit, before in store.commits_for_keys():
            now = self._keys.keys_of(commit)
            if now != before:
                changes.append((commit.sha, before, now))
        for error in self._host.faults():
            raise error
        if apply:
            moment = utc_now()
            run = Run(
                run_id=new_run_id(),
                kind="rekey",
                source=source,
                window=Window(moment, moment),
                started_at=moment,
                finished_at=moment,
                status="complete",
                plugins=self._host.versions(),
                key_rules=self._keys.fingerprint,
            )
            store.replace_keys(((sha, now) for sha, _, now in changes), run)
        return changes

    def story_keys_of(
        self,
        *,
        message: str | None = None,
        branch: str | Sequence[str] | None = None,
        pr_title: str | Sequence[str] | None = None,
    ) -> list[StoryKey]:
        """Return what the installed extractors find in these texts, sorted; see `story_keys_of`."""
        seen_at = datetime.now(UTC)
        sightings = [Sighting("", seen_at, branch=name, own=True) for name in _several(branch)]
        sightings += [
            Sighting("", seen_at, pull_request=number, title=title)
            for number, title in enumerate(_several(pr_title), start=1)
        ]
        commit = Commit(sha="0" * 40, message=message, sightings=frozenset(sightings))
        return sorted(self._keys.keys_of(commit))


def _several(texts: str | Sequence[str] | None) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else list(texts or ())


def story_keys_of(
    *,
    message: str | None = None,
    branch: str | Sequence[str] | None = None,
    pr_title: str | Sequence[str] | None = None,
    settings: Settings | Mapping[str, Any] | str | os.PathLike[str] | None = None,
) -> list[StoryKey]:
    """Return what the installed extractors find in these texts: for tests, and for people who wonder.

    `settings` may be a `Settings`, a mapping such as `{"story_keys": {"projects": ["RC"]}}`, or the path of a file.

    Raises:
        SettingsError: the settings are wrong.
    """
    if settings is None or isinstance(settings, Mapping):
        loaded = Settings(settings)
    elif isinstance(settings, Settings):
        loaded = settings
    else:
        loaded = Settings.load(settings)
    with Ingestor(loaded) as ingestor:
        return ingestor.story_keys_of(message=message, branch=branch, pr_title=pr_title)


__all__ = ["Ingestor", "SettingsError", "story_keys_of"]
