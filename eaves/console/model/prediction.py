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
    return parse_answer(_parse_document(record.text), record.extensions)


def parse_answer(document: Mapping[str, Any], extensions: Mapping[str, str]) -> RecordedPrediction:
    """Return the prediction in a function's answer.

    Args:
        document: Data of the answer.
        extensions: Extension attributes of the answer, which count before its data.
    """
    ranked = tuple(_list_scored(document.get("predictions")))
    label = _text(extensions.get("label")) or _text(document.get("label")) or (ranked[0].label if ranked else "")
    return RecordedPrediction(
        label=label,
        score=next((one.score for one in ranked if one.label == label), None),
        confidence=_text(extensions.get("confidence")),
        ranked=ranked,
        model=_text(extensions.get("model")) or _text(document.get("model")),
        version=_text(extensions.get("modelversion")) or _text(document.get("version")),
        artifact=_text(document.get("artifact")),
        timings_ms=_parse_timings(document.get("timings_ms")),
    )


def _parse_document(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {"predictions": list(_list_complete(text, '"predictions"'))}
    return found if isinstance(found, dict) else {}


def _list_complete(text: str, key: str) -> Iterator[Any]:
    """Return the items of a list in JSON that was cut off, up to the first item that isn't complete."""
    decoder, start = json.JSONDecoder(), text.find("[", text.find(key)) if key in text else -1
    while start >= 0 and (start := start + 1) < len(text):
        while start < len(text) and text[start].isspace():
            start += 1
        try:
            item, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        yield item
        if text[start : start + 1] != ",":
            return


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


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
