"""A prediction as the history recorded it: labels with scores, the model, and the time of each stage.

The history keeps only the beginning of an event's data, and an event may come from any program, so everything is
parsed defensively: what can't be read is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eaves.console.thumbnails import digest_of
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_REJECTED, TENSOR_PREDICTED
from eaves.history import Record

PREDICTED = (IMAGE_CLASSIFIED, IMAGE_EMBEDDED, TENSOR_PREDICTED)
"""Types of the events that carry a function's answer."""
ANSWERED = (*PREDICTED, IMAGE_REJECTED)
"""Types of the events that end the way of an image through a function."""
SHOWN = (IMAGE_CAPTURED, *ANSWERED)
"""Types of the events that concern an image."""
MAX_LABELS = 20
"""Maximum number of labels that are read of one prediction."""
STAGES = {
    "decode": "Decode the image",
    "preprocess": "Resize and scale",
    "infer": "Run the model",
    "postprocess": "Make the answer",
}
"""Stage of a prediction to its name for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A label with its score.

    Attributes:
        label: The label.
        score: Calibrated probability, 0 to 1; None when the function gives none.
    """

    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPrediction:
    """The answer of a function to one image.

    Attributes:
        label: Label of the best prediction; empty when no label reached the threshold, or when the model has none.
        score: Score of the best prediction, 0 to 1; None when it isn't known.
        confidence: `high`, `low` or empty.
        ranked: Best labels with their scores, best first.
        model: Name of the model; empty when it isn't known.
        version: Version of the model; empty when it isn't known.
        artifact: Digest of the artifact, `sha256:HEX`; empty when it isn't known.
        timings_ms: Milliseconds by stage, in the order in which the stages ran.
    """

    label: str = ""
    score: float | None = None
    confidence: str = ""
    ranked: tuple[Scored, ...] = ()
    model: str = ""
    version: str = ""
    artifact: str = ""
    timings_ms: Mapping[str, float]

    @property
    def total_ms(self) -> float | None:
        """Time that the function took, milliseconds; None when it isn't known."""
        return sum(self.timings_ms.values()) if self.timings_ms else None


def parse_prediction(record: Record) -> RecordedPrediction:
    """Return the prediction in the record of a function's answer.

    Args:
        record: A record of one of the types `PREDICTED`; of another type it gives an empty prediction.
    """
    return parse_answer(parse_document(record.text), record.extensions)


def parse_answer(document: Mapping[str, Any], extensions: Mapping[str, str]) -> RecordedPrediction:
    """Return the prediction in a function's answer.

    Args:
        document: Data of the answer.
        extensions: Extension attributes of the answer, which count before its data.
    """
    ranked = tuple(_list_scored(document.get("predictions")))
    label = to_text(extensions.get("label")) or to_text(document.get("label")) or (ranked[0].label if ranked else "")
    return RecordedPrediction(
        label=label,
        score=next((one.score for one in ranked if one.label == label), None),
        confidence=to_text(extensions.get("confidence")),
        ranked=ranked,
        model=to_text(extensions.get("model")) or to_text(document.get("model")),
        version=to_text(extensions.get("modelversion")) or to_text(document.get("version")),
        artifact=to_text(document.get("artifact")),
        timings_ms=_parse_timings(document.get("timings_ms")),
    )


def parse_document(text: str) -> Mapping[str, Any]:
    """Return an event's data; empty when it is no JSON object, or so long that the history keeps only its beginning."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _list_scored(values: Any) -> Iterator[Scored]:
    for value in values[:MAX_LABELS] if isinstance(values, list) else ():
        if isinstance(value, dict) and isinstance(value.get("label"), str):
            yield Scored(label=value["label"], score=_number(value.get("score"), most=1.0))


def _parse_timings(values: Any) -> Mapping[str, float]:
    if not isinstance(values, dict):
        return {}
    found = {str(stage)[:40]: _number(value, most=1e9) for stage, value in list(values.items())[:MAX_LABELS]}
    return {stage: value for stage, value in found.items() if value is not None}


def _number(value: Any, *, most: float) -> float | None:
    """Return a number between 0 and `most`; None for everything else, such as a boolean or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= most else None


def to_text(value: Any) -> str:
    """Return a value if it is text; otherwise empty."""
    return value if isinstance(value, str) else ""


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
    prediction = parse_prediction(record) if record.type in PREDICTED else RecordedPrediction(timings_ms={})
    has_image = record.type != TENSOR_PREDICTED and (record.type == IMAGE_CAPTURED or "causeid" in record.extensions)
    return EventRow(
        seq=record.seq,
        at=record.at,
        picture=build_picture_key(record) if has_image and has_picture else "",
        title=prediction.label or describe_type(record),
        is_label=bool(prediction.label),
        score=prediction.score,
        confidence=prediction.confidence,
        source=name_source(source_of(record)),
        subject=record.subject,
        model=prediction.model,
        version=prediction.version,
        took_ms=prediction.total_ms,
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
