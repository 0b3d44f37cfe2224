"""What is forwarded over a link that fails in every way: order, urgency, releases, pauses, clocks."""

import itertools
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from eaves.events import Event
from eaves.link.settings import ALARMS, ARCHIVE, FEDERATION, IMAGES
from tests.fakes.clock import FrozenClock
from tests.fakes.http.receiver import Reply
from tests.integration.relay.harness import (
    LOST,
    QuickClock,
    event,
    forwarding,
    names,
    picture,
    poisoned,
)
from tests.waiting import wait_until


def events(count: int) -> list[Event]:
    return [event(number) for number in range(count)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_what_fails_and_what_overtakes_changes_nothing_of_the_order(tmp_path: Path, newest_first: bool):
    count, made = 4_000, 0

    def answer(batch: list[Event]) -> Reply | None:
        nonlocal made
        made += 1
        if made % 5 == 2:
            rig.spool.put(event(count + made), lanes=(ALARMS,))
        return {3: LOST, 7: Reply(status=503), 11: Reply(status=500), 15: Reply(status=413)}.get(made % 16)

    with forwarding(tmp_path, *events(count), newest_first=newest_first, starts=False) as rig:
        rig.receiver.script = answer
        rig.start()
        rig.wait_until_empty(60)
        archive = [one for one in rig.stored() if int(one[3:]) < count]
        assert archive == (names(*range(count))[::-1] if newest_first else names(*range(count)))
        assert rig.dead() == {}
        assert max(map(len, rig.requests())) <= 1_000


def test_nothing_is_sent_before_the_receiver_says_that_this_site_is_meant(tmp_path: Path):
    with forwarding(tmp_path, event(1), starts=False) as rig:
        rig.receiver.site = "south"
        rig.start()
        wait_until(lambda: rig.state() == "refused")
        assert rig.view().reason == (
            "the receiver identifies this relay by its token as site 'south', but eaves.yaml says site 'north'; "
            "set site: south, or use the token of north"
        )
        assert rig.requests() == []
        rig.receiver.site = "north"
        rig.wait_until_empty()
        assert rig.state() == "up"


def test_classes_are_served_by_their_urgency(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1, 4), lane=IMAGES)
        rig.put(event(5), lane=FEDERATION)
        rig.put(event(2), event(3), lane=ARCHIVE)
        rig.put(event(4), lane=ALARMS)
        rig.start()
        rig.wait_until_empty()
        assert rig.stored() == names(4, 2, 3, 5, 1)


def test_an_alarm_that_comes_in_goes_before_what_waits(tmp_path: Path):
    gate = threading.Semaphore(0)

    def wait(_: list[Event]) -> None:
        assert gate.acquire(timeout=10)

    large = [event(number, data=b"x" * 60_000) for number in range(4)]
    with forwarding(tmp_path, *large, starts=False) as rig:
        rig.receiver.script = wait
        rig.start()
        wait_until(rig.requests)
        rig.put(event(99), lane=ALARMS)
        gate.release(5)
        rig.wait_until_empty()
        assert rig.requests()[1] == ["id-99"]


def test_an_answer_that_is_lost_makes_the_batch_come_again(tmp_path: Path):
    with forwarding(tmp_path, *events(10), starts=False) as rig:
        stored = Reply(body=b"x", cut_after=0, store=True)
        rig.receiver.script = lambda batch: stored if len(rig.requests()) == 1 else None
        rig.start()
        rig.wait_until_empty(2.0)
        assert rig.stored() == names(*range(10))
        assert rig.receiver.calls[:4] == ["probe", "send", "probe", "send"]
        wait_until(lambda: rig.counts().repeated == 10)
        assert rig.state() == "up", "one failure on a good link doesn't make it down"


def test_a_token_that_is_refused_waits_and_gives_nothing_up(tmp_path: Path):
    with forwarding(tmp_path, event(0)) as rig:
        rig.wait_until_empty()
        right, rig.receiver.token = rig.receiver.token, "another"
        rig.put(*events(30)[1:])
        wait_until(lambda: rig.state() == "refused" and rig.receiver.calls.count("probe") > 3)
        assert (rig.view().status, rig.view().paused) == (401, True)
        assert (rig.queued(), rig.dead()) == (29, {})
        rig.receiver.token = right
        rig.wait_until_empty()


def test_retry_after_is_honoured_for_a_minute_at_most_and_can_be_cut_short(tmp_path: Path):
    with forwarding(tmp_path, event(1), starts=False) as rig:
        rig.receiver.script = lambda batch: Reply(status=429, headers={"Retry-After": "3000"})
        rig.start()
        wait_until(rig.requests)
        wait_until(lambda: 50 < rig.view().next_try_at - rig.clock.now() <= 60)
        rig.receiver.script = lambda batch: None
        rig.try_now()
        rig.wait_until_empty(2.0)


def test_a_link_that_swallows_requests_and_answers_probes_is_down(tmp_path: Path):
    with forwarding(tmp_path, *events(50), starts=False) as rig:
        rig.receiver.script = lambda batch: LOST
        rig.start()
        wait_until(lambda: rig.state() == "down")
        since = rig.view().since
        wait_until(lambda: len(rig.requests()) > 3, 20)
        assert len(rig.requests()[3]) < 50, "less each time, so that something gets through"
        rig.receiver.site_reply = lambda: Reply(status=502, body=b"gone")
        wait_until(lambda: "answered 502" in rig.view().reason)
        assert rig.view().since == since, "it went down before"


def test_the_rate_is_kept_on_average(tmp_path: Path):
    with forwarding(tmp_path, picture(1, 10_000), rate_bytes=2_000) as rig:
        rig.wait_until_empty()
        wait_until(lambda: 4 < rig.view().next_try_at - rig.clock.now() <= 6)  # 10 KB at 2 KB a second
        rig.put(event(2))
        rig.try_now()
        assert rig.requests() == [["id-1"]]


def test_it_is_probed_while_idle_so_that_its_state_is_true(tmp_path: Path):
    with forwarding(tmp_path, probe_s=0.05) as rig:
        wait_until(lambda: rig.receiver.calls.count("probe") > 1)
        assert rig.state() == "up"
        rig.receiver.site_reply = lambda: Reply(status=503)
        wait_until(lambda: rig.state() == "down")


@pytest.mark.parametrize("jump_s", [-1e9, 1e9])
def test_a_clock_that_jumps_makes_no_pause_longer_than_a_minute(tmp_path: Path, jump_s: float):
    clock, tried = QuickClock(), list[float]()

    def answer(_: list[Event]) -> Reply | None:
        tried.append(clock.elapsed_s)
        clock.jump_s += jump_s
        return LOST if len(tried) < 12 else None

    patient = random.Random(1).random
    with forwarding(tmp_path, event(1), clock=clock, jitter=patient, probe_s=0, starts=False) as rig:
        rig.receiver.script = answer
        rig.start()
        rig.wait_until_empty()
        pauses = [after - before for before, after in itertools.pairwise(tried)]
        assert 20 < max(pauses) < 63


def test_a_clock_that_is_set_back_does_not_hold_what_was_set_aside(tmp_path: Path):
    clock = FrozenClock(1_900_000_000.0)
    with forwarding(tmp_path, *events(3), clock=clock, starts=False) as rig:
        rig.receiver.script = poisoned({"id-0"}, LOST)
        rig.start()
        wait_until(lambda: rig.queued() == 1, 30)
        clock._now = 1_000_000_000.0
        rig.receiver.script = lambda batch: None
        rig.wait_until_empty()


def test_a_spool_that_can_not_be_written_releases_nothing_and_is_tried_again(tmp_path: Path):
    full = threading.Event()

    class Full(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if full.is_set() and sql == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Full)

    with forwarding(tmp_path, event(1), connect=connect, starts=False) as rig:
        full.set()
        rig.start()
        wait_until(lambda: "disk is full" in rig.view().reason)
        assert rig.queued() == 1
        full.clear()
        rig.wait_until_empty()
        assert len(rig.receiver.repeated) >= 1, "the receiver recognises it"
