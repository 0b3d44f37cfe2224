"""Building of events from image files, for `eaves send` and for the folder source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from eaves import media_type
from eaves.events import DATADIGEST, DATAREF, IMAGE_CAPTURED, TENSOR_CAPTURED, Event, event_id, source_uri


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


def build_capture(
    *,
    source: str,
    identity: str,
    subject: str,
    captured_at_ns: int | None,
    data: bytes,
    camera: str,
    content_type: str = "",
    extensions: Mapping[str, str] | None = None,
    dataref: str = "",
    digest: str = "",
) -> Event:
    """Build the event of one captured image.

    An event with `dataref` has no data, and a function fetches the image from there. Source: CloudEvents,
    extensions/dataref.md.

    Args:
        source: `source` attribute, `/eaves/SITE/SOURCE`.
        identity: Id of the event.
        subject: Name of the image within the source, for example its path relative to the folder, or a topic; may be
            empty.
        captured_at_ns: Capture time, nanoseconds since 1970; None when it isn't known.
        data: Encoded image; empty with `dataref`.
        camera: Value of the `partitionkey` attribute.
        content_type: Media type of `data`; empty to detect it from the first bytes.
        extensions: Further extension attributes.
        dataref: URL of the image, when the event has no data.
        digest: Digest of the image at `dataref`, `sha256:HEX`; empty when it isn't known.
    """
    if dataref:
        reference = {DATAREF: dataref, **({DATADIGEST: digest} if digest else {})}
        media = content_type or None  # the store's own content type counts when the event has none
    else:
        reference = {DATADIGEST: f"sha256:{hashlib.sha256(data).hexdigest()}"}
        media = content_type or media_type.sniff(data)
    return Event(
        id=identity,
        source=source,
        type=IMAGE_CAPTURED,
        subject=build_text(subject) or None,
        time=None if captured_at_ns is None else _moment(captured_at_ns),
        datacontenttype=media,
        data=data,
        extensions={
            **{name: build_text(value) for name, value in (extensions or {}).items()},
            "partitionkey": build_text(camera),
            **reference,
        },
    )


def _moment(captured_at_ns: int) -> str | None:
    """Format a time as RFC 3339; None for a time without a valid date, as a camera's clock may be set to anything."""
    try:
        return datetime.fromtimestamp(captured_at_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def capture_file(path: Path, *, site: str, name: str = "send") -> Event:
    """Build the event of one file on this machine: an image, or the numbers in a .json file."""
    status = path.stat()
    source = source_uri(site, name)
    identity = event_id(source, position(str(path.absolute()), mtime_ns=status.st_mtime_ns, size_bytes=status.st_size))
    data = path.read_bytes()
    event = build_capture(
        source=source,
        identity=identity,
        subject=build_subject(Path(path.name)),
        captured_at_ns=status.st_mtime_ns,
        data=data,
        camera=name,
    )
    if path.suffix.lower() == ".json":
        return replace(event, type=TENSOR_CAPTURED, datacontenttype="application/json")
    return event
