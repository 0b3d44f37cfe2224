"""Deliveries and dead letters in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.admin import LaneReport, QueueReport
from eaves.console.pages.dead_letters import (
    MAX_TEXT,
    RETRY_LATER,
    SAME_AGAIN,
    DeadLetterView,
    describe_data,
    describe_lane,
    list_deliveries,
)
from eaves.platform import FunctionStatus
from eaves.spool.admin import Stored

ENTRY = Stored(
    seq=7,
    lane="trigger/flowers/flowers",
    state="dead",
    source="/eaves/mill/camera-1",
    event_id="e7",
    type="dev.eaves.image.captured.v1",
    subject="cap-7.jpg",
    datacontenttype="image/jpeg",
    size_bytes=2_048,
    attempts=1,
    put_at=100.0,
    not_before=0.0,
    died_at=101.5,
    status=422,
    reason='answered 422: {"type": "urn:eaves:problem:image", "detail": "the image is corrupt',
)


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
    assert DeadLetterView(replace(ENTRY, status=status)).advice == advice
    assert DeadLetterView(replace(ENTRY, status=status, state="queued")).advice == ""


def test_only_text_is_shown_as_text() -> None:
    assert describe_data("application/json; charset=utf-8", b'{"a": 1}') == '{"a": 1}'
    assert describe_data("text/plain", b"\xff") == "\ufffd"
    assert describe_data("image/svg+xml", b"<svg/>") == ""
    assert describe_data("application/json", b"a" * 5_000) == "a" * MAX_TEXT + "..."


def test_lanes_of_the_app_are_shown_with_the_paused_ones_first() -> None:
    broker = (
        LaneReport(lane="trigger/flowers/flowers", queued=3, delivering=True),
        LaneReport(lane="trigger/flowers/alarm", delivering=True, paused=True, since=280.0),
    )
    agent = QueueReport(name="flowers", pod="flowers-0", lanes=(LaneReport(lane="sink", dead=1, delivering=True),))
    status = FunctionStatus(name="flowers", state="ready", lanes=broker, agents=(agent,))
    assert [(queue, describe_lane(lane.lane)) for queue, lane in list_deliveries(status)] == [
        ("broker", "trigger alarm"),
        ("flowers-0", "images from the sources"),
        ("broker", "images to the function"),
    ]
