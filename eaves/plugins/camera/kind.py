"""The kind of source `camera`, which takes frames from a video stream: its settings and the function that runs it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from eaves.config import setting
from eaves.reachability import PORTS, find_address, is_stream, lacks_scheme
from eaves.redact import has_secrets_in_path
from eaves.sources.context import SourceContext
from eaves.sources.kind import FailedStep, SourceKind

PLAYLIST = ".m3u8"
"""End of the path of an HLS playlist."""

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".flv", ".mjpg", ".mjpeg", ".h264", ".h265")
RTSP_PATHS = (
    "/Streaming/Channels/101 (Hikvision), /cam/realmonitor?channel=1&subtype=0 (Dahua), "
    "/axis-media/media.amp (Axis), /h264Preview_01_main (Reolink)"
)
"""Usual paths of RTSP streams, as installers list them; not taken from the makers' own pages."""
KEY_FRAMES = (
    "set the interval of key frames (I frames, GOP) to 1 to 4 seconds in the camera, or wait longer with --timeout 60"
)
_LOCAL_HINTS = {
    "path": "ls -l {place}; v4l2-ctl --list-devices lists the cameras of this machine",
    "connection": "ls -l {place}; a device belongs to the group video: sudo usermod -aG video $USER",
}
"""Remedies for a video file or a device, by step."""


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


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(url) and (not parts.scheme or (parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0))
    except ValueError:  # its message may quote a password
        return False


def run(settings: CameraSettings, context: SourceContext) -> None:
    """Take frames from the stream until the context says to stop."""
    from eaves.plugins.camera.source import CameraSource  # settings are read where no stream is opened, too

    CameraSource(settings, context).run()


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


def parse_place(text: str) -> dict[str, str] | None:
    """Return the settings for the address of a stream, a video file or a device; None for any other text."""
    scheme, separator, _ = text.partition("://")
    if separator:
        is_own = scheme.lower() in SCHEMES or (scheme.lower() in ("http", "https") and is_stream(text))
        return {"url": text} if is_own else None
    path = Path(text)
    if path.is_char_device() or (path.suffix.lower() in VIDEO_SUFFIXES and path.exists()):
        return {"url": str(path.absolute())}
    return {"url": text} if text.startswith("/dev/video") else None  # a device may be plugged in later


def check_machine(settings: CameraSettings) -> Iterator[tuple[str, str]]:
    """Yield what this machine lacks to read the stream, with the fix."""
    if find_spec("av") is None:
        yield "PyAV is not installed, which reads cameras", "pip install '.[camera]'"
    if settings.url.startswith("/") and not os.access(settings.url, os.R_OK):
        lacking = "can't be read by this user" if Path(settings.url).exists() else "does not exist"
        yield f"{settings.url} {lacking}", "sudo usermod -aG video $USER"


def explain(settings: CameraSettings, failed: FailedStep) -> FailedStep:
    """Add what is known about cameras, devices and video files."""
    if failed.name == "login" and not failed.credentials and "@" not in settings.url:
        return replace(failed, message="the camera asks for a login, and there is no user name")
    if failed.name in _LOCAL_HINTS and "://" not in settings.url:
        return replace(failed, hint=_LOCAL_HINTS[failed.name].format(place=shlex.quote(settings.url)))
    if failed.name == "path":
        return replace(failed, hint=f"check the path of the address; usual ones: {RTSP_PATHS}")
    if failed.name == "empty" and "codec" in failed.facts:
        opened = f"the stream is open ({failed.facts['codec']})"
        message = f"{opened}, and no key frame came within {failed.timeout_s:g} s"
        return replace(failed, message=message, hint=KEY_FRAMES)
    return failed


KIND = SourceKind(
    settings=CameraSettings,
    run=run,
    runs_as=("service", "node"),
    remembers=count_remembered,
    addresses=lambda settings: [find_address(settings.url)] if urlsplit(settings.url).scheme in PORTS else (),
    place_setting="url",
    schemes=SCHEMES,
    parse_place=parse_place,
    check=check_machine,
    explain=explain,
    is_file=is_file,
    extra="camera",
    child_bytes=lambda settings: settings.decoder_max_bytes,
)
