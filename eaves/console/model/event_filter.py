"""The filter of the events page: from the query of an address to conditions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from urllib.parse import urlencode

from eaves.console.model.prediction import ANSWERED, PREDICTED, SHOWN
from eaves.events import IMAGE_CAPTURED, IMAGE_REJECTED
from eaves.history import RecordFilter

KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "": ("All results", ANSWERED),
    "predicted": ("Predictions", PREDICTED),
    "refused": ("Refused images", (IMAGE_REJECTED,)),
    "captured": ("Captured images", (IMAGE_CAPTURED,)),
    "images": ("Everything about images", SHOWN),
    "all": ("All events", ()),
}
"""Value of the field `kind` to its name for people and the event types that it shows; no types: all."""
MAX_TEXT = 200
"""Maximum number of characters of one field; longer ones are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What a person has chosen in the filter of the events page.

    Attributes:
        kind: A key of `KINDS`.
        label: Label of the prediction.
        source: Name of the source, or of the function.
        confidence: `high`, `low` or empty.
        since: Earliest time, as a field of the type datetime-local has it; empty without.
        until: Latest time, likewise.
        text: Text within the image's path.
    """

    kind: str = ""
    label: str = ""
    source: str = ""
    confidence: str = ""
    since: str = ""
    until: str = ""
    text: str = ""

    @property
    def is_set(self) -> bool:
        """Whether anything is filtered."""
        return self != EventFilter()

    def to_query(self, **more: int) -> str:
        """Return the query of an address with the fields that are set, such as `label=rose&before=120`."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name)}
        return urlencode({**own, **more})

    def to_records(self) -> RecordFilter:
        """Return the conditions; times are in this machine's time zone, and `until` includes its whole last minute."""
        until = _parse_time(self.until)
        return RecordFilter(
            types=KINDS[self.kind][1],
            label=self.label,
            source=self.source,
            confidence=self.confidence,
            since=_parse_time(self.since),
            until=None if until is None else until + (59.999 if len(self.until) <= len("2026-11-26T14:02") else 0.999),
            text=self.text,
        )


def parse_filter(query: Mapping[str, str]) -> EventFilter:
    """Return the filter in the query of an address; a field that isn't valid is left out.

    Args:
        query: Fields by name; other fields are ignored.
    """
    texts = {one.name: query.get(one.name, "").strip()[:MAX_TEXT] for one in fields(EventFilter)}
    if texts["kind"] not in KINDS:
        texts["kind"] = ""
    if texts["confidence"] not in ("high", "low"):
        texts["confidence"] = ""
    for name in ("since", "until"):
        if _parse_time(texts[name]) is None:
            texts[name] = ""
    return EventFilter(**texts)


def parse_seq(text: str | None) -> int | None:
    """Return the number of a record in the query of an address; None when it isn't one."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _parse_time(text: str) -> float | None:
    """Return the Unix time of a field of the type datetime-local; None when it isn't valid."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError, OSError):
        return None
