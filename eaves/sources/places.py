"""The settings of a source for an address or path on the command line, and those that disturb no agent."""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DEFAULT_NAME = "camera"
"""Name of a source that is given as an address or a path."""
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "mqtt", "mqtts", "s3")
"""Schemes of the addresses that `parse_place` knows."""
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps")
_STREAM_SUFFIXES = (".m3u8", ".mjpg", ".mjpeg")
"""Endings of the path of an http address of a stream: the usual names of MJPEG, and HLS, which is refused."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".flv", ".mjpg", ".mjpeg", ".h264", ".h265")
SESSION_S = 60
"""Time for which an MQTT broker keeps the session of a guest, seconds; the minimum of the setting."""
_SHARED = re.compile(r"\$share/[^/]+/")


def parse_place(text: str) -> dict[str, Any] | None:
    """Return the settings of a source for its address or path; None for any other text.

    Args:
        text: An address with one of `SCHEMES`, or the path of a folder, an archive, a video file or a device.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme in SCHEMES:
        return _parse_address(scheme, rest, text)
    if separator or "{" in text:
        return None
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        # A device may be plugged in later; any other path must exist.
        return {"kind": "camera", "url": text} if text.startswith("/dev/video") else None
    if stat.S_ISCHR(mode):
        return {"kind": "camera", "url": str(path.absolute())}
    if stat.S_ISDIR(mode):
        return {"kind": "folder", "path": str(path.absolute())}
    if text.lower().endswith(_ARCHIVES):
        return {"kind": "replay", "path": str(path.absolute())}
    if path.suffix.lower() in _VIDEO_SUFFIXES:
        return {"kind": "camera", "url": str(path.absolute())}
    return None


def _parse_address(scheme: str, rest: str, text: str) -> dict[str, Any]:
    if scheme in _STREAMS:
        return {"kind": "camera", "url": text}
    if scheme in {"mqtt", "mqtts"}:
        broker, _, topic = rest.partition("/")
        settings: dict[str, Any] = {"kind": "mqtt", "url": f"{scheme}://{broker}"}
        return settings | ({"topics": [unquote(topic)]} if topic else {})
    if scheme == "s3":
        return {"kind": "s3", "bucket": text}
    try:
        path = urlsplit(text).path.lower()
    except ValueError:
        path = ""
    return {"kind": "camera" if path.endswith(_STREAM_SUFFIXES) else "http", "url": text}


def find_guest_settings(settings: Mapping[str, Any], *, command: str, site: str) -> dict[str, Any]:
    """Return the settings of a source that a guest must replace.

    An MQTT broker disconnects a client when another one connects with its client id, and keeps messages for the session
    of a known client id. So a guest has a random client id, and its session expires after a minute. A shared
    subscription gives each message to one client of its group only, so a guest subscribes to the topics themselves.

    Args:
        settings: Settings of the source, as in eaves.yaml.
        command: Name of the command, which becomes part of the client id.
        site: Name of the site.
    """
    if settings.get("kind") != "mqtt":
        return {}
    name = f"eaves-{command}-{site}-{settings.get('name', '')}-{secrets.token_hex(4)}"
    topics = settings.get("topics", ())
    listed = topics.split(",") if isinstance(topics, str) else topics
    own = [_SHARED.sub("", str(topic).strip(), count=1) for topic in listed]
    return {"client_id": name, "session_expiry_s": SESSION_S, **({"topics": own} if own else {})}
