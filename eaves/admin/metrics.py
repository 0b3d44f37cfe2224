"""Rendering of a queue report as Prometheus text, and the list of reasons why an agent isn't healthy.

Every Prometheus label has few possible values. The label of a paused lane is the HTTP status that paused the lane and
not the error text, because Prometheus would keep one time series for each text.

Source: Prometheus exposition formats, text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from eaves.admin.report import LaneReport, LinkReport, QueueReport, SourceReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LINK_STATES = ("starting", "up", "down", "refused")
OUTCOMES = ("delivered", "retried", "dead")

Series = tuple[Mapping[str, str], float]

_METRICS = {
    "eaves_queue_entries": "Entries in the queue that wait to be delivered.",
    "eaves_queue_bytes": "Bytes of data and attributes of the waiting entries.",
    "eaves_queue_oldest_age_seconds": (
        "Seconds since the oldest waiting entry was added to the queue; 0 when no entry waits."
    ),
    "eaves_dead_letters": "Dead letters that the queue holds.",
    "eaves_dead_letter_bytes": "Bytes of data and attributes of the dead letters.",
    "eaves_dead_letters_expired_total": "Dead letters that were deleted because their limit was reached.",
    "eaves_deliveries_total": "Delivery attempts, by outcome.",
    "eaves_lane_paused": (
        "1 while the lane is paused, labelled with the HTTP status that paused it or no_answer; 0 otherwise."
    ),
    "eaves_spool_max_bytes": "Limit in bytes for waiting entries; when it is reached, capture is paused.",
    "eaves_spool_bytes": "Bytes of the waiting entries, as they count towards the limit.",
    "eaves_dead_letters_max_bytes": "Limit in bytes for dead letters; when it is reached, the oldest are deleted.",
    "eaves_captured_total": "Images that the source captured.",
    "eaves_dropped_total": "Images that the source skipped, by cause.",
    "eaves_source_state": "1 for the state that the source is in.",
    "eaves_source_last_image_age_seconds": (
        "Seconds since the source captured its last image; absent before the first image."
    ),
    "eaves_source_reconnects_last_hour": "Connections that the source opened again in the last hour.",
    "eaves_source_last_error_age_seconds": (
        "Seconds since the source's current or last error began; absent before the first error."
    ),
    "eaves_link_up": "1 while the receiver answers, 0 otherwise.",
    "eaves_link_state": "1 for the state that the link is in (starting, up, down or refused); 0 for the other states.",
    "eaves_link_state_age_seconds": "Seconds since the link entered its current state.",
    "eaves_link_backlog_events": "Events that wait to be forwarded to the receiver.",
    "eaves_link_backlog_bytes": "Bytes of data and attributes of the events that wait to be forwarded.",
    "eaves_link_oldest_age_seconds": (
        "Seconds since the oldest event that waits to be forwarded was stored; 0 when no event waits."
    ),
    "eaves_link_events_per_second": (
        "Events forwarded per second, averaged over the last minute in which events were waiting."
    ),
    "eaves_link_bytes_per_second": (
        "Bytes of request bodies sent over the link per second, averaged over the same minute as the event rate."
    ),
    "eaves_link_drain_seconds": (
        "Estimated seconds until all waiting events are forwarded at the "
        "current rate; absent while the rate is unknown."
    ),
    "eaves_link_forwarded_total": "Events that the receiver has acknowledged.",
    "eaves_link_repeated_total": "Acknowledged events that the receiver already had.",
    "eaves_link_refused_total": "Events that the receiver refused for good; they are kept as dead letters.",
    "eaves_link_failed_requests_total": "Requests with events that got no usable answer.",
    "eaves_link_sent_bytes_total": "Bytes of request bodies that the receiver has acknowledged.",
    "eaves_link_conflicting_total": (
        "Events with the same source and id as an earlier event but other content; they are kept as dead letters."
    ),
}


def render_metrics(report: QueueReport) -> str:
    """Render a report as Prometheus text."""
    return "\n".join([*_lines(report), ""])


def list_faults(report: QueueReport) -> list[str]:
    """Return the reasons why images aren't captured or delivered, one sentence each; empty when all is well."""
    link = report.link
    faults = [f"the link to {link.to} is {link.state}: {link.reason}"] if link is not None and link.reason else []
    known = {link.reason} if link is not None else set()
    faults += [
        f"lane {lane.lane} is paused: {lane.reason}"
        for lane in report.lanes
        if lane.paused and lane.reason not in known
    ]
    faults += [f"source {source.name} is {source.state}: {source.reason}" for source in report.sources if source.reason]
    return faults


def _lines(report: QueueReport) -> Iterator[str]:
    for name, series in _series(report).items():
        yield f"# HELP {name} {_METRICS[name]}"
        yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
        for labels, value in series:
            yield f"{name}{_labels(labels)} {value:.10g}"


def _series(report: QueueReport) -> dict[str, list[Series]]:
    lanes = report.lanes
    found: dict[str, list[Series]] = {
        "eaves_queue_entries": [({"lane": lane.lane}, lane.queued) for lane in lanes],
        "eaves_queue_bytes": [({"lane": lane.lane}, lane.queued_bytes) for lane in lanes],
        "eaves_queue_oldest_age_seconds": [({"lane": lane.lane}, lane.oldest_age_s or 0.0) for lane in lanes],
        "eaves_dead_letters": [({"lane": lane.lane}, lane.dead) for lane in lanes],
        "eaves_dead_letter_bytes": [({"lane": lane.lane}, lane.dead_bytes) for lane in lanes],
        "eaves_dead_letters_expired_total": [({}, report.expired)],
        "eaves_deliveries_total": [
            ({"lane": lane.lane, "outcome": outcome}, lane.attempts.get(outcome, 0))
            for lane in lanes
            if lane.delivering
            for outcome in OUTCOMES
        ],
        "eaves_lane_paused": [
            ({"lane": lane.lane, "reason": _pause(lane)}, float(lane.paused)) for lane in lanes if lane.delivering
        ],
        "eaves_spool_max_bytes": [({}, report.max_bytes)],
        "eaves_spool_bytes": [({}, report.queued_bytes)],
        "eaves_dead_letters_max_bytes": [({}, report.dead_max_bytes)],
    }
    if report.sources:
        found |= _source_series(report.sources)
    if report.link is not None:
        found |= _link_series(report.link)
    return found


def _link_series(link: LinkReport) -> dict[str, list[Series]]:
    def single(value: float | None) -> list[Series]:
        return [] if value is None else [({}, value)]

    return {
        "eaves_link_up": single(float(link.up)),
        "eaves_link_state": [({"state": state}, float(state == link.state)) for state in LINK_STATES],
        "eaves_link_state_age_seconds": single(link.since_age_s),
        "eaves_link_backlog_events": single(link.backlog_events),
        "eaves_link_backlog_bytes": single(link.backlog_bytes),
        "eaves_link_oldest_age_seconds": single(link.oldest_age_s or 0.0),
        "eaves_link_events_per_second": single(link.events_per_s),
        "eaves_link_bytes_per_second": single(link.bytes_per_s),
        "eaves_link_drain_seconds": single(link.drain_s),
        "eaves_link_forwarded_total": single(link.forwarded),
        "eaves_link_repeated_total": single(link.repeated),
        "eaves_link_refused_total": single(link.refused),
        "eaves_link_failed_requests_total": single(link.failed),
        "eaves_link_sent_bytes_total": single(link.bytes_sent),
        "eaves_link_conflicting_total": single(link.conflicting),
    }


def _source_series(sources: Iterable[SourceReport]) -> dict[str, list[Series]]:
    named = [({"source": source.name}, source) for source in sources]
    return {
        "eaves_captured_total": [(name, source.captured) for name, source in named],
        "eaves_dropped_total": [
            ({**name, "cause": cause}, count) for name, source in named for cause, count in source.dropped.items()
        ],
        "eaves_source_state": [({**name, "state": source.state}, 1.0) for name, source in named],
        "eaves_source_last_image_age_seconds": [
            (name, source.last_captured_age_s) for name, source in named if source.last_captured_age_s is not None
        ],
        "eaves_source_reconnects_last_hour": [(name, source.reconnects) for name, source in named],
        "eaves_source_last_error_age_seconds": [
            (name, source.last_error_age_s) for name, source in named if source.last_error_age_s is not None
        ],
    }


def _pause(lane: LaneReport) -> str:
    if not lane.paused:
        return ""
    return str(lane.status) if 100 <= lane.status < 600 else "no_answer"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
