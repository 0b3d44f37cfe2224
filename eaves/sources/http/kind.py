"""The kind of source `http`, which requests pictures from a URL: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass

from eaves.config import setting
from eaves.http_client.proxies import is_http_url
from eaves.reachability import find_address
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSourceSettings:
    """Settings of a picture at a URL."""

    url: str = setting(MISSING, "Address of an image, http:// or https://, such as a camera's snapshot.")
    every_s: float = setting(
        5.0,
        "Seconds between two requests. The default suits scenes that change within seconds; "
        "for a camera that takes one image per minute, 60 is enough.",
        minimum=0.05,
        maximum=86_400,
    )
    timeout_s: float = setting(
        10.0,
        "Seconds that one image may take, from the request to its last byte, including redirects and logins.",
        minimum=0.1,
        maximum=250,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if not is_http_url(self.url):
            yield "url", "must be an http:// or https:// address, such as http://camera.example/snapshot.jpg"


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
