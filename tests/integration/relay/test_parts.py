"""A large picture goes in parts, which a cut doesn't undo and which an alarm overtakes."""

import hashlib
import threading
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.link.settings import ALARMS, ARCHIVE, IMAGES
from eaves.spool import Selection
from eaves.spool.admin import drop
from tests.fakes.http.receiver import Reply
from tests.integration.relay.harness import LOST, QuickClock, event, forwarding, names, picture
from tests.waiting import wait_until


def received(count: int) -> Reply:
    """What a receiver says that has so many bytes."""
    return Reply(body=f'{{"received": {count}}}'.encode())


class Gate:
    """Holds parts back."""

    def __init__(self, free: int) -> None:
        self._free = threading.Semaphore(free)

    def __call__(self) -> None:
        assert self._free.acquire(timeout=10)

    def open(self) -> None:
        self._free.release(99)


def test_a_picture_larger_than_a_request_goes_in_parts_that_grow(tmp_path: Path):
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.wait_until_empty()
        assert rig.stored() == ["id-1"]
        assert rig.receiver.received == [picture(1)]
        assert rig.receiver.part_requests == [(0, 0), (0, 65_536), (65_536, 131_072), (196_608, 103_392)]
        wait_until(lambda: rig.counts().forwarded == 1)  # counted after the release
        assert rig.counts().bytes_sent == 300_000
        rig.put(picture(2, 200_000), lane=IMAGES)  # what the link carries now in one request
        rig.wait_until_empty()
        assert rig.receiver.calls[-1] == "send"


def test_an_upload_continues_after_the_relay_was_killed(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        one = picture(1)
        rig.put(one, lane=IMAGES)
        rig.receiver.parts[hashlib.sha256(one.data).hexdigest()] = bytearray(one.data[:250_000])
        rig.start()
        rig.wait_until_empty()
        assert rig.receiver.part_requests == [(0, 0), (250_000, 50_000)]


def test_a_picture_that_takes_many_up_periods_arrives_and_is_not_set_aside(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.receiver.part_reply = lambda: LOST if len(rig.receiver.part_requests) % 2 == 0 else None
        rig.start()
        rig.wait_until_empty(60)
        assert rig.stored() == ["id-1"]
        offsets = [offset for offset, _ in rig.receiver.part_requests]
        assert offsets == sorted(offsets), "a cut loses one part and not those before"
        wait_until(lambda: rig.attempts(IMAGES) == {"delivered": 1})


@pytest.mark.parametrize("newest_first", [False, True])
def test_alarms_overtake_a_picture_between_two_parts_and_another_picture_does_not(tmp_path: Path, newest_first: bool):
    gate = Gate(2)
    with forwarding(tmp_path, newest_first=newest_first, starts=False) as rig:
        rig.receiver.part_reply = gate
        rig.put(picture(1, 1_000_000), lane=IMAGES)
        rig.start()
        wait_until(lambda: len(rig.receiver.part_requests) == 3)
        rig.put(event(2), lane=ALARMS)
        rig.put(event(3), lane=ARCHIVE)
        rig.put(picture(4), lane=IMAGES)
        gate.open()
        rig.wait_until_empty()
        assert rig.stored() == names(2, 3, 1, 4)


def test_what_was_purged_while_parts_of_it_were_sent_is_sent_no_further(tmp_path: Path):
    gate = Gate(2)
    with forwarding(tmp_path, starts=False) as rig:
        rig.receiver.part_reply = gate
        rig.put(picture(1, 1_000_000))
        rig.start()
        wait_until(lambda: len(rig.receiver.part_requests) == 3)
        drop(rig.spool, Selection())
        gate.open()
        rig.put(event(2))
        rig.wait_until_empty()
        assert rig.stored() == ["id-2"]
        assert len(rig.receiver.part_requests) == 3


def test_a_receiver_that_has_lost_the_parts_gets_them_again(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1, 150_000), lane=IMAGES)
        claimed = iter([0, 65_536, 150_000])
        rig.receiver.part_reply = lambda: received(found) if (found := next(claimed, -1)) >= 0 else None
        rig.start()
        rig.wait_until_empty()
        assert rig.stored() == ["id-1"]
        assert rig.dead() == {}


def test_a_receiver_that_keeps_nothing_of_parts_is_a_link_that_fails(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.receiver.part_reply = lambda: received(0)
        rig.start()
        wait_until(lambda: rig.counts().failed)
        assert (rig.queued(), rig.dead()) == (1, {})


def test_a_picture_that_is_refused_after_its_parts_is_kept_apart_and_not_sent_again(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.receiver.script = lambda events: Reply(refused={"id-1": 409})
        rig.start()
        rig.wait_until_empty()
        assert rig.dead() == {"id-1": "the receiver refuses the event (409): not yours"}
        assert rig.receiver.calls == ["probe", "part", "part", "part", "part", "send"]


def test_a_status_in_place_of_an_account_after_the_parts_makes_nobody_send_the_whole(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.receiver.script = lambda events: Reply(status=403) if len(rig.receiver.requests) == 1 else None
        rig.start()
        rig.wait_until_empty()
        assert rig.stored() == ["id-1"]
        assert sum(size > 0 for _, size in rig.receiver.part_requests) == 3
        assert rig.receiver.part_requests[-1] == (0, 0), "it is asked for, and is there"


def test_a_picture_of_which_a_part_is_too_large_goes_in_smaller_ones(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1, 200_000), picture(2, 200_000), lane=IMAGES)
        rig.receiver.part_reply = lambda: Reply(status=413) if rig.receiver.part_requests[-1][1] > 10_000 else None
        rig.start()
        rig.wait_until_empty()
        assert rig.stored() == names(1, 2)
        assert sum(size > 10_000 for _, size in rig.receiver.part_requests) == 3


def test_a_picture_whose_parts_are_lost_again_and_again_is_sent_ever_less_often(tmp_path: Path):
    clock = QuickClock()
    with forwarding(tmp_path, clock=clock, starts=False) as rig:

        def lose(events: list[Event]) -> Reply | None:
            if events[0].id != "id-1":
                return None
            rig.receiver.parts.clear()
            return Reply(status=412)

        rig.receiver.script = lose
        rig.put(picture(1), lane=IMAGES)
        rig.start()
        wait_until(lambda: rig.attempts(IMAGES).get("retried", 0) >= 4)
        rig.put(picture(2), event(3), lane=IMAGES)
        wait_until(lambda: rig.stored() == names(2, 3))
        assert rig.dead() == {}
        began_s, parts = clock.elapsed_s, len(rig.receiver.part_requests)
        wait_until(lambda: clock.elapsed_s > began_s + 600)
        assert len(rig.receiver.part_requests) - parts < 150, "six for each pass, at most one pass in 30 seconds"
        rig.receiver.script = lambda events: None
        rig.wait_until_empty()
        assert rig.stored() == names(2, 3, 1)
