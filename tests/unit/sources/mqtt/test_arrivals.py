"""Numbers of arrivals: which messages are the same, and which are not."""

from __future__ import annotations

from eaves.mqtt import Message
from eaves.sources.mqtt.message_handoff import MAX_OPEN, Arrivals


def message(packet_id: int, *, dup: bool = False, topic: str = "a", qos: int = 1) -> Message:
    return Message(topic=topic, payload=b"", packet_id=packet_id, dup=dup, qos=qos)


def test_equal_messages_are_two() -> None:
    arrivals = Arrivals()
    assert arrivals.find_number(message(1), b"x") != arrivals.find_number(message(2), b"x")
    assert arrivals.find_number(message(1), b"x") != arrivals.find_number(message(1), b"x")


def test_a_message_that_was_not_acknowledged_keeps_its_number() -> None:
    arrivals = Arrivals()
    number = arrivals.find_number(message(1), b"x")
    assert arrivals.find_number(message(1, dup=True), b"x") == number
    assert arrivals.find_number(message(1, dup=True), b"x") == number


def test_another_message_under_the_same_packet_id_does_not() -> None:
    arrivals = Arrivals()
    numbers = {
        arrivals.find_number(message(1), b"x"),
        arrivals.find_number(message(1, dup=True), b"y"),
        arrivals.find_number(message(1, dup=True, topic="b"), b"y"),
    }
    assert len(numbers) == 3


def test_after_the_acknowledgement_the_packet_id_is_anybodys() -> None:
    arrivals = Arrivals()
    number = arrivals.find_number(message(1), b"x")
    arrivals.close(message(1), number)
    assert arrivals.find_number(message(1, dup=True), b"x") != number


def test_a_late_close_leaves_the_next_message_alone() -> None:
    arrivals = Arrivals()
    first = arrivals.find_number(message(1), b"x")
    second = arrivals.find_number(message(1), b"y")
    arrivals.close(message(1), first)
    assert arrivals.find_number(message(1, dup=True), b"y") == second


def test_a_new_session_has_new_packet_ids() -> None:
    arrivals = Arrivals()
    number = arrivals.find_number(message(1), b"x")
    arrivals.forget()
    assert arrivals.find_number(message(1, dup=True), b"x") != number


def test_messages_without_a_packet_id_are_all_different_and_not_remembered() -> None:
    arrivals = Arrivals()
    assert arrivals.find_number(message(0, qos=0), b"x") != arrivals.find_number(message(0, qos=0), b"x")


def test_two_processes_never_give_the_same_number() -> None:
    assert Arrivals().find_number(message(1), b"x") != Arrivals().find_number(message(1), b"x")


def test_memory_is_bounded() -> None:
    arrivals = Arrivals()
    first = arrivals.find_number(message(1), b"x")
    for packet_id in range(2, MAX_OPEN + 2):
        arrivals.find_number(message(packet_id), b"x")
    assert arrivals.find_number(message(1, dup=True), b"x") != first
