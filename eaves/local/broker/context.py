"""What the broker keeps with an event on its way and shows no subscriber: the hops that are left, and the trace.

Both are kept as extension attributes, since the spool keeps events; a subscriber gets the event as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from eaves.errors import EventError
from eaves.events import Event

TTL = "knativebrokerttl"
"""Hops an event has left. Source: knative/eventing, pkg/broker/ttl.go; the name is theirs so that loops end across
both. Knative's broker deletes it before it delivers, too (pkg/broker/filter/filter_handler.go)."""
FIRST_TTL = 255
TRACE = {"eavestraceparent": "traceparent", "eavestracestate": "tracestate"}
"""Extension, and the HTTP header that it keeps. Source: W3C Trace Context. The CloudEvents extension `traceparent` is
an attribute of the event and stays one."""
_TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_STATE = re.compile(r"[\x20-\x7e]{1,512}")


def read_trace(headers: Mapping[str, str]) -> dict[str, str]:
    """The trace in the headers of an HTTP request, by header; empty when there is none or it is malformed."""
    given = {name.lower(): value.strip() for name, value in headers.items() if name.lower() in TRACE.values()}
    if not _TRACE_PARENT.fullmatch(given.get("traceparent", "")):
        return {}
    return {name: value for name, value in given.items() if name == "traceparent" or _TRACE_STATE.fullmatch(value)}


def attach(event: Event, trace: Mapping[str, str]) -> Event:
    """An event with what the broker keeps beside it, which replaces what a producer may have set.

    Raises:
        EventError: When it has gone round until its time to live ended.
    """
    hops = count_hops(event)
    if hops <= 0:
        raise EventError(
            f"event {event.id[:64]!r} has gone round until its {TTL} ended; a reply must not match its own trigger"
        )
    kept = {name: trace[header] for name, header in TRACE.items() if header in trace}
    return detach(event).with_extensions(**{TTL: str(hops), **kept})


def pass_on(cause: Event, reply: Event) -> Event | None:
    """A reply with one hop less than its cause, and the same trace; None when no hop is left."""
    hops = count_hops(cause) - 1
    if hops <= 0:
        return None
    kept = {name: cause.extensions[name] for name in TRACE if name in cause.extensions}
    return detach(reply).with_extensions(**{TTL: str(hops), **kept})


def detach(event: Event) -> Event:
    """The event as it came, without what the broker keeps beside it."""
    own = {TTL, *TRACE}
    if not own & event.extensions.keys():
        return event
    return replace(event, extensions={name: value for name, value in event.extensions.items() if name not in own})


def build_headers(event: Event) -> dict[str, str]:
    """The HTTP headers that a kept event is delivered with, beside its own."""
    return {header: event.extensions[name] for name, header in TRACE.items() if name in event.extensions}


def count_hops(event: Event) -> int:
    """Hops that an event has left."""
    value = event.extensions.get(TTL, str(FIRST_TTL))
    return int(value) if value.isdecimal() and len(value) < 6 else FIRST_TTL
