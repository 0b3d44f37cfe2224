"""The events, with a filter, and one event: its chain, what the relay did with it, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, render_template, request, url_for

from eaves.console.backend import Backend, ConsoleContext
from eaves.console.pages.event_row import (
    ANSWERED,
    SHOWN,
    STAGES,
    EventRow,
    build_row,
    describe_score,
    name_source,
    source_of,
)
from eaves.console.words import describe_ms, describe_size, describe_zone, parse_time
from eaves.errors import EavesError, NotFoundError
from eaves.events import (
    DATASET_UPDATED,
    IMAGE_CAPTURED,
    IMAGE_REJECTED,
    MODEL_PUBLISHED,
    MODEL_SHIFTED,
    PREDICTED,
    TENSOR_CAPTURED,
    Event,
    reply_id,
)
from eaves.history import Record, RecordFilter
from eaves.history.record import RecordedPrediction, parse_data, to_text
from eaves.spool.score_shift import SHOWN as MAX_UNUSUAL
from eaves.spool.score_shift import ScoreWindow

MAX_REASON = 500
"""Maximum number of characters of a reason that are shown."""
CAPTURED = (IMAGE_CAPTURED, TENSOR_CAPTURED)
"""Types of the events that begin a chain."""
WITHOUT_IMAGE = (DATASET_UPDATED, MODEL_PUBLISHED)
"""Types of the events that concern no image."""
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


def build_detail(record: Record, chain: Sequence[Record], *, forwarding: Step | None = None) -> dict[str, Any]:
    """Return what the template shows of an event, by name.

    Args:
        record: The event; for an image event, its newest answer in the chain is shown.
        chain: Records of the same image, oldest first.
        forwarding: What became of the answer at the relay; None to leave this step out.
    """
    answers = [one for one in chain if one.type in PREDICTED]
    shown = answers[-1] if record.type in CAPTURED and answers else record
    row = build_row(shown)
    timings_ms = row.prediction.timings_ms
    longest = max(timings_ms.values(), default=0.0) or 1.0
    own = (("type", shown.type), ("source", shown.source), ("id", shown.id), ("subject", shown.subject))
    return {
        "at": record.at,
        "row": row,
        "function": name_source(shown.source) if shown.type in PREDICTED else "",
        "summary": describe_confidence(row.prediction),
        "steps": [*_list_steps(record, chain), *([forwarding] if forwarding else [])],
        "stages": [(STAGES.get(stage, stage), ms, ms / longest) for stage, ms in timings_ms.items()],
        "facts": [(name, value) for name, value in (*own, *sorted(shown.extensions.items())) if value],
    }


def describe_confidence(prediction: RecordedPrediction) -> str:
    """Return score and confidence in words, such as `94%, sure`; empty without both."""
    word = {"high": "sure", "low": "not sure"}.get(prediction.confidence, "")
    return ", ".join(filter(None, (describe_score(prediction), word)))


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


def find_unusual(backend: Backend, record: Record) -> list[EventRow]:
    """Return the predictions of the images that an event about a shift names; those that the history still has."""
    data = parse_data(record.text)
    if record.type != MODEL_SHIFTED or not isinstance(data, dict):
        return []
    images, digest = data.get("images"), to_text(data.get("artifact")).removeprefix("sha256:")
    wanted = []
    for number, one in enumerate(images[:MAX_UNUSUAL] if isinstance(images, list) else ()):
        cause = Event(id=to_text(one), source=to_text(data.get("source")), type=IMAGE_CAPTURED)
        about = {"causesource": record.source, "causeid": reply_id(cause, digest)}
        wanted.append(replace(record, seq=record.seq + number, extensions=about))
    found = [*backend.records.causes(wanted).values()]
    shown = backend.images.find_shown(found)
    return [build_row(one, has_picture=one.seq in shown) for one in found]


def _describe_shift(record: Record) -> Step:
    data = parse_data(record.text)
    labels = data.get("labels") if isinstance(data, dict) else ()
    known = tuple(map(to_text, labels)) if isinstance(labels, list) else ()
    window = ScoreWindow(artifact="", source=source_of(record), since=record.at, labels=known)
    return Step(title=f"{window.reason[0].upper()}{window.reason[1:]}.", at=record.at, state="failing")


def _list_steps(record: Record, chain: Sequence[Record]) -> list[Step]:
    if record.type == MODEL_SHIFTED:
        return [_describe_shift(record)]
    if record.type in WITHOUT_IMAGE:
        return [_build_step(record, "")]
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
        detail = ": ".join(filter(None, (row.title, describe_confidence(row.prediction))))
    elif record.type == IMAGE_REJECTED:
        data = parse_data(record.text)
        document = data if isinstance(data, dict) else {}
        title, state = f"Refused by {name_source(to_text(document.get('function'))) or name}", "failing"
        detail = (to_text(document.get("detail")) or to_text(document.get("title")))[:MAX_REASON]
    return Step(title=title, at=record.at, later=later, detail=detail, state=state)


PAGE = 50
"""Number of events that are loaded at once."""
SCANNED = 500
"""Number of records among which the page of pictures looks at a time for those that have one."""
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "": ("All results", ANSWERED),
    "predicted": ("Predictions", PREDICTED),
    "refused": ("Refused images", (IMAGE_REJECTED,)),
    "shifted": ("Shifts of scores", (MODEL_SHIFTED,)),
    "models": ("Datasets and models", WITHOUT_IMAGE),
    "captured": ("Captured images", (IMAGE_CAPTURED,)),
    "images": ("Everything about images", SHOWN),
    "all": ("All events", ()),
}
"""Value of the field `kind` to its name for people and the event types that it shows; no types: all."""
MAX_TEXT = 200
"""Maximum number of characters of one field; longer ones are cut."""


FIELDS = ("kind", "label", "source", "confidence", "since", "until", "text")
"""Fields of the filter: a key of `KINDS`, the prediction's label, the name of the source or function, `high` or `low`,
earliest and latest time as a field of the type datetime-local has them, and a text within the image's path."""
EventFilter = Mapping[str, str]
"""What a person has chosen in the filter, by the name of the field; only fields that are set."""


def parse_filter(query: Mapping[str, str]) -> EventFilter:
    """Return the filter in the query of an address; a field that isn't valid is left out.

    Args:
        query: Fields by name; other fields are ignored.
    """
    wanted = {name: query.get(name, "").strip()[:MAX_TEXT] for name in FIELDS}
    valid = {"kind": wanted["kind"] in KINDS, "confidence": wanted["confidence"] in ("high", "low")}
    valid |= {name: parse_time(wanted[name]) is not None for name in ("since", "until")}
    return {name: text for name, text in wanted.items() if text and valid.get(name, True)}


def build_record_filter(wanted: EventFilter) -> RecordFilter:
    """Return the conditions; times are in this machine's time zone, and `until` includes its whole last minute."""
    until = parse_time(wanted.get("until", ""))
    is_minute = len(wanted.get("until", "")) <= len("2026-11-26T14:02")
    return RecordFilter(
        types=KINDS[wanted.get("kind", "")][1],
        since=parse_time(wanted.get("since", "")),
        until=None if until is None else until + (59.999 if is_minute else 0.999),
        **{name: wanted.get(name, "") for name in ("label", "source", "confidence", "text")},
    )


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the events page and of one event."""
    pages = Blueprint("events", __name__)

    pages.add_url_rule("/events", "show", lambda: show_list(context))
    pages.add_url_rule("/events/<int:seq>", "detail", lambda seq: _show_event(context, seq))
    return pages


def show_list(context: ConsoleContext, *, as_pictures: bool = False) -> Response:
    """Answer with the newest events that the filter in the address wants; as pictures, with those that have one."""
    wanted, before = parse_filter(request.args), request.args.get("before", type=int)
    records = context.backend.records
    rows = _find_rows(context.backend, build_record_filter(wanted), before, as_pictures=as_pictures)
    shown = rows[:PAGE]
    values = {
        "what": "images" if as_pictures else "events",
        "rows": shown,
        "older": _address(wanted, before=shown[-1].seq) if len(rows) > PAGE else "",
        "wanted": wanted,
        "is_first": before is None,
        "newest": _address(wanted),
    }
    if not _is_fragment():
        choices = {
            "kinds": {value: name for value, (name, _) in KINDS.items()},
            "labels": _with(records.labels(), wanted.get("label", "")),
            "sources": _with(sorted({name_source(one) for one in records.sources()}), wanted.get("source", "")),
            "zone": describe_zone(context.clock.now()),
        }
        return _respond("events/show.html", **values, **choices)
    if before:
        return _respond("events/rows.html", **values)
    response = _respond("events/results.html", **values)
    response.headers["HX-Push-Url"] = _address(wanted)
    return response


def _find_rows(backend: Backend, wanted: RecordFilter, before: int | None, *, as_pictures: bool) -> list[EventRow]:
    """Return the rows of a page, and one more when there are older ones."""
    rows: list[EventRow] = []
    limit = SCANNED if as_pictures else PAGE + 1
    while len(rows) <= PAGE:
        found = backend.records.find(wanted, before=before, limit=limit)
        shown = backend.images.find_shown(found)
        listed = [one for one in found if one.seq in shown or not as_pictures]
        rows += [build_row(one, has_picture=one.seq in shown) for one in listed[: PAGE + 1]]
        if len(found) < limit:
            break
        before = found[-1].seq
    return rows


def _show_event(context: ConsoleContext, seq: int) -> Response:
    record = context.backend.records.get(seq) if seq < 1 << 63 else None
    heading = "h2" if _is_fragment() else "h1"
    if record is None:
        response = _respond("events/gone.html" if _is_fragment() else "events/gone_page.html", heading=heading)
        response.status_code = 404
        return response
    chain = context.backend.records.chain(record)
    answers = [one for one in chain if one.type in ANSWERED]
    event = build_detail(record, chain, forwarding=find_forwarding(context.backend, answers[-1]) if answers else None)
    template = "events/detail.html" if _is_fragment() else "events/detail_page.html"
    return _respond(template, event=event, heading=heading, unusual=find_unusual(context.backend, record))


def _respond(template: str, **values: object) -> Response:
    response = make_response(render_template(template, **values))
    response.headers["Vary"] = "HX-Request"
    return response


def _is_fragment() -> bool:
    """Return whether htmx asks for a part of a page; it asks for a whole page when a person goes back."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers


def _address(wanted: EventFilter, **more: int) -> str:
    query = urlencode({**wanted, **more})
    return url_for(".show") + (f"?{query}" if query else "")


def _with(choices: Sequence[str], chosen: str) -> list[str]:
    """Return the choices of a field, with the chosen one even when the history doesn't have it any more."""
    return [*choices] if not chosen or chosen in choices else [chosen, *choices]
