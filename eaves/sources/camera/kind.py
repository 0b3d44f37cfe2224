"""The kind of source `camera`, which takes frames from a video stream: its settings and the function that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from urllib.parse import urlsplit

from eaves.config import setting
from eaves.reachability import PORTS, find_address
from eaves.redact import has_secrets_in_path
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind

PLAYLIST = ".m3u8"
"""End of the path of an HLS playlist."""
_HOST = re.compile(r"([^/@]*@)?((\d{1,3}\.){3}\d{1,3}(:\d+)?|[A-Za-z0-9.-]+:\d+)(/.*)?", re.DOTALL)
"""An IPv4 address with or without a port, or a name with a port, and a path: the address of a stream without `rtsp://`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """Settings of a video stream."""

    url: str = setting(
        MISSING,
        "Address of the stream: rtsp://, rtsps://, rtmp://, or http(s):// for MJPEG; "
        "or the path of a device, such as /dev/video0, or of a video file.",
    )
    every_s: float = setting(
        0.0,
        "Minimum seconds between two frames. The default, 0, takes every key frame of the stream, which costs least: "
        "cameras send one every 1 to 4 seconds. When key frames come less often than `every_s`, every frame is "
        "decoded.",
        minimum=0,
        maximum=86_400,
    )
    silent_s: float = setting(
        15.0,
        "Seconds without data of the stream after which the connection is ended and made again.",
        minimum=1,
        maximum=250,
    )
    connect_timeout_s: float = setting(
        5.0, "Seconds that a connection may take until the stream is open.", minimum=0.1, maximum=120
    )
    transport: str = setting(
        "tcp", "Transport of RTSP: `tcp`, or `udp` for cameras that have no other.", choices=("tcp", "udp")
    )
    decoder_max_bytes: int = setting(
        500_000_000,
        "Memory in bytes that the process that decodes the stream may allocate; one that needs more is replaced.",
        minimum=100_000_000,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if lacks_scheme(self.url):
            yield "url", "must begin with the protocol, such as rtsp://; a file of this name is written as ./NAME"
        elif not _is_usable(self.url):
            message = (
                "must be an address such as rtsp://camera.example/stream1, or the path of a device or a video file"
            )
            if "://" in self.url and "@" in self.url:  # the message doesn't quote the password
                message += (
                    "; a password with one of the characters / ? # [ ] belongs into the file `password` of the folder "
                    "`credentials`, or these are written as %2F %3F %23 %5B %5D"
                )
            yield "url", message
        elif "://" in self.url and urlsplit(self.url).path.lower().endswith(PLAYLIST):
            yield "url", f"must not be a playlist ({PLAYLIST}): HLS is not read; use the camera's RTSP or MJPEG address"
        elif "://" in self.url and has_secrets_in_path(self.url):
            message = "must not have a password or token in its path; write {username} and {password} there, and the "
            yield "url", message + "values into the files `username` and `password` of the folder `credentials`"


def lacks_scheme(text: str) -> bool:
    """Return whether a text looks like the address of a stream without its scheme, as in `192.168.1.20/stream1`."""
    return _HOST.fullmatch(text) is not None


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(url) and (not parts.scheme or (parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0))
    except ValueError:  # its message may quote a password
        return False


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
