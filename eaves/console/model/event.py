"""One event with everything that is known of it: its chain, what the relay did with it, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eaves.console.backend import Backend
from eaves.console.model.prediction import (
    PREDICTED,
    STAGES,
    EventRow,
    RecordedPrediction,
    build_row,
    name_source,
    parse_document,
    parse_prediction,
    source_of,
    to_text,
)
from eaves.console.model.words import describe_ms, describe_share, describe_size
from eaves.errors import EavesError, NotFoundError
from eaves.events import IMAGE_CAPTURED, IMAGE_REJECTED, TENSOR_CAPTURED
from eaves.history import Record

MAX_REASON = 500
"""Maximum number of characters of a reason that are shown."""
CAPTURED = (IMAGE_CAPTURED, TENSOR_CAPTURED)
"""Types of the events that begin a chain."""
NOT_KNOWN = "Forwarding to the cloud is not known"
NO_LINE = "the relay doesn't know this event; it may still be on its way to the relay"
_FORWARDED: Mapping[str, tuple[str, str]] = {
    "queued": ("Waiting in the relay's queue", "open"),
    "released": ("Delivered to the cloud", "done"),
    "dead": ("Refused by the cloud", "failing"),
    "removed": ("Removed from the relay's queue", "open"),
}
"""State of an event in a relay's ledger to the title and the state of its step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an image's way.

    Attributes:
        title: What happened.
        at: When, Unix seconds; None when it hasn't happened, or when it isn't known.
        later: Time since the step before, in words; empty for the first step.
        detail: What else is known.
        state: `done`, `open` or `failing`.
    """

    title: str
    at: float | None = None
    later: str = ""
    detail: str = ""
    state: str = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """One event with everything that is known of it.

    Attributes:
        at: Time of arrival, Unix seconds.
        row: The event that is shown, as in a list.
        function: Name of the function that answered; empty without an answer.
        prediction: The answer; an empty one without.
        summary: Score and confidence in words; empty without a score.
        steps: The way of the image.
        stages: Name of each stage, its milliseconds, and their share of the longest stage's.
        facts: Names and values of the event's attributes.
    """

    at: float
    row: EventRow
    function: str
    prediction: RecordedPrediction
    summary: str
    steps: tuple[Step, ...]
    stages: tuple[tuple[str, float, float], ...]
    facts: tuple[tuple[str, str], ...]


def build_detail(record: Record, chain: Sequence[Record], *, forwarding: Step | None = None) -> EventDetail:
    """Return everything that is known of an event.

    Args:
        record: The event; for an image event, its newest answer in the chain is shown.
        chain: Records of the same image, oldest first.
        forwarding: What became of the answer at the relay; None to leave this step out.
    """
    answers = [one for one in chain if one.type in PREDICTED]
    shown = answers[-1] if record.type in CAPTURED and answers else record
    prediction, row = parse_prediction(shown), build_row(shown)
    longest = max(prediction.timings_ms.values(), default=0.0) or 1.0
    own = (("type", shown.type), ("source", shown.source), ("id", shown.id), ("subject", shown.subject))
    return EventDetail(
        at=record.at,
        row=row,
        function=name_source(shown.source) if shown.type in PREDICTED else "",
        prediction=prediction,
        summary=describe_confidence(row.score, row.confidence),
        steps=(*_list_steps(record, chain), *([forwarding] if forwarding else [])),
        stages=tuple((STAGES.get(stage, stage), ms, ms / longest) for stage, ms in prediction.timings_ms.items()),
        facts=tuple((name, value) for name, value in (*own, *sorted(shown.extensions.items())) if value),
    )


def describe_confidence(score: float | None, confidence: str) -> str:
    """Return score and confidence in words, such as `94%, sure`."""
    word = {"high": "sure", "low": "not sure"}.get(confidence, "")
    return ", ".join(part for part in ("" if score is None else describe_share(score), word) if part)


def find_forwarding(backend: Backend, record: Record) -> Step | None:
    """Ask the relays what became of an event; None when no link to a cloud is set up."""
    found: Step | None = None
    for name in backend.queue_names():
        try:
            with backend.open_queue(name) as queue:
                line = queue.trace(*record.identity)
        except NotFoundError:  # a queue without a ledger: not a relay's
            continue
        except EavesError as error:
            reason = f"the queue {name} can't be asked: {error.message}"
            found = Step(title=NOT_KNOWN, detail=reason, state="open")
            continue
        if line is not None:
            title, state = _FORWARDED[line.state]
            if line.reason:
                title = f"{title}: {line.reason}"
            return Step(title=title, at=line.changed_at, state=state)
        found = found or Step(title=NOT_KNOWN, detail=NO_LINE, state="open")
    return found


def _list_steps(record: Record, chain: Sequence[Record]) -> list[Step]:
    steps: list[Step] = []
    known = sorted({one.seq: one for one in (*chain, record)}.values(), key=lambda one: one.seq)
    if not any(one.type in CAPTURED for one in known):
        title = f"Captured by {name_source(source_of(record))}"
        steps.append(Step(title=title, detail="Its record is no longer in the history.", state="open"))
    before: float | None = None
    for one in known:
        later = "" if before is None else f"{describe_ms(max(0.0, one.at - before) * 1_000)} later"
        steps.append(_build_step(one, later))
        before = one.at
    if not any(one.type in (*PREDICTED, IMAGE_REJECTED) for one in known):
        steps.append(Step(title="Not predicted yet", state="open"))
    return steps


def _build_step(record: Record, later: str) -> Step:
    name, row, detail, state = name_source(record.source), build_row(record), "", "done"
    title = row.title
    if record.type in CAPTURED:
        title = f"Captured by {name}"
        detail = describe_size(record.size_bytes) if record.size_bytes else ""
    elif record.type in PREDICTED:
        title = f"Predicted by {name}"
        detail = ": ".join(part for part in (row.title, describe_confidence(row.score, row.confidence)) if part)
    elif record.type == IMAGE_REJECTED:
        document = parse_document(record.text)
        title, state = f"Refused by {name_source(to_text(document.get('function'))) or name}", "failing"
        detail = (to_text(document.get("detail")) or to_text(document.get("title")))[:MAX_REASON]
    return Step(title=title, at=record.at, later=later, detail=detail, state=state)
