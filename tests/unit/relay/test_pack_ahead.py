"""The next request is packed while one is under way, and what is sent is what would have been sent without that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import SpoolError
from eaves.events import Event
from eaves.link import BatchAnswer
from eaves.link.batch import Packed, pack
from eaves.link.body_gate import BodyGate
from eaves.relay.relay_lanes import ALARMS, ARCHIVE
from eaves.relay.requests.pack_ahead import PackAhead
from eaves.relay.requests.sender import Sender
from eaves.spool import Entry
from tests.unit.relay.harness import Answer, FakeLink, event, forwarding, lost, status_error
from tests.waiting import wait_until

COUNT = 6_000
PATIENT_S = 60.0
"""Longer than a busy machine takes for anything here, seconds."""


def entries(*numbers: int) -> list[Entry]:
    return [Entry(seq=one, lane="archive", event=event(one), attempts=0, first_put_at=0.0) for one in numbers]


def prepared(guess: Sequence[Entry], chosen: Sequence[Entry]) -> list[int] | None:
    """What of the chosen entries is packed after a guess."""
    ahead = PackAhead()
    ahead.prepare(lambda: guess)
    found = ahead.get_packed(chosen)
    assert ahead.get_packed(chosen) is None, "it is used once"
    if found is None:
        return None
    assert found.packed == pack([one.event for one in found.entries])
    return [one.seq for one in found.entries]


def test_a_guess_is_used_when_it_is_what_comes_first() -> None:
    assert prepared(entries(4, 5), entries(4, 5)) == [4, 5]
    assert prepared(entries(4, 5), entries(4, 5, 6)) == [4, 5]


@pytest.mark.parametrize("chosen", [(4,), (5, 6), (4, 6, 5), (1, 4, 5), ()])
def test_a_guess_that_is_wrong_is_forgotten(chosen: tuple[int, ...]) -> None:
    assert prepared(entries(4, 5), entries(*chosen)) is None


def test_a_spool_that_can_not_be_read_is_for_the_forwarder_to_find() -> None:
    def fail() -> Sequence[Entry]:
        raise SpoolError("damaged")

    ahead = PackAhead()
    ahead.prepare(fail)
    assert ahead.get_packed(entries(1)) is None


def test_what_is_read_too_late_is_neither_kept_nor_sent() -> None:
    ahead, goes_on, sent = PackAhead(), threading.Event(), []

    def choose() -> Sequence[Entry]:
        assert goes_on.wait(PATIENT_S)
        return entries(4, 5)

    def send(packed: Packed, gate: BodyGate) -> BatchAnswer:
        sent.append(packed)
        raise lost()

    ahead.prepare(choose, send=send)
    ahead.stop()
    goes_on.set()
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "pack-ahead"])
    assert (list(ahead.entries()), sent) == ([], [])


def test_a_sender_packs_what_comes_next_while_a_request_is_under_way() -> None:
    first, second = entries(*range(1, 101)), entries(*range(101, 151))
    sender = Sender(FakeLink())
    sender.send("archive", first, max_bytes=1 << 20, limit_s=lambda size: 9.0, guess_next=lambda: second)
    assert sender.prepared([*entries(*range(101, 151)), *entries(151)]) is second
    sender.send("archive", first[:10], max_bytes=1 << 20, limit_s=lambda size: 9.0, guess_next=lambda: second)
    few = entries(101)
    assert sender.prepared(few) is few


def test_a_drain_is_packed_ahead_and_arrives_in_order(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert rig.link.stored == [f"id-{number}" for number in range(COUNT)]
        assert len(rig.link.requests) < 30
    assert not [thread for thread in threading.enumerate() if thread.name == "pack-ahead"]


@pytest.mark.parametrize("newest_first", [False, True])
def test_what_fails_and_what_overtakes_changes_nothing_of_the_order(tmp_path: Path, newest_first: bool) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)], newest_first=newest_first) as rig:
        count = 0

        def answer(events: list[Event]) -> Answer:
            nonlocal count
            count += 1
            if count % 5 == 2:
                rig.spool.put(event(COUNT + count), lanes=(ALARMS,))
            return lost() if count % 4 == 3 else None

        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        wait_until(lambda: len(rig.link.stored) >= COUNT)
        archive = [one for one in rig.link.stored if int(one[3:]) < COUNT]
        expected = [f"id-{number}" for number in range(COUNT)]
        assert archive == (expected[::-1] if newest_first else expected)
        assert (len(rig.link.begun) > 3) == (not newest_first), "requests were begun before their turn"


def test_a_request_is_begun_and_not_finished_before_the_one_before_it_is_answered(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        seen: list[bool] = []

        def answer(events: list[Event]) -> Answer:
            following = f"id-{int(events[-1].id[3:]) + 1}"
            if rig.link.begun and len(seen) < 2:
                wait_until(lambda: following in rig.link.begun, what="the next request to be begun")
                pause.wait(0.2)  # whatever wants to come before this answer has the time for it
                seen.append(rig.link.requests[-1] == [one.id for one in events])
            return None

        pause = threading.Event()
        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert seen == [True, True]
        assert rig.link.stored == [f"id-{number}" for number in range(COUNT)]


@pytest.mark.parametrize("at_turn", [False, True])
def test_a_request_that_breaks_off_before_its_end_is_sent_in_its_turn(tmp_path: Path, at_turn: bool) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        rig.link.early_fault, rig.link.faults_at_turn = lost(), at_turn
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert rig.link.stored == [f"id-{number}" for number in range(COUNT)]
        wait_until(lambda: rig.forwarder.view().counts.forwarded == COUNT)
        assert rig.forwarder.view().counts.failed == 0
        assert len(rig.link.begun) in {1, 2}, "a link that has no room for two requests is not asked each time"


@pytest.mark.parametrize("status", [503, 500, 413])
def test_what_is_begun_after_a_request_that_is_refused_is_not_finished(tmp_path: Path, status: int) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        count = 0

        def answer(events: list[Event]) -> Answer:
            nonlocal count
            count += 1
            return status_error(status) if count in (4, 9) else None

        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert rig.link.stored == [f"id-{number}" for number in range(COUNT)]
        assert len(rig.link.begun) > 1


@pytest.mark.parametrize("fault", [lambda: status_error(429), lost])
def test_what_has_room_for_one_request_only_refuses_few(tmp_path: Path, fault: Callable[[], Exception]) -> None:
    many = 12_000
    with forwarding(tmp_path, *[event(number) for number in range(many)]) as rig:
        rig.link.turn_fault = fault
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert rig.link.stored == [f"id-{number}" for number in range(many)]
        assert len(rig.link.begun) > 1
        assert rig.forwarder.view().counts.failed <= 5, "it is not asked at every second request"


def test_a_receiver_that_takes_fewer_events_is_sent_fewer(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        rig.link.answers = lambda events: status_error(413) if len(events) > 700 else None
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert rig.link.stored == [f"id-{number}" for number in range(COUNT)]
        assert sum(len(ids) > 700 for ids in rig.link.requests) == 1, "it is not asked again and again"


def test_an_alarm_passes_a_request_that_is_begun_and_ends_it_not(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)]) as rig:
        alarms = iter(range(COUNT, COUNT + 5))

        def answer(events: list[Event]) -> Answer:
            if len(events) > 1 and rig.link.begun and (number := next(alarms, None)) is not None:
                rig.put(event(number), lane=ALARMS)
            return None

        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        requests, alone = rig.link.requests, [number for number, ids in enumerate(rig.link.requests) if len(ids) == 1]
        assert [requests[number] for number in alone[:5]] == [[f"id-{COUNT + number}"] for number in range(5)]
        assert [one for one in rig.link.stored if int(one[3:]) < COUNT] == [f"id-{number}" for number in range(COUNT)]
        assert rig.forwarder.view().counts.failed == 0


def test_what_the_rate_holds_back_is_not_begun(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(COUNT)], rate_bytes=1 << 30) as rig:
        rig.forwarder.start()
        rig.wait_until_empty(PATIENT_S)
        assert not rig.link.begun


def test_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(100)]) as rig:
        first = rig.spool.peek_batch(ARCHIVE, now=0.0, max_events=40, max_bytes=1 << 20)
        limit: dict[str, Any] = {"now": 0.0, "max_events": 60, "max_bytes": 1 << 20}
        again = rig.spool.peek_batch(ARCHIVE, known=first, **limit)
        assert [one is known for one, known in zip(again, first, strict=True)] == [True] * 40
        rig.spool.ack(first[0])
        fresh = rig.spool.peek_batch(ARCHIVE, known=first, **limit)
        assert [one.event.id for one in fresh] == [f"id-{number}" for number in range(1, 61)]
