"""Deliveries and dead letters in words."""

from __future__ import annotations

import pytest

from eaves.admin import LaneReport, QueueReport
from eaves.console.model.dead_letters import (
    MAX_TEXT,
    RETRY_LATER,
    SAME_AGAIN,
    build_dead_letter,
    build_deliveries,
    describe_data,
    describe_lane,
    group_by_reason,
    name_owner,
)
from eaves.platform import FunctionStatus

ENTRY = {
    "seq": 7,
    "lane": "trigger/flowers/flowers",
    "state": "dead",
    "source": "/eaves/mill/camera-1",
    "event_id": "e7",
    "type": "dev.eaves.image.captured.v1",
    "subject": "cap-7.jpg",
    "datacontenttype": "image/jpeg",
    "size_bytes": 2_048,
    "attempts": 1,
    "put_at": 100.0,
    "died_at": 101.5,
    "status": 422,
    "reason": 'answered 422: {"type": "urn:eaves:problem:image", "detail": "the image is corrupt',
}


def test_an_entry_of_another_version_is_read_as_far_as_possible() -> None:
    row = build_dead_letter({"seq": "7", "subject": 7, "died_at": None, "status": True})
    assert (row.seq, row.subject, row.died_at, row.is_dead, row.reason) == (0, "", 0, False, "")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (0, RETRY_LATER),
        (404, "Check the address of its trigger, then retry it."),
        (422, SAME_AGAIN),
        (500, RETRY_LATER),
    ],
)
def test_a_dead_letter_says_whether_a_retry_helps(status: int, advice: str) -> None:
    assert build_dead_letter({**ENTRY, "status": status}).advice == advice
    assert build_dead_letter({**ENTRY, "status": status, "state": "queued"}).advice == ""


def test_groups_have_the_most_frequent_reason_first() -> None:
    rows = [build_dead_letter({**ENTRY, "reason": f"reason {number % 3 and 1}"}) for number in range(9)]
    found = group_by_reason([*rows, build_dead_letter({**ENTRY, "lane": "trigger/flowers/alarm"})])
    assert [(group.letter.raw_reason, group.count) for group in found[:2]] == [("reason 1", 6), ("reason 0", 3)]
    assert (found[2].letter.reason, found[2].letter.lane) == ("the image is corrupt", "trigger/flowers/alarm")


def test_only_text_is_shown_as_text() -> None:
    assert describe_data("application/json; charset=utf-8", b'{"a": 1}') == '{"a": 1}'
    assert describe_data("text/plain", b"\xff") == "\ufffd"
    assert describe_data("image/svg+xml", b"<svg/>") == ""
    assert describe_data("application/json", b"a" * 5_000) == "a" * MAX_TEXT + "..."


REPORTS = {
    "broker": QueueReport(
        lanes=(
            LaneReport(lane="trigger/flowers/flowers", queued=3, dead=2, delivering=True),
            LaneReport(lane="trigger/flowers/alarm", delivering=True, paused=True, paused_since=280.0),
            LaneReport(lane="trigger/flowers-2/flowers-2", queued=9),
        )
    ),
    "flowers.camera-1": QueueReport(lanes=(LaneReport(lane="sink", queued=1, delivering=True),)),
    "flowers-2.camera-1": QueueReport(lanes=(LaneReport(lane="sink", queued=7),)),
}


def test_lanes_of_the_app_are_shown_with_the_paused_ones_first() -> None:
    unreachable = {"broker": "down", "flowers.camera-2": "timed out", "flowers-2": "timed out"}
    found = build_deliveries(FunctionStatus(name="flowers", state="ready"), REPORTS, unreachable, 1_000.0)
    assert [(row.queue, row.title, row.paused_for) for row in found.lanes] == [
        ("broker", "trigger alarm", "12 minutes"),
        ("broker", "images to the function", ""),
        ("flowers.camera-1", "images from the sources", ""),
    ]
    assert found.unreachable == {"broker": "down", "flowers.camera-2": "timed out"}


def test_lanes_and_queues_have_names_for_people() -> None:
    lanes = (
        "trigger/flowers/flowers",
        "trigger/flowers/alarm",
        "dead-letters/flowers/alarm",
        "replies",
    )
    assert [describe_lane(lane) for lane in lanes] == [
        "images to the function",
        "trigger alarm",
        "dead letter sink of trigger alarm",
        "predictions to the broker",
    ]
    owners = [name_owner(queue) for queue in ("flowers", "flowers.relay", "flowers-2.cam", "7")]
    assert owners == ["flowers", "flowers", "flowers-2", "7"]
