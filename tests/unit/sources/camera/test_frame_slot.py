"""The slot between the thread that reads and the thread that captures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from eaves.base.clock import SYSTEM
from eaves.sources.camera.slot import FrameSlot
from eaves.sources.camera.wire import StreamFrame
from tests.fakes.clock import ManualClock
from tests.waiting import wait_until


def frame(number: int) -> StreamFrame:
    return StreamFrame(data=b"", number=number, captured_at_ns=0, arrived_ns=0)


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    slot = FrameSlot(SYSTEM)
    for number in range(5):
        slot.put(frame(number))
    assert slot.take(0.0) == (frame(4), 4)
    assert slot.take(0.0) == (None, 0)


def test_a_wake_is_not_lost_before_anybody_waits() -> None:
    slot = FrameSlot(ManualClock())
    slot.wake()
    assert slot.take(60.0) == (None, 0)


def test_a_waiting_thread_gets_a_frame_a_wake_or_the_end_of_its_time() -> None:
    clock = ManualClock()
    slot = FrameSlot(clock)
    taken: list[tuple[StreamFrame | None, int]] = []

    def take() -> None:
        for _ in range(3):
            taken.append(slot.take(60.0))  # noqa: PERF401 - the test looks at each

    thread = threading.Thread(target=take)
    thread.start()
    events: list[Callable[[], None]] = [lambda: slot.put(frame(1)), slot.wake, lambda: clock.turn(60)]
    for number, event in enumerate(events):
        wait_until(partial(lambda done: len(taken) == done and clock.waiting, number), what="a thread that waits")
        event()
    thread.join(10)
    assert taken == [(frame(1), 0), (None, 0), (None, 0)]
