"""The kind of source `http`, which requests pictures from a URL: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, replace

from eaves.config import setting
from eaves.http_client.proxies import is_http_url
from eaves.reachability import find_address, is_stream
from eaves.sources.context import SourceContext
from eaves.sources.kind import FailedStep, SourceKind

SCHEMES = ("http", "https")
SNAPSHOT_PATHS = (
    "/ISAPI/Streaming/channels/101/picture (Hikvision), /cgi-bin/snapshot.cgi (Dahua), /axis-cgi/jpg/image.cgi (Axis)"
)
"""Usual paths of snapshots over HTTP, as installers list them; not taken from the makers' own pages."""


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


def parse_place(text: str) -> dict[str, str] | None:
    """Return the settings for an http(s) address; None for any other, and for one of a stream."""
    is_address = text.partition("://")[0].lower() in SCHEMES and "://" in text
    return {"url": text} if is_address and not is_stream(text) else None


def explain(_: HttpSourceSettings, failed: FailedStep) -> FailedStep:
    """Add the usual paths of snapshots to a wrong path."""
    if failed.name != "path":
        return failed
    return replace(failed, hint=f"check the path of the address; usual ones: {SNAPSHOT_PATHS}")


KIND = SourceKind(
    settings=HttpSourceSettings,
    run=run,
    remembers=lambda _: 1_000,
    addresses=lambda settings: [find_address(settings.url)],
    place_setting="url",
    proxied=True,
    schemes=SCHEMES,
    parse_place=parse_place,
    explain=explain,
)
