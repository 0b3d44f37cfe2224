"""What was received and is not stored yet."""

from __future__ import annotations

import threading

from eaves.base.clock import SYSTEM
from eaves.mqtt import Message
from eaves.sources.mqtt.message_handoff import OVERHEAD_BYTES, HeldMessage, MessageHandoff
from tests.waiting import wait_until


def held(number: str, size: int = 1000, *, qos: int = 1, session: int = 1) -> HeldMessage:
    return HeldMessage(Message(topic="a", payload=bytes(size), qos=qos, session=session), number, b"")


def slot(messages: int) -> MessageHandoff:
    return MessageHandoff(messages * (1000 + OVERHEAD_BYTES), clock=SYSTEM)


def test_in_the_order_of_arrival_and_until_removed() -> None:
    some = slot(3)
    for number in ("1", "2"):
        assert some.put(held(number))
    first = some.peek(0)
    assert first is not None
    assert first is some.peek(0)
    some.remove(first)
    second = some.peek(0)
    assert second is not None
    assert second.number == "2"
    some.remove(second)
    assert some.peek(0) is None


def test_it_takes_so_many_bytes_and_one_of_any_size() -> None:
    some = slot(2)
    assert [some.put(held(number)) for number in "123"] == [True, True, False]
    some.remove(held("1"))
    assert some.put(held("4"))
    empty = slot(2)
    assert empty.put(held("1", 1_000_000))
    assert not empty.put(held("2", 1))


def test_a_message_that_comes_again_takes_the_place_of_itself() -> None:
    some = slot(1)
    assert some.put(held("1"))
    assert some.put(held("1", session=2))
    assert len(some) == 1
    first = some.peek(0)
    assert first is not None
    assert some.remove(first).session == 2
    assert some.put(held("2"))


def test_what_nobody_keeps_makes_room_but_for_the_one_in_work() -> None:
    some = slot(3)
    for number, qos in (("1", 0), ("2", 1), ("3", 0)):
        some.put(held(number, qos=qos))
    assert some.drop_oldest_unkept()
    assert not some.drop_oldest_unkept()
    assert len(some) == 2
    assert some.put(held("4", qos=0))


def test_waiting_ends_with_a_message_and_with_a_wake() -> None:
    some = slot(1)
    found: list[HeldMessage | None] = []
    for act in (lambda: some.put(held("1")), some.wake):
        thread = threading.Thread(target=lambda: found.append(some.peek(30)))
        thread.start()
        while thread.is_alive():
            act()
            thread.join(0.01)
        if found[-1] is not None:
            some.remove(found[-1])
    wait_until(lambda: len(found) == 2)
    assert found[0] is not None
    assert found[1] is None
