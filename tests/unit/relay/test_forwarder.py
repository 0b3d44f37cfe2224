"""The relay's forwarder over a link that fails in every way: order, urgency, releases, pauses, clocks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from eaves.errors import DeliveryError
from eaves.events import Event
from eaves.link import BatchAnswer
from eaves.relay.relay_lanes import ALARMS, ARCHIVE, IMAGES
from tests.fakes.clock import FrozenClock
from tests.unit.relay.harness import Answer, Rig, event, forwarding, lost, poisoned, refusing, status_error
from tests.waiting import wait_until


def test_events_arrive_in_the_order_they_were_put_and_are_released(tmp_path: Path) -> None:
    events = [event(number) for number in range(2_500)]
    with forwarding(tmp_path, *events) as rig:
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == [one.id for one in events]
        assert max(map(len, rig.link.requests)) <= 1_000
        assert rig.state() == "up"
        assert rig.forwarder.counts.forwarded == 2_500


def test_nothing_is_sent_before_the_receiver_says_that_this_site_is_meant(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        rig.link.probed = lambda: "south"
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "refused")
        assert rig.forwarder.view().reason == (
            "the receiver identifies this relay by its token as site 'south', but eaves.yaml says site 'north'; "
            "set site: south, or use the token of north"
        )
        assert rig.link.requests == []
        rig.link.probed = lambda: "north"
        rig.wait_until_empty()
        assert rig.state() == "up"


def test_classes_are_served_by_their_urgency(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(event(1, data=b"jpeg", datacontenttype="image/jpeg"), lane=IMAGES)
        rig.put(event(2), event(3), lane=ARCHIVE)
        rig.put(event(4), lane=ALARMS)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-4", "id-2", "id-3", "id-1"]


def test_an_alarm_that_comes_in_goes_before_what_waits(tmp_path: Path) -> None:
    gate = threading.Semaphore(0)

    def answer(events: list[Event]) -> Answer:
        assert gate.acquire(timeout=10)
        return None

    with forwarding(tmp_path, *[event(number, data=b"x" * 60_000) for number in range(4)]) as rig:
        rig.link.answers = answer
        rig.forwarder.start()
        wait_until(lambda: rig.link.requests)
        rig.put(event(99), lane=ALARMS)
        for _ in range(5):
            gate.release()
        rig.wait_until_empty()
        assert rig.link.requests[1] == ["id-99"]


def test_newest_first_serves_each_class_from_its_newest_end(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(5)], newest_first=True) as rig:
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == [f"id-{number}" for number in (4, 3, 2, 1, 0)]


def test_an_answer_that_is_lost_makes_the_batch_come_again(tmp_path: Path) -> None:
    stored: list[str] = []

    def answer(events: list[Event]) -> Answer:
        repeated = sum(one.id in stored for one in events)
        stored.extend(one.id for one in events if one.id not in stored)
        if len(rig.link.requests) == 1:
            return lost()
        return BatchAnswer(stored=len(events) - repeated, repeated=repeated)

    with forwarding(tmp_path, *[event(number) for number in range(10)]) as rig:
        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty()
        assert stored == [f"id-{number}" for number in range(10)]
        assert rig.link.calls[:4] == ["probe", "send", "probe", "send"]
        assert rig.forwarder.counts.repeated == 10


def test_a_login_that_is_refused_waits_and_is_tried_again_for_ever(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        rig.link.probed = lambda: status_error(401)
        rig.forwarder.start()
        wait_until(lambda: rig.link.calls.count("probe") > 3, 20)
        view = rig.forwarder.view()
        assert (view.state.value, view.status, view.paused) == ("refused", 401, True)
        assert (rig.queued(), rig.dead(), rig.link.requests) == (1, {}, [])
        rig.link.probed = lambda: "north"
        rig.wait_until_empty()


def test_a_token_that_is_refused_meanwhile_gives_nothing_up(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(0)) as rig:
        rig.forwarder.start()
        rig.wait_until_empty()
        rig.link.answers = lambda events: status_error(401)
        rig.link.probed = lambda: status_error(401)
        rig.put(*[event(number) for number in range(1, 30)])
        wait_until(lambda: rig.state() == "refused")
        assert (rig.queued(), rig.dead()) == (29, {})
        rig.link.answers, rig.link.probed = lambda events: None, lambda: "north"
        rig.wait_until_empty()


def test_retry_after_is_honoured_and_can_be_cut_short(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        rig.link.answers = lambda events: status_error(429, retry_after_s=3_000.0)
        rig.forwarder.start()
        wait_until(lambda: rig.link.requests)
        left_s = wait_until(lambda: rig.forwarder.view().next_try_at - rig.clock.now())
        assert 50 < left_s <= 60
        rig.link.answers = lambda events: None
        rig.forwarder.try_now()
        rig.wait_until_empty(2.0)


def test_one_request_that_fails_on_a_good_link_does_not_make_it_down(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        rig.link.answers = lambda events: lost() if len(rig.link.requests) == 1 else None
        rig.forwarder.start()
        rig.wait_until_empty(2.0)
        assert rig.state() == "up"
        assert rig.link.calls == ["probe", "send", "probe", "send"]


def test_a_link_that_swallows_requests_and_answers_probes_is_down(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(50)]) as rig:
        rig.link.answers = lambda events: DeliveryError("no answer within 10 s")
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "down")
        assert rig.forwarder.view().reason == "no answer within 10 s"
        wait_until(lambda: len(rig.link.requests) > 3, 20)
        assert len(rig.link.requests[3]) < len(rig.link.requests[0])  # less each time, so that something gets through


def test_the_rate_is_kept_on_average_and_holds_no_probe_back(tmp_path: Path) -> None:
    image = event(1, data=os.urandom(10_000), datacontenttype="image/jpeg")
    with forwarding(tmp_path, image, rate_bytes=2_000) as rig:
        rig.forwarder.start()
        rig.wait_until_empty()
        wait_until(lambda: 4 < rig.forwarder.view().next_try_at - rig.clock.now() <= 6)  # 10 KB at 2 KB a second
        rig.put(event(2))
        rig.forwarder.try_now()
        assert rig.link.requests == [["id-1"]]


def test_it_is_probed_while_idle_so_that_its_state_is_true(tmp_path: Path) -> None:
    with forwarding(tmp_path, probe_s=0.05) as rig:
        rig.forwarder.start()
        wait_until(lambda: rig.link.calls.count("probe") > 2)
        assert rig.state() == "up"
        rig.link.probed = lost
        wait_until(lambda: rig.state() == "down")


def test_it_is_not_probed_while_idle_when_nobody_wants_that(tmp_path: Path) -> None:
    with forwarding(tmp_path, probe_s=0) as rig:
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "up")
        rig.put(event(1))
        rig.wait_until_empty()
        assert rig.link.calls == ["probe", "send"]


def test_a_clock_that_is_set_back_and_forth_changes_neither_order_nor_release(tmp_path: Path) -> None:
    clock = FrozenClock(1_700_000_000.0)
    with forwarding(tmp_path, clock=clock) as rig:
        for number, now in enumerate([1_700_000_000.0, 0.0, 1_900_000_000.0, 1_700_000_001.0]):
            clock._now = now
            rig.put(event(number))
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-0", "id-1", "id-2", "id-3"]


def test_a_clock_that_is_set_back_does_not_hold_what_was_set_aside(tmp_path: Path) -> None:
    clock = FrozenClock(1_900_000_000.0)
    with forwarding(tmp_path, *[event(number) for number in range(3)], clock=clock) as rig:
        rig.link.answers = poisoned({"id-0"}, lost)
        rig.forwarder.start()
        wait_until(lambda: rig.queued() == 1, 30)
        clock._now = 1_000_000_000.0
        rig.link.answers = lambda events: None
        rig.wait_until_empty()


def test_a_spool_that_can_not_be_written_releases_nothing_and_is_tried_again(tmp_path: Path) -> None:
    full = threading.Event()

    class Full(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if full.is_set() and sql == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Full)

    with forwarding(tmp_path, event(1), connect=connect) as rig:
        full.set()
        rig.forwarder.start()
        wait_until(lambda: "disk is full" in rig.forwarder.view().reason)
        assert rig.queued() == 1
        full.clear()
        rig.wait_until_empty()
        assert rig.link.stored.count("id-1") >= 2  # the receiver recognises it


def test_only_who_holds_the_lease_forwards(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        other = rig.spool.lease("link")
        assert other.acquire()
        rig.forwarder._leases = [rig.spool.lease("link")]
        rig.forwarder.start()
        time.sleep(0.05)
        assert rig.link.calls == []
        other.release()
        rig.wait_until_empty()


def test_stopping_ends_a_request_that_hangs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.put(event(1))

    def hang(events: list[Event]) -> Answer:
        rig.link.aborted.wait(60)
        return lost()

    rig.link.answers = hang
    rig.forwarder.start()
    wait_until(lambda: rig.link.requests)
    began = time.monotonic()
    assert rig.forwarder.stop(1.0)
    assert time.monotonic() - began < 20
    assert rig.queued() == 1
    rig.spool.close()


def test_a_redriven_dead_letter_is_sent_again(tmp_path: Path) -> None:
    from eaves.spool import Selection
    from eaves.spool.admin import redrive

    with forwarding(tmp_path, event(1)) as rig:
        rig.link.answers = refusing({"id-1"})
        rig.forwarder.start()
        wait_until(rig.dead)
        rig.link.answers = lambda events: None
        redrive(rig.spool, Selection(lane=ARCHIVE))
        rig.forwarder.try_now()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-1"]
