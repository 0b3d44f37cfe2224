"""The kind of source `camera`, which takes frames from a video stream: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from eaves.reachability import PORTS, find_address
from eaves.sources.camera.settings import CameraSettings
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind


def run(settings: CameraSettings, context: SourceContext) -> None:
    """Take frames from the stream until the context says to stop."""
    from eaves.sources.camera.source import CameraSource  # settings are read where no stream is opened, too

    CameraSource(settings, context).run()


def find_addresses(settings: CameraSettings) -> Iterator[str]:
    """Yield the server's `HOST:PORT`, or `tls://HOST:PORT` with TLS; nothing for a file or device."""
    if urlsplit(settings.url).scheme in PORTS:
        yield find_address(settings.url)


def is_file(url: str) -> bool:
    """Return whether a stream's address is the path of a device or a video file."""
    try:
        return bool(url) and not urlsplit(url).scheme
    except ValueError:
        return False


def count_remembered(settings: CameraSettings) -> int:
    """Return the number of event ids to remember: those of a file's frames, so that the next run sends none again.

    Frames of a live stream never come again. A key frame each second, 100,000 are the frames of a day.
    """
    return 1_000 if "://" in settings.url or settings.url.startswith("/dev/") else 100_000


KIND = SourceKind(
    settings=CameraSettings,
    run=run,
    runs_as=("service", "node"),
    remembers=count_remembered,
    addresses=find_addresses,
    path_setting="url",
    is_file=is_file,
    extra="camera",
    child_bytes=lambda settings: settings.decoder_max_bytes,
)
