"""The kind of source `s3`, which captures the images in a bucket: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.reachability import find_address
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind
from eaves.sources.s3.settings import S3SourceSettings


def run(settings: S3SourceSettings, context: SourceContext) -> None:
    """Capture images until the context says to stop."""
    from eaves.sources.s3.source import S3Source  # settings are read where no bucket is read, too

    S3Source(settings, context).run()


def find_addresses(settings: S3SourceSettings) -> Iterator[str]:
    """Yield the `HOST:PORT` of the store and of the queue, `tls://HOST:PORT` with TLS."""
    yield find_address(settings.location.base_url)
    if settings.queue:
        yield find_address(settings.queue)


KIND = SourceKind(
    settings=S3SourceSettings,
    run=run,
    runs_as=("service",),
    remembers=lambda settings: settings.max_objects,
    extra="s3",
    addresses=find_addresses,
    port_setting="webhook_port",
    host_setting="webhook_host",
    refers=lambda settings: settings.location.base_url if settings.sends == "reference" else "",
)
