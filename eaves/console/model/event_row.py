"""One event in a list: what was seen, by which source, how sure the model is."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.console.model.prediction import PREDICTED, parse_prediction
from eaves.console.thumbnails.store import digest_of
from eaves.events import IMAGE_CAPTURED, IMAGE_REJECTED, TENSOR_PREDICTED
from eaves.history import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event in a list.

    Attributes:
        seq: Position in the history.
        at: Time of arrival, Unix seconds.
        picture: Key of the image in addresses, see `build_picture_key`; empty for an event without an image.
        title: Label, or what the event is, in words.
        is_label: Whether the title is a label of the model.
        score: Score of the label, 0 to 1; None when it isn't known.
        confidence: `high`, `low` or empty.
        source: Name of the source of the image.
        subject: Path of the image.
        model: Name of the model; empty when there is none.
        version: Version of the model.
        took_ms: Time that the function took, milliseconds; None when it isn't known.
        failed: Whether no function accepted the image.
    """

    seq: int
    at: float
    picture: str = ""
    title: str
    is_label: bool = False
    score: float | None = None
    confidence: str = ""
    source: str = ""
    subject: str = ""
    model: str = ""
    version: str = ""
    took_ms: float | None = None
    failed: bool = False

    @property
    def file(self) -> str:
        """Name of the image's file, without its folders."""
        return self.subject.rstrip("/").rpartition("/")[2]


def build_row(record: Record, *, has_picture: bool = True) -> EventRow:
    """Return the row of one record.

    Args:
        record: The record.
        has_picture: Whether a thumbnail of its image is kept.
    """
    prediction = parse_prediction(record)
    is_predicted = record.type in PREDICTED
    has_image = record.type != TENSOR_PREDICTED and (record.type == IMAGE_CAPTURED or "causeid" in record.extensions)
    return EventRow(
        seq=record.seq,
        at=record.at,
        picture=build_picture_key(record) if has_image and has_picture else "",
        title=prediction.label if is_predicted and prediction.label else describe_type(record),
        is_label=is_predicted and bool(prediction.label),
        score=prediction.score if is_predicted else None,
        confidence=prediction.confidence if is_predicted else "",
        source=name_source(source_of(record)),
        subject=record.subject,
        model=prediction.model if is_predicted else "",
        version=prediction.version if is_predicted else "",
        took_ms=prediction.total_ms if is_predicted else None,
        failed=record.type == IMAGE_REJECTED,
    )


def build_picture_key(record: Record) -> str:
    """Return the key of a record's image in addresses: its number, and a digest that makes the address permanent."""
    return f"{record.seq}-{digest_of(*record.image)}"


def describe_type(record: Record) -> str:
    """Return what an event without a label is, in words."""
    if record.type == IMAGE_CAPTURED:
        return "Image captured"
    if record.type == IMAGE_REJECTED:
        return "Image refused"
    if record.type == "dev.eaves.image.embedded.v1":
        return "Features computed"
    if record.type == TENSOR_PREDICTED:
        return "Values predicted"
    if record.type in PREDICTED:
        return "No label is likely enough"
    return record.type


def source_of(record: Record) -> str:
    """Return the CloudEvents source of the image that a record is about."""
    return record.extensions.get("causesource") or record.source


def name_source(source: str) -> str:
    """Return the name of a source for people: the last part of its CloudEvents source."""
    return source.rstrip("/").rpartition("/")[2] or source
