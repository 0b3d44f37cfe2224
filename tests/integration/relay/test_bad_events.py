"""Events that fail every request hold up no others, and are given up on once the others show that they are at fault."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from eaves.events import Event
from eaves.link.settings import ALARMS, ARCHIVE, IMAGES
from tests.fakes.http.receiver import Reply, Script
from tests.integration.relay.harness import (
    LOST,
    QuickClock,
    Rig,
    event,
    failing,
    forwarding,
    names,
    picture,
    poisoned,
    refusing,
)
from tests.waiting import wait_until

BAD = [event(number) for number in range(20)]
GOOD = [event(number) for number in range(100, 300)]
BAD_IDS, GOOD_IDS = ({one.id for one in events} for events in (BAD, GOOD))


def hurried(folder: Path, clock: QuickClock, **options: Any) -> Any:
    return forwarding(folder, clock=clock, jitter=random.Random(1).random, probe_s=0, starts=False, **options)


def script_of(rig: Rig, clock: QuickClock, reply: Reply, *, takes_s: float = 0.3) -> Script:
    """Bad events fail, good ones go on to come in, one in five seconds."""
    put = 0

    def fail() -> Reply:
        clock.elapsed_s += takes_s
        return reply

    answer_bad = poisoned(BAD_IDS, fail)

    def answer(events: list[Event]) -> Reply | None:
        nonlocal put
        clock.elapsed_s += 0.3
        while put < clock.elapsed_s / 5:
            rig.spool.put(event(1_000 + put), lanes=(ARCHIVE,))
            put += 1
        return answer_bad(events)

    return answer


def wait_for_the_good_ones(rig: Rig) -> None:
    wait_until(lambda: set(rig.stored()) >= GOOD_IDS, 30, what="the good ones")


@pytest.mark.parametrize(("status", "newest_first"), [(500, False), (504, True)])
def test_many_events_that_fail_hold_up_no_others_and_become_dead_letters(
    tmp_path: Path, status: int, newest_first: bool
):
    clock = QuickClock()
    with hurried(tmp_path, clock, newest_first=newest_first) as rig:
        rig.put(*BAD, *GOOD)
        rig.receiver.script = script_of(rig, clock, Reply(status=status))
        rig.start()
        wait_for_the_good_ones(rig)
        assert clock.elapsed_s < 300
        wait_until(lambda: rig.attempts(ARCHIVE).get("dead", 0) == len(BAD), 60, what="the dead letters")
        assert clock.elapsed_s < 3_600
        assert set(rig.dead()) == BAD_IDS
        assert rig.state() == "up"


def test_events_that_get_no_answer_hold_up_no_others_and_are_never_given_up(tmp_path: Path):
    clock = QuickClock()
    with hurried(tmp_path, clock) as rig:
        rig.put(*BAD, *GOOD)
        rig.receiver.script = script_of(rig, clock, LOST, takes_s=10)
        rig.start()
        wait_for_the_good_ones(rig)
        assert clock.elapsed_s < 1_800  # each hangs three times before it is known
        wait_until(lambda: len(rig.receiver.requests) > 400, 30)
        assert sum(not BAD_IDS & set(ids) for ids in rig.requests()[300:400]) > 40
        assert rig.dead() == {}


@pytest.mark.parametrize("reply", [LOST, Reply(status=503)])
def test_nothing_is_given_up_on_while_the_receiver_fails(tmp_path: Path, reply: Reply):
    with forwarding(tmp_path, *BAD, starts=False) as rig:
        rig.receiver.script, rig.receiver.site_reply = (lambda events: reply), (lambda: reply)
        rig.start()
        wait_until(lambda: rig.state() == "down")
        rig.receiver.site_reply = lambda: None
        rig.try_now()
        wait_until(lambda: len(rig.receiver.requests) > 2)
        assert (rig.queued(), rig.dead()) == (20, {})
        rig.receiver.script = lambda events: None
        rig.wait_until_empty()
        assert set(rig.stored()) == BAD_IDS


def test_a_request_that_is_too_large_is_halved_until_only_the_large_event_is_kept_apart(tmp_path: Path):
    events = [event(number) for number in range(64)]
    events[40] = event(40, data=f'"{os.urandom(60_000).hex()}"'.encode())
    with forwarding(tmp_path, *events, starts=False) as rig:
        rig.receiver.script = poisoned({"id-40"}, Reply(status=413))
        rig.start()
        rig.wait_until_empty()
        assert list(rig.dead()) == ["id-40"]
        assert rig.receiver.calls.count("probe") == 2  # at the start, and about the one event
        assert rig.stored() == names(*(number for number in range(64) if number != 40))
        assert rig.state() == "up"


@pytest.mark.parametrize("status", [302, 403, 422, 429, 503])
def test_one_event_that_fails_every_request_lets_the_others_pass(tmp_path: Path, status: int):
    with forwarding(tmp_path, *BAD[:8], starts=False) as rig:
        rig.receiver.script = poisoned({"id-3"}, Reply(status=status))
        rig.start()
        wait_until(lambda: rig.queued() == 1, 30, what="the others")
        assert rig.dead() == {}
        assert "id-3" not in rig.stored()


@pytest.mark.parametrize("status", [403, 409])
def test_a_picture_that_is_refused_as_it_is_goes_as_a_batch_whose_answer_says_why(tmp_path: Path, status: int):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(picture(1, 25_000), lane=IMAGES)
        rig.receiver.script = lambda events: Reply(
            status=status if len(rig.requests()) == 1 else 200,
            refused=None if len(rig.requests()) == 1 else {"id-1": 409},
        )
        rig.start()
        rig.wait_until_empty(5)
        assert rig.dead() == {"id-1": "the receiver refuses the event (409): not yours"}
        assert rig.receiver.calls == ["probe", "send", "send"]
        assert rig.state() == "up"


def test_a_picture_that_was_packed_ahead_goes_as_a_batch_too(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        events = [event(number, data=f'"{os.urandom(400).hex()}"'.encode()) for number in range(10, 70)]
        rig.put(*events, picture(1, 25_000))
        rig.receiver.script = lambda events: Reply(status=422) if rig.receiver.sizes[-1] == 25_000 else None
        rig.start()
        rig.wait_until_empty(5)
        assert rig.receiver.calls == ["probe", "send", "send", "send"]


def test_a_proxy_that_refuses_everything_from_now_on_buries_nothing(tmp_path: Path):
    with forwarding(tmp_path, event(0)) as rig:
        rig.wait_until_empty()
        rig.receiver.script, rig.receiver.site_reply = failing(413), lambda: Reply(status=413)
        rig.put(event(1, data=f'"{os.urandom(60_000).hex()}"'.encode()))
        wait_until(lambda: rig.receiver.calls.count("probe") > 4)
        assert (rig.state(), rig.queued(), rig.dead()) == ("down", 1, {})
        rig.receiver.script, rig.receiver.site_reply = (lambda events: None), lambda: None
        rig.wait_until_empty()


def test_an_event_of_another_site_that_was_queued_again_becomes_a_dead_letter_and_lets_others_pass(
    tmp_path: Path,
):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(event(0, source="/eaves/other/flowers"), lane=ALARMS)
        rig.put(*map(event, range(1, 4)))
        rig.receiver.script = refusing(lambda one: one.source.startswith("/eaves/other/"), 403)
        rig.start()
        rig.wait_until_empty()
        assert list(rig.dead()) == ["id-0"]
        assert rig.stored() == names(1, 2, 3)


def test_a_picture_that_a_proxy_finds_too_large_goes_in_parts(tmp_path: Path):
    with forwarding(tmp_path, starts=False) as rig:
        rig.put(*(picture(number, size) for number, size in enumerate((40_000, 90_000, 150_000))), lane=IMAGES)
        rig.receiver.script = lambda events: (
            Reply(status=413) if rig.receiver.sizes[-1] > 100_000 and not rig.receiver.parts else None
        )
        rig.start()
        rig.wait_until_empty()
        assert (set(rig.stored()), rig.dead()) == (set(names(0, 1, 2)), {})
