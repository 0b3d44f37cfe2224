"""Received messages: which are the same, how many wait, and which make room."""

from typing import Any

import pytest

from eaves.base.clock import SYSTEM
from eaves.plugins.mqtt.message import Message
from eaves.plugins.mqtt.payload import OVERHEAD_BYTES, HeldMessage, Inbox


def held(packet_id: int = 1, *, topic: str = "a", size: int = 1000, digest: bytes = b"x", **values: Any) -> HeldMessage:
    return HeldMessage(Message(topic=topic, payload=bytes(size), packet_id=packet_id, **values), digest)


def inbox(messages: int = 100) -> Inbox:
    return Inbox(messages * (1000 + OVERHEAD_BYTES), clock=SYSTEM)


def number(some: Inbox, new: HeldMessage) -> str:
    some.put(new)
    return new.number


@pytest.mark.parametrize(
    ("again", "same"),
    [
        (held(dup=True), True),
        (held(2), False),
        (held(), False),
        (held(dup=True, digest=b"y"), False),
        (held(dup=True, topic="b"), False),
    ],
)
def test_only_what_was_not_acknowledged_and_comes_again_is_the_same(again: HeldMessage, same: bool):
    some = inbox()
    assert (number(some, held()) == number(some, again)) is same
    assert len(some) == 2 - same


def test_after_acknowledgement_new_session_or_restart_a_packet_id_is_anybodys():
    some, first = inbox(), held()
    some.put(first)
    some.close(first)
    second = held(dup=True)
    assert number(some, second) != first.number
    some.close(first)  # a late one leaves the next message alone
    assert number(some, held(dup=True)) == second.number
    some.forget()
    assert number(some, held(dup=True)) != second.number
    assert number(inbox(), held()) != number(inbox(), held())


def test_it_takes_so_many_bytes_and_one_of_any_size_in_the_order_of_arrival():
    some, first = inbox(2), held(1)
    assert [some.put(first), some.put(held(2)), some.put(held(3))] == [True, True, False]
    assert some.peek(0) is first
    some.remove(first)
    assert some.put(held(4))
    second = some.peek(0)
    assert second is not None
    assert second.message.packet_id == 2
    empty = inbox(2)
    assert empty.put(held(size=1_000_000))
    assert not empty.put(held(2, size=1))


def test_the_last_copy_of_a_message_is_the_one_that_is_acknowledged():
    some, first = inbox(1), held()
    assert some.put(first)
    assert some.put(held(dup=True, session=2))
    assert some.remove(first).session == 2
