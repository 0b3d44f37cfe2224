"""From a frame to an event: options, identity, refusals, counters, and one log line for each change."""

import itertools
import logging
from typing import Any

import pytest

from eaves.events import Event, event_id
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import MIN_UNUSABLE
from eaves.sources.context import Frame, Outcome
from eaves.sources.options import FrameOptions
from tests.fakes.clock import START, ManualClock
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.inputs import hostile
from tests.sources.contexts import build_context

PNG = b"\x89PNG\r\n\x1a\n"


class Store:
    """A queue; `error` is raised instead of storing, while it is set."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: Exception | None = None

    def __call__(self, event: Event) -> bool:
        if self.error is not None:
            raise self.error
        if any(event.id == stored.id for stored in self.events):
            return False
        self.events.append(event)
        return True


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_frame_becomes_an_event(store: Store):
    context = build_context(store=store)
    frame = Frame(
        data=PNG, position="7", subject="hall\n/1", captured_at_ns=0, camera="c\u0301", extensions={"crop": "0,0,1,1"}
    )
    assert context.capture(frame) is Outcome.CAPTURED
    (event,) = store.events
    assert (event.id, event.source, event.subject) == (
        event_id("/eaves/test/cam", "7"),
        "/eaves/test/cam",
        "hall\ufffd/1",
    )
    assert (event.time, event.datacontenttype, event.data) == ("1970-01-01T00:00:00Z", "image/png", PNG)
    assert (event.extensions["partitionkey"], event.extensions["crop"]) == ("c\u0301", "0,0,1,1")
    assert event.extensions["datadigest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("node", "camera", "key"), [("", "", "cam"), ("edge-1", "", "cam@edge-1"), ("edge-1", "belt", "belt")]
)
def test_the_partition_key_is_the_camera_or_the_source_with_its_node(store: Store, node: str, camera: str, key: str):
    build_context(store=store, node=node).capture(Frame(data=PNG, position="7", camera=camera))
    (event,) = store.events
    assert event.extensions["partitionkey"] == key


def test_a_frame_can_not_replace_the_identity_of_its_event(store: Store):
    with pytest.raises(ValueError, match=r"name attributes of the event itself \(got id, type"):
        build_context(store=store).capture(Frame(data=PNG, position="7", extensions={"id": "1", "type": "t"}))
    assert store.events == []


def test_a_frame_that_was_captured_before_is_a_duplicate(store: Store):
    context = build_context(store=store)
    assert [context.capture(Frame(data=PNG, position="7")) for _ in range(2)] == [Outcome.CAPTURED, Outcome.DROPPED]
    assert (context.counters.captured, context.counters.dropped) == (1, {"duplicate": 1})


def frames(count: int, step_s: int = 1) -> list[Frame]:
    """Frames of consecutive seconds."""
    return [
        Frame(data=encode_png(COLOURS["red"]), position=str(number), captured_at_ns=number * step_s * 10**9)
        for number in range(count)
    ]


def test_options_are_applied_and_the_id_stays_that_of_the_frame(store: Store):
    context = build_context(store=store, options=FrameOptions(rate="1/2s", jpeg_quality=50))
    outcomes = [context.capture(frame) for frame in frames(4)]
    assert outcomes == [Outcome.CAPTURED, Outcome.DROPPED] * 2
    assert [event.id for event in store.events] == [event_id(context.source, "0"), event_id(context.source, "2")]
    assert {event.datacontenttype for event in store.events} == {"image/jpeg"}
    assert {"reencoded", "partitionkey", "datadigest"} == set(store.events[0].extensions)
    assert context.counters.dropped == {"rate": 2}


def test_a_source_that_drops_every_image_for_an_error_is_waiting(caplog: pytest.LogCaptureFixture):
    context = build_context(options=FrameOptions(crop=(0, 0, 8, 8), unchanged=1.0))
    counters, numbers = context.counters, itertools.count()

    def capture(data: bytes) -> Outcome:
        return context.capture(Frame(data=data, position=str(next(numbers))))

    context.report("watching")
    good, broken = encode_png(COLOURS["red"]), hostile.png_with()[:60]
    for _ in range(2):
        assert capture(broken) is Outcome.UNUSABLE
    assert (counters.state, counters.reason[:25]) == ("waiting", "every image was dropped: ")
    assert capture(good) is Outcome.CAPTURED
    assert (counters.state, counters.reason) == ("watching", "")
    for _ in range(MIN_UNUSABLE - 1):
        capture(broken)
    context.drop("unsupported", 100)  # such as messages of a topic that are no images
    context.drop("late", 100)
    assert (counters.state, counters.reason) == ("watching", "")
    capture(broken)
    assert counters.state == "waiting"
    assert counters.reason.startswith("every image since the last captured one was dropped: ")
    context.report("paused", "spool is full")
    assert (counters.state, counters.reason) == ("paused", "spool is full")
    context.report("watching")
    assert counters.state == "waiting"
    assert len(caplog.messages) == 2, "each cause is logged once, and so is the full spool"
    assert capture(good) is Outcome.DROPPED
    assert counters.dropped["unchanged"] == 1
    assert (counters.state, counters.reason) == ("watching", "")


@pytest.mark.parametrize("limits", [{"max_bytes": 8}, {"spool_max_bytes": 65_536 + 8}])
def test_an_image_that_is_too_large_is_counted(limits: dict[str, Any], store: Store):
    context = build_context(store=store, **limits)
    assert context.capture(Frame(data=bytes(9), position="7")) is Outcome.UNUSABLE
    assert context.capture(Frame(data=bytes(8), position="8")) is Outcome.CAPTURED
    assert context.counters.dropped == {"too_large": 1}


def test_a_change_is_logged_once_and_without_credentials(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    context = build_context(clock=clock)
    for reason in ("no way to http://me:secret@cam/", "no way to http://me:secret@cam/", "HTTP 401"):
        for _ in range(100):
            context.report("waiting", reason)
    context.report("watching")
    assert [record.getMessage() for record in caplog.records] == [
        "source cam is waiting: no way to http://***@cam/",
        "source cam is waiting: HTTP 401",
        "source cam is watching",
    ]
    clock.turn(60)
    assert (context.counters.state, context.counters.reason) == ("watching", "")
    assert context.counters.last_error == ("HTTP 401", START)


def test_stopping_ends_waits_and_wakes_a_source_that_waits_elsewhere():
    context: AgentContext = build_context()
    woken: list[int] = []
    assert context.wait(0) is True
    with context.on_stop(lambda: woken.append(1)):
        context.stop()
        assert (context.stopping, context.wait(60), woken) == (True, False, [1])
    with context.on_stop(lambda: woken.append(2)):
        assert woken == [1, 2]


def test_a_source_that_breaks_every_11_seconds_has_two_lines_an_hour(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    context = build_context(clock=clock)
    for _ in range(24 * 3600 // 11):
        context.report("watching")
        assert context.counters.state == "watching"
        clock.turn(10.0)
        context.report("waiting", "the stream ended")
        assert context.counters.state == "waiting"
        clock.turn(1.0)
    lines = caplog.messages
    assert 24 <= sum("is waiting" in line for line in lines) <= 25
    assert 24 <= sum("is watching" in line for line in lines) <= 26


def test_what_is_dropped_is_logged_once_an_hour_and_no_kind_hides_another(caplog: pytest.LogCaptureFixture):
    clock = ManualClock()
    context = build_context(clock=clock)
    for _ in range(3):
        for number in range(50):
            context.drop("unreadable", reason=f"{number}.jpg can't be read", key=str(number))
        for _ in range(2):
            context.drop("failed", reason="a bug", error=KeyError("x"))
        clock.turn(3600)
    assert context.counters.dropped == {"unreadable": 50, "failed": 6}
    texts = [record.getMessage() for record in caplog.records]
    assert sum("(unreadable)" in text for text in texts) == 20
    assert texts.count("source cam: not captured (failed): a bug") == 3
    assert caplog.records[-1].exc_info is not None
