"""Building of events from image files, for `eaves send` and for the folder source."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from eaves import media_type
from eaves.events import DATADIGEST, IMAGE_CAPTURED, TENSOR_CAPTURED, Event, event_id, source_uri
from eaves.sources.context import Frame


def position(subject: str, *, mtime_ns: int, size_bytes: int) -> str:
    """Return the text that identifies one version of an image file: path, modification time and size."""
    return f"{subject}\0{mtime_ns}\0{size_bytes}"


def build_subject(path: Path) -> str:
    """Return a path as an event's subject; characters that CloudEvents don't allow in attributes become U+FFFD.

    Attributes have no control characters and no lone surrogates. A file name may have both, as a newline and as bytes
    that are not UTF-8. Source: CloudEvents 1.0.2, spec.md, type system.
    """
    return build_text(os.fsencode(path.as_posix()).decode("utf-8", "replace"))


def build_text(text: str) -> str:
    """Return a text as the value of a CloudEvents attribute; characters that attributes can't have become U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def build_capture(frame: Frame, *, source: str, camera: str) -> Event:
    """Build the event of a frame, of the source `/eaves/SITE/SOURCE`; `camera` is for a frame of no named one."""
    return Event(
        id=event_id(source, frame.position),
        source=source,
        type=IMAGE_CAPTURED,
        subject=build_text(frame.subject) or None,
        time=None if frame.captured_at_ns is None else _moment(frame.captured_at_ns),
        datacontenttype=frame.content_type or media_type.sniff(frame.data),
        data=frame.data,
        extensions={
            **{name: build_text(value) for name, value in frame.extensions.items()},
            "partitionkey": build_text(frame.camera or camera),
            DATADIGEST: f"sha256:{hashlib.sha256(frame.data).hexdigest()}",
        },
    )


def _moment(captured_at_ns: int) -> str | None:
    """Format a time as RFC 3339; None for a time without a valid date, as a camera's clock may be set to anything."""
    try:
        return datetime.fromtimestamp(captured_at_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def capture_file(path: Path, *, site: str) -> Event:
    """Build the event of one file on this machine, of the source `send`: an image, or the numbers in a .json file."""
    status = path.stat()
    frame = Frame(
        data=path.read_bytes(),
        position=position(str(path.absolute()), mtime_ns=status.st_mtime_ns, size_bytes=status.st_size),
        subject=build_subject(Path(path.name)),
        captured_at_ns=status.st_mtime_ns,
    )
    event = build_capture(frame, source=source_uri(site, "send"), camera="send")
    if path.suffix.lower() == ".json":
        return replace(event, type=TENSOR_CAPTURED, datacontenttype="application/json")
    return event
