"""A large picture goes in parts, which a cut doesn't undo and which an alarm overtakes."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.relay.relay_lanes import ALARMS, ARCHIVE, IMAGES
from tests.unit.relay.harness import event, forwarding, lost, refusing, status_error
from tests.waiting import wait_until


def picture(number: int, size_bytes: int = 300_000) -> Event:
    return event(number, data=os.urandom(size_bytes), datacontenttype="image/jpeg")


def test_a_picture_larger_than_a_request_goes_in_parts_that_grow(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1"]
        assert rig.link.parts == [(0, 0), (0, 65_536), (65_536, 131_072), (196_608, 103_392)]
        assert rig.link.requests == [["id-1"]]
        wait_until(lambda: rig.forwarder.counts.forwarded == 1)  # counted after the release
        assert rig.forwarder.counts.bytes_sent == 300_000
        rig.put(picture(2, 200_000), lane=IMAGES)  # what the link carries now in one request
        rig.wait_until_empty()
        assert rig.link.calls[-1] == "send"


def test_a_cut_loses_one_part_and_not_those_before(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        answers = iter([None, None, lost(), None, lost()])
        rig.link.part_answers = lambda: next(answers, None)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1"]
        offsets = [offset for offset, _ in rig.link.parts]
        assert offsets == sorted(offsets)
        assert (65_536, 131_072) in rig.link.parts
        assert rig.queued() == 0


def test_an_upload_continues_after_the_relay_was_killed(tmp_path: Path) -> None:
    one = picture(1)
    with forwarding(tmp_path) as rig:
        rig.put(one, lane=IMAGES)
        rig.link.bodies[hashlib.sha256(one.data).hexdigest()] = bytearray(one.data[:250_000])
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.parts == [(0, 0), (250_000, 50_000)]


def test_a_picture_that_takes_many_up_periods_arrives_and_is_not_set_aside(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        count = 0

        def flap() -> Exception | None:
            nonlocal count
            count += 1
            return lost() if count % 2 == 0 else None

        rig.link.part_answers = flap
        rig.forwarder.start()
        rig.wait_until_empty(60)
        assert rig.link.stored == ["id-1"]
        wait_until(lambda: rig.forwarder.attempts("images") == {"delivered": 1})


def test_an_alarm_overtakes_a_picture_between_two_parts(tmp_path: Path) -> None:
    gate = threading.Semaphore(2)

    def wait() -> None:
        assert gate.acquire(timeout=10)

    with forwarding(tmp_path) as rig:
        rig.link.part_answers = wait
        rig.put(picture(1, 1_000_000), lane=IMAGES)
        rig.forwarder.start()
        wait_until(lambda: len(rig.link.parts) == 3)
        rig.put(event(2), lane=ALARMS)
        rig.put(event(3), lane=ARCHIVE)
        for _ in range(50):
            gate.release()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-2", "id-3", "id-1"]


def test_newest_first_does_not_put_off_what_was_sent_in_part(tmp_path: Path) -> None:
    gate = threading.Semaphore(2)

    def wait() -> None:
        assert gate.acquire(timeout=10)

    with forwarding(tmp_path, newest_first=True) as rig:
        rig.link.part_answers = wait
        rig.put(picture(1), lane=IMAGES)
        rig.forwarder.start()
        wait_until(lambda: len(rig.link.parts) == 3)
        rig.put(picture(2), lane=IMAGES)
        for _ in range(50):
            gate.release()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1", "id-2"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_receiver_that_takes_no_parts_gets_the_whole(tmp_path: Path, status: int) -> None:
    with forwarding(tmp_path) as rig:
        rig.link.part_answers = lambda: status_error(status)
        rig.put(picture(1), picture(2), lane=IMAGES)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.calls == ["probe", "part", "send", "send"]


def test_a_receiver_that_has_lost_the_parts_gets_the_whole(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1, 150_000), lane=IMAGES)
        rig.link.answers = lambda events: None
        claimed = iter([0, 65_536, 150_000])
        rig.link.part_answers = lambda: next(claimed)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1"]
        assert rig.link.calls == ["probe", "part", "part", "part", "send", "probe", "send"]


def test_a_receiver_that_keeps_nothing_of_parts_is_a_link_that_fails(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.link.part_answers = lambda: 0
        rig.forwarder.start()
        wait_until(lambda: rig.forwarder.counts.failed)
        assert (rig.queued(), rig.dead()) == (1, {})


def test_a_picture_that_is_refused_after_its_parts_is_kept_apart_and_not_sent_again(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.link.answers = refusing({"id-1"}, 409)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.dead() == {"id-1": "the receiver refuses the event (409): not yours"}
        assert rig.link.requests == [["id-1"]]
        assert rig.link.calls == ["probe", "part", "part", "part", "part", "send"]


def test_a_status_in_place_of_an_account_after_the_parts_makes_nobody_send_the_whole(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.link.answers = lambda events: status_error(403) if len(rig.link.requests) == 1 else None
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1"]
        assert sum(size > 0 for _, size in rig.link.parts) == 3
        assert rig.link.parts[-1] == (0, 0), "it is asked for, and is there"
        wait_until(lambda: rig.forwarder.attempts(IMAGES) == {"delivered": 1, "retried": 1})


def test_a_picture_of_which_a_part_is_too_large_goes_in_smaller_ones(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1, 200_000), picture(2, 200_000), lane=IMAGES)
        rig.link.part_answers = lambda: status_error(413) if rig.link.parts[-1][1] > 10_000 else None
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1", "id-2"]
        assert sum(size > 10_000 for _, size in rig.link.parts) == 3
        assert rig.dead() == {}


def test_a_picture_that_is_too_large_as_a_whole_is_kept_apart(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1), lane=IMAGES)
        rig.link.part_answers = lambda: status_error(413)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.dead() == {"id-1": "the receiver refuses the event (413): answered 413"}
        assert rig.link.calls[:4] == ["probe", "part", "probe", "part"]
        assert rig.link.requests == []


def test_a_picture_whose_parts_were_lost_goes_in_parts_again_once_it_was_set_aside(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(picture(1, 150_000), lane=IMAGES)
        claimed = iter([0, 65_536, 150_000])
        rig.link.part_answers = lambda: next(claimed, None)
        rig.link.answers = lambda events: lost() if len(rig.link.requests) <= 3 else None
        rig.forwarder.start()
        rig.wait_until_empty(30)
        assert rig.link.stored == ["id-1"]
        assert len(rig.link.requests) == 4
        assert len(rig.link.parts) > 3
        wait_until(lambda: rig.forwarder.attempts(IMAGES) == {"delivered": 1, "retried": 1})
