"""The event of a photo that a person tries."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime

from eaves.events import IMAGE_CAPTURED, Event, event_id, source_uri
from eaves.media_type import UNKNOWN, sniff

SOURCE = "console"
"""Name of the console as a source of events."""
MAX_NAME = 120
ANY_IMAGE = "image/*"


def clean_name(name: str) -> str:
    """Return the name of a file without folders and unprintable characters; `photo` when nothing is left.

    Args:
        name: Name that the browser sent; a browser may send a path, and anybody may send anything.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(one for one in last if one.isprintable()).strip(" .")
    if len(printable) > MAX_NAME:
        printable = f"{printable[: MAX_NAME - 10]}{printable[-10:]}"
    return printable or "photo"


def build_photo_event(data: bytes, name: str, site: str) -> Event:
    """Build the event that a function gets; it has a new id, so trying a photo twice asks the function twice.

    Args:
        data: Bytes of the photo, whatever they are.
        name: Result of `clean_name`.
        site: Name of the site.
    """
    source = source_uri(site or "local", SOURCE)
    return Event(
        id=event_id(source, secrets.token_hex(16)),
        source=source,
        type=IMAGE_CAPTURED,
        data=data,
        # A function then says that the file can't be read, rather than that it takes no such type.
        datacontenttype=ANY_IMAGE if (kind := sniff(data)) == UNKNOWN else kind,
        subject=name,
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        extensions={"datadigest": f"sha256:{hashlib.sha256(data).hexdigest()}"},
    )
