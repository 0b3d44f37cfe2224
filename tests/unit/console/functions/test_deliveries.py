"""Deliveries and failures of one app."""

from __future__ import annotations

import pytest

from eaves.admin import LaneReport, QueueReport
from eaves.console.model.functions.deliveries import build_deliveries, describe_lane, find_function, name_owner
from eaves.platform import FunctionStatus, PartStatus

REPORTS = {
    "broker": QueueReport(
        lanes=(
            LaneReport(
                lane="trigger/flowers/flowers", queued=3, dead=2, oldest_age_s=8.0, delivering=True,
                attempts={"delivered": 40, "retried": 5, "dead": 2},
            ),
            LaneReport(
                lane="trigger/flowers/alarm", delivering=True, paused=True, paused_since=280.0,
                reason='answered 503: {"detail": "it restarts"}',
            ),
            LaneReport(lane="trigger/flowers-2/flowers-2", queued=9),
        )
    ),
    "flowers.camera-1": QueueReport(lanes=(LaneReport(lane="sink", queued=1, delivering=True),)),
    "flowers-2.camera-1": QueueReport(lanes=(LaneReport(lane="sink", queued=7),)),
}  # fmt: skip


def test_lanes_of_the_app_are_shown_with_the_paused_ones_first() -> None:
    found = build_deliveries(FunctionStatus(name="flowers", state="ready"), REPORTS, {}, 1_000.0)
    assert [(row.queue, row.title) for row in found.lanes] == [
        ("broker", "trigger alarm"), ("broker", "images to the function"),
        ("flowers.camera-1", "images from the sources"),
    ]  # fmt: skip
    alarm, trigger, camera = found.lanes
    assert (alarm.is_paused, alarm.paused_for, alarm.reason) == (True, "12 minutes", "answered 503: it restarts")
    assert (trigger.delivered, trigger.retried, trigger.refused, trigger.queued, trigger.dead) == (40, 5, 2, 3, 2)
    assert (camera.delivered, camera.queued) == (0, 1)


def test_a_lane_that_nothing_delivers_has_no_number_of_deliveries() -> None:
    found = build_deliveries(FunctionStatus(name="flowers-2", state="ready"), REPORTS, {}, 0.0)
    assert [row.delivered for row in found.lanes] == [None, None]


def test_only_unreachable_queues_that_concern_the_app_are_named() -> None:
    unreachable = {"broker": "down", "flowers.camera-1": "timed out", "flowers-2": "timed out"}
    found = build_deliveries(FunctionStatus(name="flowers", state="ready"), {}, unreachable, 0.0)
    assert found.unreachable == {"broker": "down", "flowers.camera-1": "timed out"}


def test_parts_that_are_not_ready_have_their_reason_and_fix() -> None:
    parts = (
        PartStatus(kind="Trigger", name="flowers"),
        PartStatus(kind="Source", name="cam", state="starting"),
        PartStatus(kind="Trigger", name="alarm", state="failed", reason='x {"detail": "y"}', fix="do it", age_s=90.0),
    )
    found = build_deliveries(FunctionStatus(name="flowers", state="degraded", parts=parts), {}, {}, 0.0)
    assert [(part.title, part.reason, part.fix, part.lasting) for part in found.parts] == [
        ("Trigger alarm", "x y", "do it", "1 minute"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lane", "title", "function"),
    [
        ("trigger/flowers/flowers", "images to the function", "flowers"),
        ("trigger/flowers/alarm", "trigger alarm", "flowers"),
        ("dead-letters/flowers/alarm", "dead letter sink of trigger alarm", "flowers"),
        ("replies", "predictions to the broker", ""),
        ("trigger/x", "trigger x", ""),
        ("<b>", "<b>", ""),
        ("", "", ""),
    ],
)
def test_lanes_have_names_for_people(lane: str, title: str, function: str) -> None:
    assert describe_lane(lane) == title
    assert find_function(lane) == function


@pytest.mark.parametrize(
    ("queue", "owner"),
    [
        ("flowers", "flowers"),
        ("flowers.relay", "flowers"),
        ("flowers-2.cam", "flowers-2"),
        ("flowers (cam)", "flowers"),
        ("7", "7"),
    ],
)
def test_a_queue_is_named_after_its_app(queue: str, owner: str) -> None:
    assert name_owner(queue) == owner
