"""The kind of source `http`, which requests pictures from a URL: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.reachability import find_address
from eaves.sources.context import SourceContext
from eaves.sources.http.settings import HttpSourceSettings
from eaves.sources.kind import SourceKind


def run(settings: HttpSourceSettings, context: SourceContext) -> None:
    """Request the picture until the context says to stop."""
    from eaves.sources.http.source import HttpSource  # settings are read where nothing is asked for, too

    HttpSource(settings, context).run()


def find_addresses(settings: HttpSourceSettings) -> Iterator[str]:
    """Yield the server's `HOST:PORT`, or `tls://HOST:PORT` with TLS."""
    yield find_address(settings.url)


KIND = SourceKind(
    settings=HttpSourceSettings,
    run=run,
    runs_as=("service",),
    remembers=lambda _: 1_000,
    addresses=find_addresses,
)
