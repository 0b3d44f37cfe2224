"""Attributes that the broker stores with an event and doesn't deliver: remaining hops and trace context.

Both are stored as extension attributes, because the spool stores events. A subscriber gets the original event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from eaves.errors import EventError
from eaves.events import Event

TTL = "knativebrokerttl"
"""Extension attribute with the remaining hops of an event. It has the same name as in Knative's broker, so that loops
across both brokers end. Knative's broker also deletes it before delivery (pkg/broker/filter/filter_handler.go).
Source: knative/eventing, pkg/broker/ttl.go."""
FIRST_TTL = 255
TRACE = {"eavestraceparent": "traceparent", "eavestracestate": "tracestate"}
"""Extension attribute of a stored event to the HTTP header whose value it has. A producer's own CloudEvents extension
`traceparent` is part of the event and is delivered unchanged. Source: W3C Trace Context."""
_TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_STATE = re.compile(r"[\x20-\x7e]{1,512}")


def read_trace(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the trace context of an HTTP request, by header; empty when it is missing or malformed."""
    given = {name.lower(): value.strip() for name, value in headers.items() if name.lower() in TRACE.values()}
    if not _TRACE_PARENT.fullmatch(given.get("traceparent", "")):
        return {}
    return {name: value for name, value in given.items() if name == "traceparent" or _TRACE_STATE.fullmatch(value)}


def attach(event: Event, trace: Mapping[str, str]) -> Event:
    """Return an event with the broker's own attributes, which replace those that a producer may have set.

    Raises:
        EventError: When the event has looped until its time to live ended.
    """
    hops = count_hops(event)
    if hops <= 0:
        raise EventError(
            f"event {event.id[:64]!r} has passed through the broker until its {TTL} reached 0; "
            "a reply must not match its own trigger"
        )
    kept = {name: trace[header] for name, header in TRACE.items() if header in trace}
    return detach(event).with_extensions(**{TTL: str(hops), **kept})


def pass_on(cause: Event, reply: Event) -> Event | None:
    """Return a reply with the trace context of its cause and one hop less; None when no hop is left."""
    hops = count_hops(cause) - 1
    if hops <= 0:
        return None
    kept = {name: cause.extensions[name] for name in TRACE if name in cause.extensions}
    return detach(reply).with_extensions(**{TTL: str(hops), **kept})


def detach(event: Event) -> Event:
    """Return the original event, without the broker's own attributes."""
    own = {TTL, *TRACE}
    if not own & event.extensions.keys():
        return event
    return replace(event, extensions={name: value for name, value in event.extensions.items() if name not in own})


def build_headers(event: Event) -> dict[str, str]:
    """Return the trace context's HTTP headers for the delivery of a stored event."""
    return {header: event.extensions[name] for name, header in TRACE.items() if name in event.extensions}


def count_hops(event: Event) -> int:
    """Return the remaining hops of an event."""
    value = event.extensions.get(TTL, str(FIRST_TTL))
    return int(value) if value.isdecimal() and len(value) < 6 else FIRST_TTL
