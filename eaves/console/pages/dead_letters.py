"""Dead letters: the queues that have some, their reasons, every dead letter with its image; retry and delete."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from eaves.admin import DEAD, Action, LaneReport, Selection
from eaves.console.backend import ConsoleContext
from eaves.console.pages.images import send_picture
from eaves.console.thumbnails import make_thumbnail
from eaves.console.words import count_noun
from eaves.errors import NotFoundError
from eaves.events import DATAREF
from eaves.platform import FunctionStatus
from eaves.problem_document import describe_reason
from eaves.spool.admin import MAX_SEQ, Stored

TRIGGER, SINK = "trigger/", "dead-letters/"
"""Beginnings of the names of the local broker's lanes, before the name of the app."""
BROKER = "broker"
"""Name of the queue of the local platform's broker, which has lanes of every app."""
LANES: Mapping[str, str] = {
    "sink": "images from the sources",
    "replies": "predictions to the broker",
    "uploads": "large images to their bucket",
    "alarms": "alarms to the cloud",
    "archive": "predictions to the cloud",
    "federation": "sums of images to the cloud",
    "images": "images to the cloud",
    "broker": "copies to the broker",
}
"""Lane of an agent's or a relay's queue to its purpose."""
PAGE = 50
"""Number of dead letters on one page."""
SAMPLE = 1_000
"""Number of dead letters of a queue, the oldest ones, whose reasons are counted."""
GROUPS = 12
"""Maximum number of reasons that are listed."""
STATUSES: Mapping[int, str] = {
    0: "not delivered",
    400: "refused: the event can't be read",
    401: "refused: not logged in",
    403: "refused: not allowed",
    404: "refused: the address doesn't exist",
    411: "refused: the length is missing",
    413: "refused: too large",
    415: "refused: data of this kind isn't accepted",
    422: "refused: the data can't be processed",
    429: "the receiver was too busy",
    503: "the receiver couldn't work",
}
"""HTTP status to its meaning for an event; 0 stands for no answer."""
SAME_AGAIN = "A retry helps only if the receiver has changed: the same data is refused again. Otherwise delete it."
RETRY_LATER = "Retry it when the receiver works again."
ADVICE: Mapping[int, str] = {
    401: "Check the credentials of its trigger, then retry it.",
    403: "Check the credentials of its trigger, then retry it.",
    404: "Check the address of its trigger, then retry it.",
    429: RETRY_LATER,
}
"""HTTP status to what a person can do, for those that are unlike their neighbours."""
_STATUS = re.compile(r"^answered [0-9]{3}: ")


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One dead letter, or an entry that was one, with what a page says of it.

    Attributes:
        entry: The entry.
    """

    entry: Stored

    @property
    def is_dead(self) -> bool:
        """Whether it is a dead letter; otherwise it waits for delivery."""
        return self.entry.state == DEAD

    @property
    def lane_title(self) -> str:
        """Purpose of its lane."""
        return describe_lane(self.entry.lane)

    @property
    def source_name(self) -> str:
        """Last part of the event's source, the name of a camera."""
        return self.entry.source.rpartition("/")[2] or self.entry.source

    @property
    def subject(self) -> str:
        """Subject of the event, such as the file's name; the event's id when it has none."""
        return self.entry.subject or self.entry.event_id

    @property
    def status(self) -> str:
        """What the HTTP status means, with its number; empty when it isn't a dead letter."""
        status = self.entry.status
        meaning = STATUSES.get(status) or ("the receiver failed" if status >= 500 else "refused")
        return "" if not self.is_dead else f"{meaning} ({status})" if status else meaning

    @property
    def advice(self) -> str:
        """What a person can do; empty when it isn't a dead letter."""
        status = self.entry.status
        known = ADVICE.get(status) or (SAME_AGAIN if 0 < status < 500 else RETRY_LATER)
        return known if self.is_dead else ""

    @property
    def reason(self) -> str:
        """Why it isn't delivered, in words."""
        return shorten_reason(self.entry.reason)

    @property
    def is_image(self) -> bool:
        """Whether the event's data is an image."""
        return self.entry.datacontenttype.lower().startswith("image/")


def list_deliveries(status: FunctionStatus) -> list[tuple[str, LaneReport]]:
    """Return the lanes of an app, each with the name of its queue, those with failures first."""
    lanes = [(BROKER, lane) for lane in (*status.lanes, *status.sinks)]
    lanes += [(agent.pod or agent.name, lane) for agent in status.agents for lane in agent.lanes]
    return sorted(lanes, key=lambda one: (not one[1].paused, not one[1].dead, not one[1].attempts.get("retried", 0)))


def describe_lane(lane: str) -> str:
    """Return the purpose of a lane in words; its name when it isn't known."""
    app, _, name = lane.partition("/")[2].partition("/")
    if lane.startswith(TRIGGER):
        return "images to the function" if name == app else f"trigger {name}"
    return f"dead letter sink of trigger {name}" if lane.startswith(SINK) else LANES.get(lane, lane)


def shorten_reason(reason: str) -> str:
    """Return a recorded reason in words, without the HTTP status, which is shown beside it."""
    return _STATUS.sub("", describe_reason(reason))


def group_by_reason(letters: Iterable[DeadLetterView]) -> list[tuple[DeadLetterView, int]]:
    """Return one dead letter of each lane and reason with their count, the most frequent first, at most `GROUPS`."""
    keyed = [((one.entry.lane, one.entry.status, one.entry.reason), one) for one in letters]
    counts, by_key = Counter(key for key, _ in keyed), dict(keyed)
    return [(by_key[key], count) for key, count in counts.most_common(GROUPS)]


def describe_change(done: str, count: int) -> str:
    """Return what a change did to a number of dead letters, which were `retried` or `deleted`."""
    if count == 0:
        return "No dead letter was changed: somebody may have retried or deleted them meanwhile."
    letters, verb = count_noun(count, "dead letter"), "is" if count == 1 else "are"
    return f"{letters} {verb} queued again." if done == "retried" else f"{letters} {verb} deleted."


SEQ = f"int(max={MAX_SEQ})"
"""Converter of an entry's number in the rule of a route; a larger number can't be stored, so there is no such page."""
FILTERS = ("lane", "reason", "source")
"""Conditions of a form that selects dead letters, fields of `Selection`."""
PICTURE_AGE_S = 3_600
"""Time for which a browser keeps the picture of an entry, seconds; an entry's data never changes."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes that show and change dead letters."""
    pages = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")
    backend = context.backend

    @pages.get("/")
    def show() -> str:
        functions = backend.status()
        lanes = [one for status in functions for one in list_deliveries(status)]
        return render_template(
            "dead_letters/show.html",
            lanes=[(queue, lane, describe_lane(lane.lane)) for queue, lane in lanes if lane.dead],
            silent=[agent for status in functions for agent in status.agents if agent.reason],
        )

    @pages.get("/<queue>/")
    def list_letters(queue: str) -> str:
        return _show_list(context, queue)

    @pages.get(f"/<queue>/<{SEQ}:seq>")
    def entry(queue: str, seq: int) -> str | tuple[str, int]:
        return _show_entry(context, queue, seq)

    @pages.get(f"/<queue>/<{SEQ}:seq>/image")
    def image(queue: str, seq: int) -> AnyResponse:
        try:
            with backend.open_queue(queue) as found:
                content = found.entry(seq)
        except NotFoundError:
            abort(HTTPStatus.NOT_FOUND)
        return send_picture(make_thumbnail(content.data), max_age_s=PICTURE_AGE_S)

    @pages.get(f"/<queue>/<{SEQ}:seq>/data")
    def data(queue: str, seq: int) -> AnyResponse:
        with backend.open_queue(queue) as found:
            response = Response(found.entry(seq).data, mimetype="application/octet-stream")
        response.headers["Content-Disposition"] = f'attachment; filename="entry-{seq}.bin"'
        return response

    @pages.post(f"/<queue>/<{SEQ}:seq>/retry")
    def retry(queue: str, seq: int) -> AnyResponse:
        with backend.open_queue(queue) as found:
            found.change(Action.RETRY, Selection(seqs=(seq,), state=DEAD))
        return redirect(url_for(".entry", queue=queue, seq=seq), HTTPStatus.SEE_OTHER)

    @pages.post("/<queue>/retry")
    def retry_all(queue: str) -> AnyResponse:
        return _change(context, queue, Action.RETRY, "retried")

    @pages.get("/<queue>/delete")
    def ask_delete(queue: str) -> str:
        with backend.open_queue(queue) as found:
            count = found.change(Action.DROP, _read_selector(request.args), dry_run=True)
        return render_template(
            "dead_letters/delete.html",
            queue=queue,
            count=count,
            reason=shorten_reason(request.args.get("reason", "")),
            chosen={key: request.args[key] for key in ("seq", *FILTERS) if request.args.get(key)},
        )

    @pages.post("/<queue>/delete")
    def delete(queue: str) -> AnyResponse:
        return _change(context, queue, Action.DROP, "deleted")

    return pages


def _show_list(context: ConsoleContext, name: str) -> str:
    """Return one page of a queue's dead letters; the first page also has their reasons."""
    arguments = request.args
    kept: dict[str, Any] = {key: arguments[key][:512] for key in FILTERS if arguments.get(key)}
    after = max(0, arguments.get("after", 0, type=int))
    is_first = not after and not kept.keys() & {"reason", "source"}
    chosen = Selection(state=DEAD, after=min(after, MAX_SEQ), **kept)
    with context.backend.open_queue(name) as queue:
        found = [DeadLetterView(one) for one in queue.entries(chosen, limit=SAMPLE if is_first else PAGE)]
    following = found[PAGE - 1].entry.seq if len(found) >= PAGE else 0
    done, count = arguments.get("done", ""), max(0, arguments.get("count", 0, type=int))
    return render_template(
        "dead_letters/list.html",
        queue=name,
        letters=found[:PAGE],
        groups=group_by_reason(found) if is_first else (),
        sample=SAMPLE if is_first and len(found) == SAMPLE else 0,
        filters=kept,
        reason=shorten_reason(kept.get("reason", "")),
        lane_title=describe_lane(kept["lane"]) if "lane" in kept else "",
        message=describe_change(done, count) if done in ("retried", "deleted") else "",
        newer=url_for(".list_letters", queue=name, **kept) if after else None,
        older=url_for(".list_letters", queue=name, after=following, **kept) if following else None,
    )


def _show_entry(context: ConsoleContext, name: str, seq: int) -> str | tuple[str, int]:
    try:
        with context.backend.open_queue(name) as queue:
            content = queue.entry(seq)
    except NotFoundError:
        return render_template("dead_letters/gone.html", queue=name, seq=seq), HTTPStatus.NOT_FOUND
    letter = DeadLetterView(content.entry)
    return render_template(
        "dead_letters/entry.html",
        queue=name,
        letter=letter,
        attributes=sorted(content.attributes.items()),
        dataref="" if content.data else content.attributes.get(DATAREF, ""),
        has_picture=letter.is_image and make_thumbnail(content.data) is not None,
        size_bytes=len(content.data),
    )


def _change(context: ConsoleContext, name: str, action: Action, done: str) -> AnyResponse:
    """Change the dead letters that a form selects, and show the list with the number of changed ones."""
    with context.backend.open_queue(name) as queue:
        changed = queue.change(action, _read_selector(request.form))
    kept: dict[str, Any] = {"lane": request.form["lane"]} if request.form.get("lane") else {}
    page = url_for(".list_letters", queue=name, done=done, count=changed.entries, **kept)
    return redirect(page, HTTPStatus.SEE_OTHER)


def _read_selector(values: MultiDict[str, str]) -> Selection:
    """Return the selector of the dead letters that a form or a link is about; an InputError for a wrong number."""
    if "seq" in values:
        return Selection(seqs=(values.get("seq", -1, type=int),), state=DEAD)
    lane, reason, source = (values.get(key, "") for key in FILTERS)
    return Selection(state=DEAD, lane=lane, reason=reason, source=source)
