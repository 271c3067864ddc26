"""Open what plugins provide, by name or address: sources, stores, sinks, decoders."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import cast

import attrs

from ._interfaces import Sink, Source, Store, WebhookDecoder
from ._plugins import Blame, BlamedStore, Host
from ._settings import Settings

_log = logging.getLogger("releasecopilot_core")


@attrs.frozen
class Opener:
    """Opens things with the plugin that provides them, and knows whom to blame for each."""

    host: Host
    settings: Settings

    @contextlib.contextmanager
    def source(self, name: str) -> Iterator[Source]:
        """Open a source, and close it at the end; when that fails, all has been said already."""
        needs = ("scan", "requests", "close")
        opened = cast(Source, self.host.open_named("rc_sources", name, self.settings, what="source", needs=needs))
        try:
            yield opened
        finally:
            try:
                opened.close()
            except Exception:  # code we did not write
                _log.info("source %r could not be closed", name, exc_info=True)

    def store(self, url: str, *, create: bool) -> Store:
        """Open a database; one that is missing is made, or refused with `MissingDatabaseError`."""
        opened = self.host.open_first("rc_open_store", url, self.settings, what="database", create=create)
        return cast(Store, BlamedStore(opened, self.host.opener("rc_open_store", url)))

    def sink(self, url: str) -> Sink:
        """Open what artifacts are published to."""
        needs = ("publish", "discard")
        return cast(Sink, self.host.open_first("rc_open_sink", url, self.settings, what="artifact folder", needs=needs))

    def decoder(self, service: str) -> WebhookDecoder:
        """Open the decoder of a service's webhooks."""
        return cast(WebhookDecoder, self.host.open_named("rc_webhooks", service, self.settings, what="webhook"))

    def blame(self, source: str, sink: str) -> Blame:
        """Return how the plugins of an open source and an open sink are called when they fail."""
        return Blame(
            f"plugin {self.host.opener('rc_sources', source)!r}: source {source!r}",
            f"plugin {self.host.opener('rc_open_sink', sink)!r}: the artifact's sink",
        )
