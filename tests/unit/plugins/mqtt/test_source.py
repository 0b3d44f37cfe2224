"""What a source makes of what its connection tells, without a broker."""

import threading
from typing import Any

import pytest

from eaves.plugins.mqtt.kind import MqttSourceSettings
from eaves.plugins.mqtt.message import Message, SessionInfo
from eaves.plugins.mqtt.payload import HeldMessage
from eaves.plugins.mqtt.source import INBOX_BYTES, MqttSource
from eaves.sources.context import Frame
from tests.fakes.sources.source_context import RecordingContext
from tests.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def context() -> RecordingContext:
    made = RecordingContext("gate")
    made.max_bytes = 1_000_000
    return made


def make(context: RecordingContext, **values: Any) -> MqttSource:
    """A source whose broker nobody answers for."""
    return MqttSource(MqttSourceSettings(url="mqtt://127.0.0.1:1", topics=("a/#",), **values), context)


def message(packet_id: int, data: bytes = PNG, *, qos: int = 1, session: int = 1, **values: Any) -> Message:
    return Message(topic="a/b", payload=data, packet_id=packet_id, qos=qos, session=session, **values)


def drain(source: MqttSource, context: RecordingContext, count: int) -> None:
    """Run it until so many frames were captured."""
    thread = threading.Thread(target=source.run)
    thread.start()
    wait_until(lambda: len(context.frames) + sum(context.dropped.values()) >= count, what="frames")
    context.stop()
    thread.join(10)


def accepted(*, present: bool) -> SessionInfo:
    return SessionInfo(present=present, version="5")


def test_a_message_that_comes_again_on_a_new_connection_is_one_frame(context: RecordingContext):
    source = make(context)
    source.received(message(1))
    source.connected(accepted(present=True))
    source.received(message(1, session=2, dup=True))
    source.received(message(2, session=2))
    drain(source, context, 2)
    assert len({frame.position for frame in context.frames}) == len(context.frames) == 2


def test_an_image_that_no_function_reads_is_counted_and_not_sent(context: RecordingContext):
    source = make(context)
    source.received(message(1, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"))
    drain(source, context, 1)
    assert (context.frames, dict(context.dropped)) == ([], {"unsupported": 1})


def test_after_one_message_without_room_none_is_taken_on_this_connection(context: RecordingContext):
    source = make(context)
    big = PNG + bytes(INBOX_BYTES - 5_000)
    source.received(message(1, big))
    source.received(message(2, big + b"2"))
    source.received(message(3))  # has room, but its acknowledgement would overtake that of 2
    source.connected(accepted(present=True))
    source.received(message(2, PNG + b"2", session=2))
    drain(source, context, 2)
    assert [frame.data[len(PNG) :][-1:] for frame in context.frames] == [b"\0", b"2"]


def test_a_message_that_makes_the_code_fail_holds_up_no_other(context: RecordingContext):
    class Failing(MqttSource):
        def _build_frame(self, held: HeldMessage) -> Frame:
            if held.message.packet_id < 3:
                raise KeyError("a bug")
            return super()._build_frame(held)

    source = Failing(MqttSourceSettings(url="mqtt://127.0.0.1:1", topics=("a/#",)), context)
    for packet_id in (1, 2, 3):
        source.received(message(packet_id))
    drain(source, context, 3)
    assert (len(context.frames), context.dropped) == (1, {"failed": 2})
    assert context.reasons == ["a message was not captured because of an unexpected KeyError"] * 2


@pytest.mark.parametrize(("level", "camera"), [(0, ""), (1, "a"), (-1, "b"), (3, "")])
def test_the_camera_is_a_level_of_the_topic(context: RecordingContext, level: int, camera: str):
    source = make(context, camera_level=level)
    source.received(message(1))
    drain(source, context, 1)
    assert context.frames[0].camera == camera
