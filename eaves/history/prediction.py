"""The prediction in a record, or in a function's answer: labels with scores, the model, and the time of each stage.

The history keeps only the beginning of an event's data, and an event may come from any program, so everything is
parsed defensively: what can't be read is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eaves.history.record import Record

MAX_LABELS = 20
"""Maximum number of labels that are read of one prediction."""


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
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_ms(self) -> float | None:
        """Time that the function took, milliseconds; None when it isn't known."""
        return sum(self.timings_ms.values()) if self.timings_ms else None


def parse_prediction(record: Record) -> RecordedPrediction:
    """Return the prediction in the record of a function's answer; an empty one of another record."""
    return parse_answer(parse_data(record.text), record.extensions)


def parse_answer(data: Any, extensions: Mapping[str, str]) -> RecordedPrediction:
    """Return the prediction in the data of a function's answer; extension attributes count before the data."""
    document: dict[str, Any] = data if isinstance(data, dict) else {}
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


def parse_data(text: str) -> Any:
    """Parse an event's JSON data; None when there are none, or when the history keeps only their beginning."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


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
