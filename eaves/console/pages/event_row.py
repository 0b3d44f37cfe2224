"""The row of an event in lists, and the words for its type and its source."""

from __future__ import annotations

from dataclasses import dataclass, field

from eaves.console.thumbnails import digest_of
from eaves.console.words import describe_share
from eaves.events import (
    CHOSEN,
    DATASET_UPDATED,
    IMAGE_CAPTURED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_REJECTED,
    MODEL_PUBLISHED,
    MODEL_SHIFTED,
    PREDICTED,
    TENSOR_PREDICTED,
)
from eaves.history import Record
from eaves.history.record import RecordedPrediction, parse_prediction

ANSWERED = (*PREDICTED, IMAGE_REJECTED)
"""Types of the events that end the way of an image through a function."""
SHOWN = (IMAGE_CAPTURED, *ANSWERED)
"""Types of the events that concern an image."""
TITLES = {
    IMAGE_CAPTURED: "Image captured",
    IMAGE_REJECTED: "Image refused",
    IMAGE_CLASSIFIED: "No label is likely enough",
    IMAGE_EMBEDDED: "Features computed",
    TENSOR_PREDICTED: "Values predicted",
    MODEL_SHIFTED: "Scores have shifted",
    DATASET_UPDATED: "Dataset updated",
    MODEL_PUBLISHED: "Model published",
}
"""Type of an event without a label to what it is, in words."""
STAGES = {
    "decode": "Decode the image",
    "preprocess": "Resize and scale",
    "infer": "Run the model",
    "postprocess": "Make the answer",
}
"""Stage of a prediction to its name for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event in a list.

    Attributes:
        seq: Position in the history.
        at: Time of arrival, Unix seconds.
        title: Label, or what the event is, in words.
        picture: Key of the image in addresses, see `build_picture_key`; empty for an event without an image.
        prediction: The prediction; an empty one when the event is none.
        source: Name of the source of the image.
        subject: Path of the image.
        failed: Whether no function accepted the image.
    """

    seq: int
    at: float
    title: str
    picture: str = ""
    prediction: RecordedPrediction = field(default_factory=RecordedPrediction)
    source: str = ""
    subject: str = ""
    failed: bool = False

    @property
    def file(self) -> str:
        """Name of the image's file, without its folders."""
        return self.subject.rstrip("/").rpartition("/")[2]


def build_row(record: Record, *, has_picture: bool = True) -> EventRow:
    """Return the row of one record, of whose image a thumbnail is kept or not."""
    prediction = parse_prediction(record) if record.type in PREDICTED else RecordedPrediction()
    has_image = record.type != TENSOR_PREDICTED and (record.type == IMAGE_CAPTURED or "causeid" in record.extensions)
    title = f"Chosen for labelling: {why}" if (why := record.extensions.get(CHOSEN)) else TITLES.get(record.type)
    return EventRow(
        seq=record.seq,
        at=record.at,
        title=prediction.label or title or record.type,
        picture=build_picture_key(record) if has_image and has_picture else "",
        prediction=prediction,
        source=name_source(source_of(record)),
        subject=record.subject,
        failed=record.type == IMAGE_REJECTED,
    )


def describe_score(prediction: RecordedPrediction) -> str:
    """Return a score such as `94%`, or `score 4.21, alarm above 3, p-value 0.012`; empty without one."""
    if prediction.score is None:
        return ""
    if prediction.threshold is None:
        return describe_share(prediction.score)
    return f"score {prediction.score:.4g}, alarm above {prediction.threshold:.4g}, p-value {prediction.p_value:.2g}"


def build_picture_key(record: Record) -> str:
    """Return the key of a record's image in addresses: its number, and a digest that makes the address permanent."""
    return f"{record.seq}-{digest_of(*record.image)}"


def source_of(record: Record) -> str:
    """Return the CloudEvents source of the image that a record is about."""
    return record.extensions.get("causesource") or record.source


def name_source(source: str) -> str:
    """Return the name of a source for people: the last part of its CloudEvents source."""
    return source.rstrip("/").rpartition("/")[2] or source
