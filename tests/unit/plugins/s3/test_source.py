"""The s3 source by a clock that the test turns, on a bucket in memory: what it captures, when, by which requests."""

import logging
from collections.abc import Callable

import pytest

from eaves.errors import (
    ConfigError,
    Fault,
    ForbiddenError,
    StatusError,
    UnreachableError,
)
from tests.fakes.bucket import DictBucket
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.buckets import running

JPEG = b"\xff\xd8\xff"
DAY_S = 86_400.0


def filled(clock: ManualClock, *keys: str) -> DictBucket:
    bucket = DictBucket(clock)
    for key in keys:
        bucket.write(key, JPEG + key.encode())
    return bucket


def large(clock: ManualClock, count: int) -> DictBucket:
    return filled(clock, *(f"gate/2026/{number:06}.jpg" for number in range(count)))


def raising(error: Exception, *kinds: str, key: str = "") -> Callable[[str, str], None]:
    def fail(kind: str, asked: str) -> None:
        if kind in kinds and key in asked:
            raise error

    return fail


def test_images_below_the_prefix_are_captured_once_with_their_camera_and_time():
    clock = ManualClock()
    bucket = filled(clock, "in/gate/1.jpg", "in/top.png", "in/notes.txt", "in/gate/.tmp/x.jpg", "other/2.jpg")
    bucket.write("in/empty.jpg", b"")
    with running(bucket, clock, bucket="s3://photos/in/") as run:
        run.advance(100)
        assert run.subjects == ["gate/1.jpg", "top.png"]
        assert [event.extensions["partitionkey"] for event in run.events] == ["gate", "cam"]
        assert run.events[0].data == JPEG + b"in/gate/1.jpg"
        assert run.events[0].time == "2023-11-14T22:13:20Z"
        assert bucket.requests["get"] == 2


def test_a_large_bucket_is_listed_by_one_request_a_second_on_average():
    clock = ManualClock()
    bucket = large(clock, 2_500)
    with running(bucket, clock, every_s=1) as run:
        assert (len(run.events), bucket.requests["list"]) == (2_500, 3)
        for name in ("gate/2026/999999.jpg", "gate/2025/late.jpg"):
            bucket.write(name, JPEG)
        run.advance(2.5)
        assert (len(run.events), bucket.requests["list"]) == (2_500, 3)
        run.advance(1)
        assert (sorted(run.subjects[2_500:]), bucket.requests["list"]) == (
            ["gate/2025/late.jpg", "gate/2026/999999.jpg"],
            6,
        )


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("no connection to store.example: connection refused"),
        ConfigError([Fault(origin="bucket photos", path="", message="the secret key is wrong")]),
        StatusError("the bucket photos answers with status 503", status=503),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bucket_that_cannot_be_listed_is_waited_for_and_logged_once(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    clock = ManualClock()
    bucket = filled(clock, "a/1.jpg")
    bucket.fail = raising(error, "list")
    with caplog.at_level(logging.INFO), running(bucket, clock) as run:
        run.advance(600)
        assert 10 <= bucket.requests["list"] <= 30
        assert len([line for line in caplog.messages if str(error.args[0]) in line]) == 1
        bucket.fail = lambda kind, key: None
        run.advance(61)
        assert run.subjects == ["a/1.jpg"]
        assert "source cam is watching" in caplog.messages[-2:]


def test_an_outage_in_the_middle_of_a_pass_continues_it_and_loses_nothing():
    clock = ManualClock()
    bucket = large(clock, 1_500)
    bucket.fail = raising(UnreachableError("the link is down"), "get", key="000700")
    with running(bucket, clock) as run:
        assert len(run.events) == 700
        run.advance(60)
        assert len(run.events) == 700
        bucket.fail = lambda kind, key: None
        run.advance(61)
        assert run.subjects == [f"gate/2026/{number:06}.jpg" for number in range(1_500)]


def test_an_object_that_cannot_be_read_is_counted_once_and_tried_again_at_the_next_pass():
    clock = ManualClock()
    bucket = filled(clock, "a/1.jpg", "a/2.jpg", "a/3.jpg")
    bucket.fail = raising(ForbiddenError("the bucket refuses access to the object a/2.jpg"), "get", key="a/2.jpg")
    with running(bucket, clock) as run:
        run.advance(100)
        assert run.subjects == ["a/1.jpg", "a/3.jpg"]
        assert run.counters.dropped["unreadable"] == 1
        bucket.fail = lambda kind, key: None
        run.advance(31)
        assert run.subjects == ["a/1.jpg", "a/3.jpg", "a/2.jpg"]


def test_with_more_images_than_can_be_remembered_capture_pauses_until_some_are_removed():
    clock = ManualClock()
    bucket = filled(clock, *(f"a/{number}.jpg" for number in range(5)))
    with running(bucket, clock, max_objects=6) as run:
        assert len(run.events) == 5
        bucket.write("b/6.jpg", JPEG)
        run.advance(100)
        assert len(run.events) == 5
        assert "holds max_objects images (6)" in run.counters.reason
        bucket.delete("a/0.jpg")
        bucket.delete("a/1.jpg")
        run.advance(100)
        assert run.subjects[5:] == ["b/6.jpg"]
        assert run.counters.state == "watching"


def test_ids_of_present_objects_are_kept_and_those_of_deleted_ones_are_forgotten():
    clock = ManualClock()
    bucket, index = filled(clock, "a/1.jpg", "a/2.jpg"), DictIndex(clock)
    with running(bucket, clock, index, every_s=3_600) as run:
        bucket.delete("a/2.jpg")
        for _ in range(10):
            clock.turn(DAY_S)
            run.settle()
        assert len(index.times) == 1
        assert len(run.events) == 2
