"""The events page, with its filter, and the page of one event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, make_response, render_template, request, url_for

from eaves.console.context import ConsoleContext
from eaves.console.model.event_detail import EventDetail, build_detail
from eaves.console.model.event_filter import KINDS, EventFilter, parse_filter, parse_seq
from eaves.console.model.event_row import build_row, name_source
from eaves.console.model.forwarding import Forwarding, find_forwarding
from eaves.console.model.prediction import ANSWERED
from eaves.console.model.words import describe_zone
from eaves.errors import EavesError
from eaves.history import Record

PAGE = 50
"""Number of events that are loaded at once."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the events page and of one event."""
    pages = Blueprint("events", __name__)

    pages.add_url_rule("/events", "show", lambda: _show_list(context))
    pages.add_url_rule("/events/<int:seq>", "detail", lambda seq: _show_event(context, seq))
    return pages


def _show_list(context: ConsoleContext) -> Response:
    wanted, before = parse_filter(request.args), parse_seq(request.args.get("before"))
    records = context.backend.records
    found = records.find(wanted.to_records(), before=before, limit=PAGE + 1)
    shown = context.backend.images.find_shown(found)
    rows = [build_row(one, has_picture=one.seq in shown) for one in found[:PAGE]]
    values = {
        "rows": rows,
        "older": _address(wanted, before=rows[-1].seq) if len(found) > PAGE else "",
        "wanted": wanted,
        "is_first": before is None,
        "newest": _address(wanted),
    }
    if _is_fragment():
        response = make_response(render_template("events/rows.html" if before else "events/results.html", **values))
        if not before:
            response.headers["HX-Push-Url"] = _address(wanted)
    else:
        choices = {
            "kinds": {value: name for value, (name, _) in KINDS.items()},
            "labels": _with(records.labels(), wanted.label),
            "sources": _with(sorted({name_source(one) for one in records.sources()}), wanted.source),
            "zone": describe_zone(context.clock.now()),
        }
        response = make_response(render_template("events/show.html", **values, **choices))
    response.headers["Vary"] = "HX-Request"
    return response


def _show_event(context: ConsoleContext, seq: int) -> Response:
    record = context.backend.records.get(seq) if seq < 1 << 63 else None
    if record is None:
        template = "events/gone.html" if _is_fragment() else "events/gone_page.html"
        return make_response(render_template(template, heading="h2" if _is_fragment() else "h1"), 404)
    chain = context.backend.records.chain(record)
    shown = build_detail(record, chain, forwarding=_find_forwarding(context, chain))
    template, heading = ("events/detail.html", "h2") if _is_fragment() else ("events/detail_page.html", "h1")
    model = _find_model(context, shown)
    response = make_response(render_template(template, event=shown, model=model, heading=heading))
    response.headers["Vary"] = "HX-Request"
    return response


def _is_fragment() -> bool:
    """Return whether htmx asks for a part of a page; it asks for a whole page when a person goes back."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers


def _address(wanted: EventFilter, **more: int) -> str:
    query = wanted.to_query(**more)
    return url_for("events.show") + (f"?{query}" if query else "")


def _with(choices: Sequence[str], chosen: str) -> list[str]:
    """Return the choices of a field, with the chosen one even when the history doesn't have it any more."""
    return [*choices] if not chosen or chosen in choices else [chosen, *choices]


def _find_forwarding(context: ConsoleContext, chain: Sequence[Record]) -> Forwarding | None:
    """Return what became of the newest answer at the relay; None without an answer, or when nobody can be asked."""
    answers = [one for one in chain if one.type in ANSWERED]
    try:
        return find_forwarding(context.backend.queues(), answers[-1]) if answers else None
    except EavesError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What is known of the model that made a prediction.

    Attributes:
        address: Address of its artifact in the list of models; empty without one.
        is_replaced: Whether the function serves another artifact by now.
    """

    address: str = ""
    is_replaced: bool = False


def _find_model(context: ConsoleContext, event: EventDetail) -> ServedModel:
    """Return what is known of the model that made a prediction."""
    try:
        function = next((one for one in context.backend.status() if one.name == event.function), None)
        made_by, served = (
            event.prediction.artifact.removeprefix("sha256:"),
            function.artifact_digest if function else "",
        )
        if made_by and served and made_by != served:
            return ServedModel(is_replaced=True)
        models = context.backend.models() if function else ()
    except EavesError:
        return ServedModel()
    names = [one.name for one in models if one.kind == "artifact" and event.function in one.functions]
    return ServedModel(address=url_for("models.show", _anchor=f"artifact-{names[0]}") if names else "")
