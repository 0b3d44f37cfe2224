"""Metrics of a process with a queue: a walk over its report, which yields a family for each field that is listed here.

Every Prometheus label has few possible values. The label of a paused lane is the HTTP status that paused the lane and
not the error text, because Prometheus would keep one time series for each text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eaves.admin.report import LaneReport, QueueReport
from eaves.base.prometheus import CONTENT_TYPE, render_family
from eaves.spool.image_choice import CHOICE_OUTCOMES
from eaves.spool.outcomes import KINDS

__all__ = ["CONTENT_TYPE", "render_metrics"]

LINK_STATES = ("starting", "up", "down", "refused")
OUTCOMES = ("delivered", "retried", "dead")

Field = tuple[str, str, str]
"""Name of a metric, the field of the report that it shows, and its description. A value of None has no series."""
_LANE: tuple[Field, ...] = (
    ("eaves_queue_entries", "queued", "Entries in the queue that wait to be delivered."),
    ("eaves_queue_bytes", "queued_bytes", "Bytes of data and attributes of the waiting entries."),
    ("eaves_dead_letters", "dead", "Dead letters that the queue holds."),
    ("eaves_dead_letter_bytes", "dead_bytes", "Bytes of data and attributes of the dead letters."),
)
_QUEUE: tuple[Field, ...] = (
    (
        "eaves_dead_letters_expired_total",
        "expired",
        "Dead letters that were deleted because their limit was reached.",
    ),
    (
        "eaves_spool_max_bytes",
        "max_bytes",
        "Limit in bytes for waiting entries; when it is reached, capture is paused.",
    ),
    ("eaves_spool_bytes", "queued_bytes", "Bytes of the waiting entries, as they count towards the limit."),
    (
        "eaves_dead_letters_max_bytes",
        "dead_max_bytes",
        "Limit in bytes for dead letters; when it is reached, the oldest are deleted.",
    ),
)
_USAGE: tuple[Field, ...] = (
    ("process_cpu_seconds_total", "cpu_s", "Processor time of this process and its children in seconds."),
    ("process_resident_memory_bytes", "memory_bytes", "Resident memory of this process and its children in bytes."),
)
_SOURCE: tuple[Field, ...] = (
    ("eaves_captured_total", "captured", "Images that the source captured."),
    (
        "eaves_source_last_image_age_seconds",
        "last_captured_age_s",
        "Seconds since the source captured its last image; absent before the first image.",
    ),
    (
        "eaves_source_reconnects_last_hour",
        "reconnects",
        "Connections that the source opened again in the last hour.",
    ),
    (
        "eaves_source_last_error_age_seconds",
        "last_error_age_s",
        "Seconds since the source's current or last error began; absent before the first error.",
    ),
)
_LINK: tuple[Field, ...] = (
    ("eaves_link_up", "up", "1 while the receiver answers, 0 otherwise."),
    ("eaves_link_state_age_seconds", "since_age_s", "Seconds since the link entered its current state."),
    ("eaves_link_backlog_events", "backlog_events", "Events that wait to be forwarded to the receiver."),
    (
        "eaves_link_backlog_bytes",
        "backlog_bytes",
        "Bytes of data and attributes of the events that wait to be forwarded.",
    ),
    (
        "eaves_link_events_per_second",
        "events_per_s",
        "Events forwarded per second, averaged over the last minute in which events were waiting.",
    ),
    (
        "eaves_link_bytes_per_second",
        "bytes_per_s",
        "Bytes of request bodies sent over the link per second, averaged over the same minute as the event rate.",
    ),
    (
        "eaves_link_drain_seconds",
        "drain_s",
        "Estimated seconds until all waiting events are forwarded at the current rate; absent while it is unknown.",
    ),
    ("eaves_link_forwarded_total", "forwarded", "Events that the receiver has acknowledged."),
    ("eaves_link_repeated_total", "repeated", "Acknowledged events that the receiver already had."),
    (
        "eaves_link_refused_total",
        "refused",
        "Events that the receiver refused for good; they are kept as dead letters.",
    ),
    ("eaves_link_failed_requests_total", "failed", "Requests with events that got no usable answer."),
    ("eaves_link_sent_bytes_total", "bytes_sent", "Bytes of request bodies that the receiver has acknowledged."),
    (
        "eaves_link_conflicting_total",
        "conflicting",
        "Events with the source and id of an earlier event but other content; they are kept as dead letters.",
    ),
)


def render_metrics(report: QueueReport) -> str:
    """Render a report as Prometheus text."""
    return "\n".join([*_walk(report), ""])


def _walk(report: QueueReport) -> Iterator[str]:
    lanes = [({"lane": lane.lane}, lane) for lane in report.lanes]
    delivered = [(labels, lane) for labels, lane in lanes if lane.delivering]
    yield from _render_fields(_LANE, lanes)
    yield from render_family(
        "eaves_queue_oldest_age_seconds",
        "Seconds since the oldest waiting entry was added to the queue; 0 when no entry waits.",
        [(labels, lane.oldest_age_s or 0.0) for labels, lane in lanes],
    )
    yield from render_family(
        "eaves_deliveries_total",
        "Delivery attempts, by outcome.",
        [({**labels, "outcome": one}, lane.attempts.get(one, 0)) for labels, lane in delivered for one in OUTCOMES],
    )
    yield from render_family(
        "eaves_lane_paused",
        "1 while the lane is paused, labelled with the HTTP status that paused it or no_answer; 0 otherwise.",
        [({**labels, "reason": _name_pause(lane)}, lane.paused) for labels, lane in delivered],
    )
    yield from _render_fields(_QUEUE, [({}, report)])
    yield from _render_fields(_USAGE, [({}, report.usage)] if report.usage else ())
    if report.outcomes:
        yield from render_family(
            "eaves_outcomes_total",
            "Requests to the function since the queue was created, by its revision and by outcome.",
            [
                ({"revision": one.revision, "outcome": kind}, getattr(one, kind))
                for one in report.outcomes
                for kind in KINDS
            ],
        )
    if report.windows:
        yield from render_family(
            "eaves_scores_shifted",
            "1 while images of the source no longer score as those that the model was judged on, 0 else.",
            [
                ({"source": one.source.rpartition("/")[2], "artifact": one.artifact}, one.since is not None)
                for one in report.windows
            ],
        )
    if report.choices:
        yield from render_family(
            "eaves_choices_today",
            "Images chosen for labelling since midnight UTC, or left out, by predicted class and by outcome.",
            [
                ({"class": one.label, "outcome": outcome}, getattr(one, outcome))
                for one in report.choices
                for outcome in CHOICE_OUTCOMES
            ],
        )
    if report.sources:
        sources = [({"source": source.name}, source) for source in report.sources]
        yield from _render_fields(_SOURCE, sources)
        yield from render_family(
            "eaves_dropped_total",
            "Images that the source skipped, by cause.",
            [({**labels, "cause": cause}, count) for labels, one in sources for cause, count in one.dropped.items()],
        )
        yield from render_family(
            "eaves_source_state",
            "1 for the state that the source is in.",
            [({**labels, "state": one.state}, 1) for labels, one in sources],
        )
    if report.link is not None:
        link = report.link
        yield from _render_fields(_LINK, [({}, link)])
        yield from render_family(
            "eaves_link_state",
            "1 for the state that the link is in (starting, up, down or refused); 0 for the other states.",
            [({"state": state}, state == link.state) for state in LINK_STATES],
        )
        yield from render_family(
            "eaves_link_oldest_age_seconds",
            "Seconds since the oldest event that waits to be forwarded was stored; 0 when no event waits.",
            [({}, link.oldest_age_s or 0.0)],
        )


def _render_fields(table: tuple[Field, ...], branches: Sequence[tuple[Mapping[str, str], Any]]) -> Iterator[str]:
    for name, field, text in table:
        series = [(labels, getattr(branch, field)) for labels, branch in branches]
        yield from render_family(name, text, [(labels, value) for labels, value in series if value is not None])


def _name_pause(lane: LaneReport) -> str:
    if not lane.paused:
        return ""
    return str(lane.status) if 100 <= lane.status < 600 else "no_answer"
