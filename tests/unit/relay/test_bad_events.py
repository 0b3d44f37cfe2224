"""Events that fail every request hold up no others, and are given up on once the others show that they are at fault."""

from __future__ import annotations

import itertools
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from eaves.events import Event
from eaves.relay.__main__ import LINK_PAUSES as PATIENCE
from eaves.relay.relay_lanes import ALARMS, ARCHIVE
from eaves.spool import Selection
from eaves.spool.admin import drop, retry_now
from tests.fakes.clock import FrozenClock
from tests.unit.relay.harness import Answer, FakeLink, Rig, event, forwarding, lost, poisoned, status_error
from tests.waiting import wait_until

BAD = [event(number) for number in range(40)]
GOOD = [event(number) for number in range(100, 400)]
BAD_IDS = {one.id for one in BAD}


class QuickClock:
    """Implements `eaves.base.clock.Clock`: a wait is over at once, and has taken its time.

    Attributes:
        elapsed_s: What has passed.
        jump_s: Seconds by which the wall clock was set.
    """

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.jump_s = 0.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.elapsed_s + self.jump_s

    def monotonic(self) -> float:
        return self.elapsed_s

    def wait(self, condition: threading.Condition, timeout_s: float) -> None:
        self.elapsed_s += max(timeout_s, 0.001)


class Traffic:
    """What a link answers while good events go on to come in, one in five seconds."""

    def __init__(self, rig: Rig, clock: QuickClock, fails: Any) -> None:
        self._rig = rig
        self._clock = clock
        self._answer = poisoned(BAD_IDS, fails)
        self._put = 0

    def __call__(self, events: list[Event]) -> Answer:
        self._clock.elapsed_s += 0.3
        while self._put < self._clock.elapsed_s / 5:
            self._rig.spool.put(event(1_000 + self._put), lanes=(ARCHIVE,))
            self._put += 1
        return self._answer(events)


def hurried(folder: Path, clock: QuickClock, **options: Any) -> Any:
    return forwarding(folder, clock=clock, backoff=PATIENCE, jitter=random.Random(1).random, probe_s=0, **options)


def good_ids(link: FakeLink) -> set[str]:
    return set(link.stored) & {one.id for one in GOOD}


@pytest.mark.parametrize(("status", "newest_first"), [(500, False), (500, True), (502, False), (504, True)])
def test_many_events_that_fail_hold_up_no_others_and_become_dead_letters(
    tmp_path: Path, status: int, newest_first: bool
) -> None:
    clock = QuickClock()
    with hurried(tmp_path, clock, newest_first=newest_first) as rig:
        rig.put(*BAD, *GOOD)
        rig.link.answers = Traffic(rig, clock, lambda: status_error(status))
        rig.forwarder.start()
        wait_until(lambda: len(good_ids(rig.link)) == len(GOOD), 30, what="the good ones")
        assert clock.elapsed_s < 300
        wait_until(lambda: rig.forwarder.attempts(ARCHIVE).get("dead", 0) == len(BAD), 60, what="the dead letters")
        assert clock.elapsed_s < 3_600
        assert set(rig.dead()) == BAD_IDS
        assert rig.state() == "up"


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_a_gateway_that_answers_502_to_any_request_has_nothing_given_up(tmp_path: Path, share: float) -> None:
    clock, chance = QuickClock(), random.Random(2)

    def answer(events: list[Event]) -> Answer:
        clock.elapsed_s += 0.3
        is_bad = clock.elapsed_s < 3_600 and chance.random() < share
        return status_error(502) if is_bad else None

    with hurried(tmp_path, clock) as rig:
        rig.put(*GOOD, *BAD, lane=ALARMS)
        rig.put(*[event(number) for number in range(1_000, 2_000)])
        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty(180)  # thousands of commits, each with a sync of the disk
        assert rig.dead() == {}


def test_alarms_that_fail_hold_up_no_archive_and_no_other_alarm(tmp_path: Path) -> None:
    clock = QuickClock()
    with hurried(tmp_path, clock) as rig:
        rig.put(*BAD, lane=ALARMS)
        rig.put(*GOOD)
        traffic, made = Traffic(rig, clock, lambda: status_error(500)), 0

        def answer(events: list[Event]) -> Answer:
            nonlocal made
            if not made and len(rig.spool.tried(ALARMS, 99)) == len(BAD):
                made = len(rig.link.requests)
                rig.spool.put(event(999), lanes=(ALARMS,))
            return traffic(events)

        rig.link.answers = answer
        rig.forwarder.start()
        wait_until(lambda: len(good_ids(rig.link)) == len(GOOD), 30, what="the archive")
        assert clock.elapsed_s < 300
        wait_until(lambda: "id-999" in rig.link.stored, 30, what="the alarm")
        assert rig.link.requests.index(["id-999"]) - made <= 3


def test_events_that_get_no_answer_hold_up_no_others_and_are_never_given_up(tmp_path: Path) -> None:
    clock = QuickClock()

    def hang() -> Exception:
        clock.elapsed_s += 10
        return lost()

    with hurried(tmp_path, clock) as rig:
        rig.put(*BAD, *GOOD)
        rig.link.answers = Traffic(rig, clock, hang)
        rig.forwarder.start()
        wait_until(lambda: len(good_ids(rig.link)) == len(GOOD), 30, what="the good ones")
        assert clock.elapsed_s < 1_800  # each hangs three times before it is known
        wait_until(lambda: len(rig.link.requests) > 600, 30)
        lately = rig.link.requests[400:600]
        assert sum(not BAD_IDS & set(ids) for ids in lately) > 90
        assert rig.dead() == {}


def test_the_reason_of_a_link_that_is_down_names_the_event(tmp_path: Path) -> None:
    with forwarding(tmp_path, *BAD[:5]) as rig:
        rig.link.answers = lambda events: status_error(500)
        rig.forwarder.start()
        named = re.compile(r"event id-\d of /eaves/north/flowers: answered 500")
        wait_until(lambda: named.fullmatch(rig.forwarder.view().reason))


@pytest.mark.parametrize("jump_s", [-1e9, 1e9, -90.0])
def test_a_clock_that_jumps_makes_no_pause_longer_than_a_minute(tmp_path: Path, jump_s: float) -> None:
    clock = QuickClock()
    with hurried(tmp_path, clock) as rig:
        tried: list[float] = []

        def answer(events: list[Event]) -> Answer:
            tried.append(clock.elapsed_s)
            clock.jump_s += jump_s
            return lost() if len(tried) < 12 else None

        rig.link.answers = answer
        rig.put(event(1))
        rig.forwarder.start()
        rig.wait_until_empty()
        pauses = [after - before for before, after in itertools.pairwise(tried)]
        assert max(pauses) < 63
        assert max(pauses) > 20


def test_what_failed_before_the_relay_was_killed_is_tried_at_its_start(tmp_path: Path) -> None:
    clock = FrozenClock(2e9)
    with forwarding(tmp_path, event(1), clock=clock) as rig:
        entry = rig.spool.peek(ARCHIVE)[0]
        rig.spool.retry(entry, 2e9 + 3_000, "answered 500")
        clock._now = 1_000.0
        rig.forwarder.start()
        rig.wait_until_empty(5.0)


def test_an_operator_can_have_what_failed_tried_now(tmp_path: Path) -> None:
    clock = FrozenClock()
    with forwarding(tmp_path, event(1), clock=clock, jitter=lambda: 1e3) as rig:  # pauses of minutes
        rig.link.answers = poisoned({"id-1"}, lambda: status_error(500))
        rig.forwarder.start()
        wait_until(lambda: rig.forwarder.attempts(ARCHIVE).get("retried"), 20)
        rig.link.answers = lambda events: None
        assert retry_now(rig.spool, Selection()) == 1
        rig.forwarder.try_now()
        rig.wait_until_empty(10.0)


def test_what_was_purged_while_parts_of_it_were_sent_is_sent_no_further(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        parts = threading.Semaphore(2)

        def wait() -> None:
            assert parts.acquire(timeout=10)

        rig.link.part_answers = wait
        rig.put(event(1, data=random.Random(1).randbytes(1_000_000), datacontenttype="image/jpeg"))
        rig.forwarder.start()
        wait_until(lambda: len(rig.link.parts) == 3)
        drop(rig.spool, Selection())
        for _ in range(99):
            parts.release()
        rig.put(event(2))
        rig.wait_until_empty()
        assert rig.link.stored == ["id-2"]
        assert len(rig.link.parts) == 3


def test_a_large_event_of_which_a_part_was_sent_is_dropped_for_no_other(tmp_path: Path) -> None:
    with forwarding(tmp_path) as rig:
        rig.put(event(1, data=random.Random(1).randbytes(300_000), datacontenttype="image/jpeg"))
        alarm = event(2)

        def fail_alarm(events: list[Event]) -> Answer:
            return status_error(500) if [one.id for one in events] == ["id-2"] else None

        rig.link.answers = fail_alarm

        def put_alarm() -> None:
            if len(rig.link.parts) == 3:
                rig.put(alarm, lane=ALARMS)

        rig.link.part_answers = put_alarm
        rig.forwarder.start()
        wait_until(lambda: "id-1" in rig.link.stored, 20)
        assert [part for part in rig.link.parts if part[1] == 0] == [(0, 0)], "it was asked for once"
