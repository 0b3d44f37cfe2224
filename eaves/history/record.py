"""What the history stores of one event, and the limits of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from eaves.events import Event

MAX_TEXT = 2_000
"""Maximum number of characters that are stored of an event's JSON data."""
MAX_ATTRIBUTE = 512
"""Maximum number of characters that are stored of one attribute of an event."""
MAX_EXTENSIONS = 4_096
"""Maximum number of characters that are stored of all extension attributes together, including their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One accepted event.

    Attributes:
        seq: Position in the order of arrival.
        at: Time of arrival, Unix seconds.
        id: The event's id; this and the other attributes are truncated to `MAX_ATTRIBUTE` characters.
        type: The event's type.
        source: The event's source.
        subject: The event's subject; empty when it has none.
        extensions: The event's extension attributes, as many as fit into `MAX_EXTENSIONS` characters.
        size_bytes: Size of the event's data, bytes.
        text: The event's data when that is JSON, truncated to `MAX_TEXT` characters; empty otherwise.
    """

    seq: int
    at: float
    id: str
    type: str
    source: str
    subject: str
    extensions: dict[str, str]
    size_bytes: int
    text: str

    @property
    def identity(self) -> tuple[str, str]:
        """`source` and `id` of the event."""
        return self.source, self.id

    @property
    def cause(self) -> tuple[str, str] | None:
        """`source` and `id` of the event that caused this one, as the image of a prediction; None without one."""
        extensions = self.extensions
        if "causeid" not in extensions or "causesource" not in extensions:
            return None
        return extensions["causesource"], extensions["causeid"]

    @property
    def image(self) -> tuple[str, str]:
        """`source` and `id` of the event that captured the image: those of the cause, otherwise its own."""
        return self.cause or self.identity


def build_row(event: Event, at: float) -> tuple[object, ...]:
    """Return the values of `eaves.history.rows.STORED` for an event.

    Args:
        event: The event.
        at: Time of arrival, Unix seconds.
    """
    is_json = (event.datacontenttype or "").partition(";")[0].strip().lower().endswith(("/json", "+json"))
    text = event.data[:MAX_TEXT].decode(errors="replace") if is_json else ""
    attributes = [_cut(value or "") for value in (event.id, event.type, event.source, event.subject)]
    extensions = json.dumps(_cut_extensions(event.extensions), ensure_ascii=False)
    return at, *attributes, extensions, len(event.data), text


def _cut(text: str) -> str:
    """Truncate an attribute, and replace characters that UTF-8 can't encode."""
    return text[:MAX_ATTRIBUTE].encode(errors="replace").decode()


def _cut_extensions(extensions: Mapping[str, str]) -> dict[str, str]:
    kept, room = {}, MAX_EXTENSIONS
    for name, value in extensions.items():
        room -= len(name) + len(_cut(value))
        if room < 0:
            break
        kept[name] = _cut(value)
    return kept
