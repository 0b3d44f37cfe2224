"""Triggers and sources in trouble have a reason and a time; others have none."""

from __future__ import annotations

from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus, describe_silent
from eaves.delivery import LaneDelivery
from eaves.local.queues import list_source_parts, list_trigger_parts

LANES = {"trigger/flowers/flowers": "flowers", "trigger/flowers/alarm": "alarm"}


def test_a_trigger_whose_queue_is_paused_has_the_reason_and_since_when() -> None:
    deliveries = [
        LaneDelivery(lane="trigger/flowers/flowers"),
        LaneDelivery(lane="trigger/flowers/alarm", paused=True, reason="no connection", since=1_000.0),
        LaneDelivery(lane="trigger/others/alarm", paused=True, reason="another app's", since=1_000.0),
    ]
    ready, failed = list_trigger_parts(LANES, deliveries, 1_060.0)
    assert (ready.title, ready.state, ready.reason) == ("Trigger flowers", "ready", "")
    assert (failed.title, failed.state, failed.reason) == ("Trigger alarm", "failed", "no connection")
    assert (failed.since, failed.age_s) == (1_000.0, 60.0)


def test_a_source_that_captures_nothing_has_the_reason_and_since_when() -> None:
    full = "disk is full; capture is paused and tries again"
    agent = AgentStatus(
        name="flowers",
        state="running",
        sources=(
            SourceReport(name="gate", state="watching", last_error="no connection", last_error_age_s=60.0),
            SourceReport(name="inbox", state="paused", reason=full, last_error=full, last_error_age_s=5.0),
        ),
    )
    gate, inbox = list_source_parts([agent])
    assert (gate.state, gate.reason, gate.age_s) == ("ready", "", None)
    assert (inbox.title, inbox.state, inbox.reason, inbox.age_s) == ("Source inbox", "failed", full, 5.0)


def test_a_recording_that_was_played_is_ready_and_a_source_that_has_not_begun_is_starting() -> None:
    sources = (
        SourceReport(name="replay", state="finished", reason="all images of photos were played"),
        SourceReport(name="new", state="waiting", reason="not started"),
    )
    parts = list_source_parts([AgentStatus(name="flowers", state="running", sources=sources)])
    assert [part.state for part in parts] == ["ready", "starting"]


def test_sources_of_an_agent_that_has_ended_have_its_reason() -> None:
    (part,) = list_source_parts([describe_silent("flowers", ["inbox"], state="stopped", reason="ended with 78")])
    assert (part.state, part.reason) == ("failed", "ended with 78")
