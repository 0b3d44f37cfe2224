"""Rejection events: the event that reports a dead letter of a relay, a local broker or an agent."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import Any

from eaves.delivery.response_rules import shorten
from eaves.events import COPIED_EXTENSIONS, DATAREF, IMAGE_REJECTED, Event, event_id, source_uri
from eaves.problem_document import TYPE_PREFIX, parse_problem

DESTINATION, CODE, DATA = "knativeerrordest", "knativeerrorcode", "knativeerrordata"
"""Extensions that a Knative broker adds to a dead letter: the URL that refused it, the status, and the first 1,024
bytes
of the response as base64.

Source: knative/eventing, pkg/kncloudevents/attributes/dead_letter_attributes.go.
"""
ADDED = frozenset({DESTINATION, CODE, DATA, "knativearrivaltime", "knativebrokerttl"})
"""Extensions that a broker adds in transit; their values differ each time the same event is sent."""
NAME = "relay"
"""Last part of the `source` of rejection events."""
PROBLEM_TYPE = f"{TYPE_PREFIX}rejected"
DETAIL_CHARACTERS, MAX_REFERENCE = 700, 2048


def is_dead_letter(event: Event) -> bool:
    """Return whether a broker sent the event as a dead letter."""
    return DESTINATION in event.extensions or CODE in event.extensions


def strip(event: Event) -> Event:
    """Return the event as its source sent it, without the extensions that brokers add."""
    if not ADDED & event.extensions.keys():
        return event
    return replace(event, extensions={name: value for name, value in event.extensions.items() if name not in ADDED})


def build_rejection(letter: Event, site: str) -> Event:
    """Return the event that reports which receiver refused an event, and why.

    It has the same id each time that receiver refuses the event.

    Args:
        letter: Dead letter with the broker's extensions.
        site: Name of the site.
    """
    extensions = letter.extensions
    return Event(
        id=event_id(letter.source, f"{letter.id}\0rejected\0{extensions.get(DESTINATION, '')}"),
        source=source_uri(site, NAME),
        type=IMAGE_REJECTED,
        subject=letter.subject,
        time=letter.time,
        datacontenttype="application/json",
        data=json.dumps(_build_problem(letter)).encode(),
        extensions={
            **{name: extensions[name] for name in COPIED_EXTENSIONS if name in extensions},
            "causeid": letter.id,
            "causesource": letter.source,
        },
    )


def build_refusal(event: Event, site: str, *, by: str, status: int, reason: str) -> Event:
    """Return the event that reports that a part of this site refused an event; see `build_rejection`.

    Args:
        event: Event that was refused.
        site: Name of the site.
        by: Name of the trigger, or address of the function, that refused the event.
        status: HTTP status that decided it; 0 when there was no response.
        reason: Reason for the refusal.
    """
    return build_rejection(event.with_extensions(**{DESTINATION: by, CODE: str(status), DATA: reason}), site)


def _build_problem(letter: Event) -> dict[str, Any]:
    """Return the problem document of a rejection event, including members of the function's own problem document.

    Source: RFC 9457, section 3.1.
    """
    code = letter.extensions.get(CODE, "")
    answered = _decode(letter.extensions.get(DATA, ""))
    problem = parse_problem(answered)
    return {
        "type": str(problem.get("type") or PROBLEM_TYPE)[:256],
        "title": str(problem.get("title") or "No function accepts this event")[:256],
        "status": int(code) if code.isascii() and code.isdecimal() and len(code) == 3 else 0,
        "detail": shorten(str(problem.get("detail") or answered), DETAIL_CHARACTERS),
        "function": letter.extensions.get(DESTINATION, ""),
        "cause": {
            "id": letter.id,
            "source": letter.source,
            "type": letter.type,
            "datacontenttype": letter.datacontenttype,
            "size_bytes": len(letter.data),
            **({DATAREF: shorten(letter.extensions[DATAREF], MAX_REFERENCE)} if DATAREF in letter.extensions else {}),
        },
    }


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return text
