"""Triggers and sources in trouble have a reason and a time; others have none."""

from __future__ import annotations

from eaves.admin.report import LaneReport, QueueReport, SourceReport
from eaves.local.queues import find_lanes, list_parts


def test_a_trigger_whose_queue_is_paused_has_the_reason_and_since_when() -> None:
    report = QueueReport(
        lanes=(
            LaneReport(lane="dead-letters/flowers/alarm", queued=1),
            LaneReport(lane="trigger/flowers/alarm", delivering=True, paused=True, reason="no connection", since=1_000),
            LaneReport(lane="trigger/flowers/flowers", delivering=True),
            LaneReport(lane="trigger/flowers/removed", dead=1),
            LaneReport(lane="trigger/flowers-2/alarm", paused=True, reason="another app's"),
        )
    )
    lanes, sinks = find_lanes(report, "flowers")
    assert [lane.queued for lane in sinks] == [1]
    failed, ready = list_parts(lanes, [], 1_060.0)
    assert (ready.title, ready.state, ready.reason) == ("Trigger flowers", "ready", "")
    assert (failed.title, failed.state, failed.reason) == ("Trigger alarm", "failed", "no connection")
    assert (failed.since, failed.age_s) == (1_000.0, 60.0)


def test_a_source_that_captures_nothing_has_the_reason_and_since_when() -> None:
    full = "disk is full; capture is paused and tries again"
    sources = (
        SourceReport(name="gate", state="watching", last_error="no connection", last_error_age_s=60.0),
        SourceReport(name="inbox", state="paused", reason=full, last_error=full, last_error_age_s=5.0),
        SourceReport(name="replay", state="finished", reason="all images of photos were played"),
        SourceReport(name="new", state="waiting", reason="not started"),
    )
    parts = {part.name: part for part in list_parts([], [QueueReport(sources=sources)], 0.0)}
    assert [part.state for part in parts.values()] == ["ready", "failed", "ready", "starting"]
    gate, inbox = parts["gate"], parts["inbox"]
    assert (gate.reason, gate.age_s) == ("", None)
    assert (inbox.title, inbox.reason, inbox.age_s) == ("Source inbox", full, 5.0)
