"""One event with everything that is known of it: its chain, its labels, and where the time went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from eaves.console.model.event_row import build_row, describe_type, name_source, source_of
from eaves.console.model.forwarding import Forwarding
from eaves.console.model.prediction import PREDICTED, STAGES, RecordedPrediction, parse_prediction
from eaves.console.model.words import describe_ms, describe_share, describe_size
from eaves.events import IMAGE_CAPTURED, IMAGE_REJECTED, TENSOR_CAPTURED
from eaves.history import Record

MAX_REASON = 500
"""Maximum number of characters of a reason that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an image's way.

    Attributes:
        title: What happened.
        at: When, Unix seconds; None when it hasn't happened, or when it isn't known.
        later: Time since the step before, in words; empty for the first step.
        detail: What else is known.
        state: `done`, `open` or `failing`.
        seq: Number of the record; 0 without one.
    """

    title: str
    at: float | None = None
    later: str = ""
    detail: str = ""
    state: str = "done"
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The time of one stage.

    Attributes:
        name: Name of the stage for people.
        ms: Milliseconds.
        share: Share of the longest stage, 0 to 1.
    """

    name: str
    ms: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """One event with everything that is known of it.

    Attributes:
        seq: Number of the record.
        at: Time of arrival, Unix seconds.
        title: Label, or what the event is.
        picture: Key of the image in addresses; empty without an image.
        subject: Path of the image.
        source: Name of the source.
        function: Name of the function that answered; empty without an answer.
        prediction: The answer; an empty one without.
        summary: Score and confidence in words; empty without a score.
        steps: The way of the image.
        stages: Time of each stage.
        total_ms: Time that the function took, milliseconds; None when it isn't known.
        facts: Names and values of the event's attributes.
    """

    seq: int
    at: float
    title: str
    picture: str
    subject: str
    source: str
    function: str
    prediction: RecordedPrediction
    summary: str
    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    total_ms: float | None
    facts: tuple[tuple[str, str], ...]


def build_detail(record: Record, chain: Sequence[Record], *, forwarding: Forwarding | None = None) -> EventDetail:
    """Return everything that is known of an event.

    Args:
        record: The event; for an image event, its newest answer in the chain is shown.
        chain: Records of the same image, oldest first.
        forwarding: What became of the answer at the relay; None to leave this step out.
    """
    answers = [one for one in chain if one.type in PREDICTED]
    shown = answers[-1] if record.type in (IMAGE_CAPTURED, TENSOR_CAPTURED) and answers else record
    prediction = parse_prediction(shown)
    row = build_row(shown)
    return EventDetail(
        seq=record.seq,
        at=record.at,
        title=row.title,
        picture=row.picture,
        subject=record.subject,
        source=row.source,
        function=name_source(shown.source) if shown.type in PREDICTED else "",
        prediction=prediction,
        summary=describe_confidence(row.score, row.confidence),
        steps=(*_list_steps(record, chain), *_list_forwarding(forwarding)),
        stages=_list_stages(prediction),
        total_ms=prediction.total_ms,
        facts=_list_facts(shown),
    )


def describe_confidence(score: float | None, confidence: str) -> str:
    """Return score and confidence in words, such as `94%, sure`."""
    word = {"high": "sure", "low": "not sure"}.get(confidence, "")
    return ", ".join(part for part in ("" if score is None else describe_share(score), word) if part)


def _list_steps(record: Record, chain: Sequence[Record]) -> list[Step]:
    steps: list[Step] = []
    known = sorted({one.seq: one for one in (*chain, record)}.values(), key=lambda one: one.seq)
    if record.type not in (IMAGE_CAPTURED, TENSOR_CAPTURED) and not any(
        one.type in (IMAGE_CAPTURED, TENSOR_CAPTURED) for one in known
    ):
        name = name_source(source_of(record))
        steps.append(Step(title=f"Captured by {name}", detail="Its record is no longer in the history.", state="open"))
    before: float | None = None
    for one in known:
        later = "" if before is None else f"{describe_ms(max(0.0, one.at - before) * 1_000)} later"
        steps.append(_build_step(one, later))
        before = one.at
    if not any(one.type in (*PREDICTED, IMAGE_REJECTED) for one in known):
        steps.append(Step(title="Not predicted yet", state="open"))
    return steps


def _list_forwarding(forwarding: Forwarding | None) -> list[Step]:
    if forwarding is None or forwarding.state == "no_link":
        return []
    state = {"delivered": "done", "refused": "failing", "lost": "failing"}.get(forwarding.state, "open")
    title = "Forwarding to the cloud is not known" if forwarding.state == "unknown" else forwarding.words
    detail = forwarding.reason if forwarding.state == "unknown" else ""
    return [Step(title=title[:1].upper() + title[1:], at=forwarding.since, detail=detail, state=state)]


def _build_step(record: Record, later: str) -> Step:
    name, title, detail, state = name_source(record.source), describe_type(record), "", "done"
    if record.type in (IMAGE_CAPTURED, TENSOR_CAPTURED):
        title = f"Captured by {name}"
        detail = describe_size(record.size_bytes) if record.size_bytes else ""
    elif record.type in PREDICTED:
        row = build_row(record)
        title = f"Predicted by {name}"
        detail = ": ".join(part for part in (row.title, describe_confidence(row.score, row.confidence)) if part)
    elif record.type == IMAGE_REJECTED:
        title, state, detail = f"Refused by {_refuser(record) or name}", "failing", _refusal(record)
    return Step(title=title, at=record.at, later=later, detail=detail, state=state, seq=record.seq)


def _list_stages(prediction: RecordedPrediction) -> tuple[Stage, ...]:
    longest = max(prediction.timings_ms.values(), default=0.0) or 1.0
    return tuple(
        Stage(name=STAGES.get(stage, stage), ms=ms, share=ms / longest) for stage, ms in prediction.timings_ms.items()
    )


def _list_facts(record: Record) -> tuple[tuple[str, str], ...]:
    own = (("type", record.type), ("source", record.source), ("id", record.id), ("subject", record.subject))
    return tuple((name, value) for name, value in (*own, *sorted(record.extensions.items())) if value)


def _refusal(record: Record) -> str:
    document = _parse(record.text)
    texts = (document.get(key) for key in ("detail", "title"))
    return next((text[:MAX_REASON] for text in texts if isinstance(text, str) and text), "")


def _refuser(record: Record) -> str:
    found = _parse(record.text).get("function") or ""
    return name_source(found) if isinstance(found, str) else ""


def _parse(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
