"""The Protocol of a history that pages show, and the filter of its records."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eaves.history.record import Record

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Conditions that a record must meet; empty ones are met by every record.

    Attributes:
        types: Event types.
        source: The source of the image, or the function that made the prediction: the end of its `source` attribute
            behind a slash, or the whole attribute.
        label: Label of a prediction.
        confidence: `high` or `low`.
        since: Earliest time of arrival, Unix seconds.
        until: Latest time of arrival, Unix seconds.
        text: Text within the subject; the case of the letters a to z doesn't matter.
    """

    types: tuple[str, ...] = ()
    source: str = ""
    label: str = ""
    confidence: str = ""
    since: float | None = None
    until: float | None = None
    text: str = ""

    def matches(self, record: Record) -> bool:
        """Return whether a record meets every condition."""
        extensions = record.extensions
        return (
            (not self.types or record.type in self.types)
            and (not self.label or extensions.get("label") == self.label)
            and (not self.confidence or extensions.get("confidence") == self.confidence)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at <= self.until)
            and (not self.source or _is_named(self.source, record.source, extensions.get("causesource", "")))
            and (not self.text or self.text.translate(_LOWER) in record.subject.translate(_LOWER))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecords:
    """The newest records of one source of images.

    Attributes:
        source: The `source` attribute of its events.
        captured: The newest event of the source; None when the history doesn't have it any more.
        predicted: The newest prediction of one of its images; None when there is none.
    """

    source: str
    captured: Record | None = None
    predicted: Record | None = None

    @property
    def newest_seq(self) -> int:
        """`Record.seq` of the newer one of the two."""
        return max(record.seq if record else 0 for record in (self.captured, self.predicted))


class Records(Protocol):
    """The history of events, for pages. Every method raises PlatformError when it can't be read.

    A history that was damaged or deleted is replaced by an empty one, whose numbers begin at 1 again. `newest` is then
    smaller than it was before.
    """

    def newest(self) -> int:
        """Return `Record.seq` of the newest record; 0 when there is none."""

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        """Return the first `limit` records after the record `after`, oldest first."""

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        """Return the newest `limit` matching records older than the record `before`, newest first."""

    def get(self, seq: int) -> Record | None:
        """Return one record; None when it was deleted or never existed."""

    def chain(self, record: Record) -> Sequence[Record]:
        """Return the records of the same image, oldest first: its capture, and all that it caused.

        A repetition of an event is left out.
        """

    def causes(self, records: Iterable[Record]) -> Mapping[int, Record]:
        """Return the record of the event that caused each of these predictions, by `Record.seq` of the prediction.

        A prediction whose cause is no longer in the history is left out.
        """

    def labels(self) -> Sequence[str]:
        """Return the labels that predictions have, in alphabetical order; at most `MAX_CHOICES`."""

    def sources(self) -> Sequence[str]:
        """Return the `source` attributes of events that no other event caused, in order; at most `MAX_CHOICES`."""

    def by_source(self) -> Sequence[SourceRecords]:
        """Return the newest records of each source, the source with the newest one first; at most `MAX_CHOICES`."""


MAX_CHOICES = 1_000
"""Maximum number of labels and of sources that are listed; those with the newest records are listed."""


def _is_named(name: str, *sources: str) -> bool:
    return any(source == name or source.endswith(f"/{name}") for source in sources)
