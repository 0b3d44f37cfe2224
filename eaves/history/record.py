"""Records of events: what the history stores of one event, the prediction in it, and how pages find and read records.

The history keeps only the beginning of an event's data, and an event may come from any program, so predictions are
parsed defensively: what can't be read is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eaves.events import Event

MAX_TEXT = 2_000
"""Maximum number of characters that are stored of an event's JSON data."""
MAX_ATTRIBUTE = 512
"""Maximum number of characters that are stored of one attribute of an event."""
MAX_EXTENSIONS = 4_096
"""Maximum number of characters that are stored of all extension attributes together, including their names."""
MAX_CHOICES = 1_000
"""Maximum number of labels and of sources that are listed; those with the newest records are listed."""
STORED = "at, id, type, source, subject, extensions, size_bytes, text"
"""Columns that are written for each event."""
COLUMNS = f"seq, {STORED}"


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
    def newest(self) -> Record | None:
        """The newer one of the two."""
        return max(filter(None, (self.captured, self.predicted)), key=lambda record: record.seq, default=None)


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


def build_row(event: Event, at: float) -> tuple[object, ...]:
    """Return the values of `STORED` for an event that arrived at a time in Unix seconds."""
    is_json = (event.datacontenttype or "").partition(";")[0].strip().lower().endswith(("/json", "+json"))
    text = event.data[:MAX_TEXT].decode(errors="replace") if is_json else ""
    attributes = [_cut(value or "") for value in (event.id, event.type, event.source, event.subject)]
    extensions = json.dumps(_cut_extensions(event.extensions), ensure_ascii=False)
    return at, *attributes, extensions, len(event.data), text


def parse_rows(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    """Return the records of rows that have `COLUMNS`."""
    names = COLUMNS.split(", ")
    found = (dict(zip(names, row, strict=True)) for row in rows)
    return [Record(**{**values, "extensions": _parse(values["extensions"])}) for values in found]


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


def _parse(text: str) -> dict[str, str]:
    """Parse recorded extensions; return an empty dict when the record is damaged."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


MAX_LABELS = 20
"""Maximum number of labels, and of boxes, that are read of one prediction."""
MAX_SCORE = 1e12


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
        score: Score of the best prediction, 0 to 1, or of any scale if there is a threshold; None when it isn't known.
        confidence: `high`, `low` or empty.
        ranked: Best labels with their scores, best first.
        threshold: Score above which an image is anomalous; None for models that don't find anomalies.
        p_value: Share of good images that score as high, 0 to 1; None without a threshold.
        boxes: Regions above the threshold: left, top, width and height in shares of the image, and score.
        model: Name of the model; empty when it isn't known.
        version: Version of the model; empty when it isn't known.
        artifact: Digest of the artifact, `sha256:HEX`; empty when it isn't known.
        timings_ms: Milliseconds by stage, in the order in which the stages ran.
    """

    label: str = ""
    score: float | None = None
    confidence: str = ""
    ranked: tuple[Scored, ...] = ()
    threshold: float | None = None
    p_value: float | None = None
    boxes: tuple[tuple[float, ...], ...] = ()
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
    own = next((one.score for one in ranked if one.label == label), None)
    inspected = [_number(document.get(name), most=MAX_SCORE) for name in ("score", "threshold", "p_value")]
    score, threshold, p_value = (own, None, None) if None in inspected else inspected
    return RecordedPrediction(
        label=label,
        score=score,
        confidence=to_text(extensions.get("confidence")),
        ranked=ranked,
        threshold=threshold,
        p_value=p_value,
        boxes=() if threshold is None else tuple(_list_boxes(document.get("boxes"))),
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


def _list_boxes(values: Any) -> Iterator[tuple[float, ...]]:
    for value in values[:MAX_LABELS] if isinstance(values, list) else ():
        if isinstance(value, list) and len(value) == 5:
            numbers = [_number(one, most=most) for one, most in zip(value, (1, 1, 1, 1, MAX_SCORE), strict=True)]
            if None not in numbers:
                yield tuple(one for one in numbers if one is not None)


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
