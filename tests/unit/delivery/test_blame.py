"""A lane that never gives up: what pauses it, which events it gives up on, and what an idle one costs."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.base.backoff import UNLIMITED, Backoff
from eaves.delivery import SinkResponse
from eaves.delivery.response_rules import EVENT_PROBLEMS
from eaves.errors import DeliveryError, EavesError, EventError, InputError, InterceptedError, UnreachableError
from eaves.events import Event
from eaves.problem_document import build_problem, error_type
from eaves.spool import Selection, Spool, SpoolLimits, WhenFull
from eaves.spool.admin import retry_now
from tests.fakes.clock import ManualClock
from tests.unit.delivery.harness import (
    FOR_EVER,
    NOW,
    TAKEN,
    FailingDisk,
    Sink,
    Wall,
    delivering,
    forward,
    image,
    reply_to,
)
from tests.waiting import wait_until

ROUNDS = 10
"""Refusals after which an event that is refused alone is given up on."""
IN_AN_HOUR = Backoff(retry=None, first_s=3600.0, cap_s=3600.0)
LIMITED = Backoff(retry=2, first_s=0.001, cap_s=0.01)
BAD_IMAGE = SinkResponse(status=422, body=build_problem(422, "not an image", kind="image"))


def put(spool: Spool, count: int) -> None:
    spool.put_many([(image(number), ("out",)) for number in range(count)])


@pytest.mark.parametrize(
    "answer",
    [DeliveryError("no answer"), *(SinkResponse(status=status) for status in (301, 403, 404, 407, 429, 503))],
    ids=lambda answer: str(getattr(answer, "status", answer)),
)
def test_an_answer_about_the_way_pauses_the_lane_and_keeps_every_entry(live: Spool, answer: SinkResponse | Exception):
    put(live, 300)
    sink = Sink(answer)
    backoff = Backoff(retry=None, first_s=0.02, cap_s=3600.0)
    with delivering(live, sink, backoff=backoff, parallel=4) as lane:
        wait_until(lambda: len(lane.attempts) >= 7)
        assert live.counts() == {"out": (300, 0)}
    assert len(set(sink.got[4:])) == len(sink.got[4:]), "another entry is tried each time"


def test_a_paused_lane_says_why_and_since_when_and_what_is_next(spool: Spool):
    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=403, body=b"not you")), backoff=IN_AN_HOUR) as lane:
        found = wait_until(lambda: lane.status().paused and lane.status())
    assert found
    assert (found.reason, found.status, found.since) == ("answered 403: not you", 403, NOW)
    assert NOW + 1700 < (found.next_try_at or 0) <= NOW + 3600


@pytest.mark.parametrize(("status", "parallel"), [(403, 4), (414, 1), (500, 4), (502, 1)])
def test_one_entry_that_is_always_refused_among_300_good_ones_is_given_up_on(live: Spool, status: int, parallel: int):
    put(live, 301)
    wall = Wall(SinkResponse(status=status, body=b"too long"), "id-7")
    with delivering(live, wall, backoff=FOR_EVER, parallel=parallel):
        wait_until(lambda: live.counts().get("out", (0, 0))[1] == 1 or live.depth() == 1)
        for number in range(301, 305):  # what comes later shows that the way works
            live.put(image(number))
            wait_until(lambda: live.depth() <= 1)
        wait_until(lambda: live.depth() == 0)
    assert len(wall.counted) == 305
    [letter] = live.dead()
    assert (letter.entry.event.id, letter.status) == ("id-7", status)
    assert ROUNDS <= wall.counted["id-7"] < ROUNDS + 2


def test_many_bad_entries_in_a_row_do_not_hide_the_good_one_behind_them(live: Spool):
    put(live, 100)
    wall = Wall(SinkResponse(status=431), *(f"id-{number}" for number in range(99)))
    with delivering(live, wall, backoff=Backoff(retry=None, first_s=0.1, cap_s=3600.0)) as lane:
        wait_until(lambda: "delivered" in lane.outcomes())
    assert len(lane.attempts) < 10


def test_a_way_that_fails_half_of_the_time_costs_no_entry(live: Spool):
    """One of two replicas that refuses everything must not make dead letters of what the other would take."""
    put(live, 300)
    chance = random.Random(7)
    wall = Wall(SinkResponse(status=403), down=lambda _number: chance.random() < 0.5)
    with delivering(live, wall, backoff=FOR_EVER, parallel=4):
        wait_until(lambda: live.depth() == 0, 60)
    assert live.counts() == {}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, build_problem(400, "the request can't be parsed")),
        (403, b""),
        (415, b'{"type": "about:blank"}'),
        (422, b""),
    ],
)
def test_an_outage_and_the_status_of_a_proxy_are_held_against_no_entry(live: Spool, status: int, body: bytes):
    """Refused a hundred times while nothing gets through, and taken when the receiver is back."""
    put(live, 20)
    wall = Wall(SinkResponse(status=status, body=body), down=lambda number: number <= 100 or number == 110)
    with delivering(live, wall, backoff=FOR_EVER):
        wait_until(lambda: live.depth() == 0, 60)
    assert live.counts() == {}


def test_what_reached_nobody_is_never_held_against_an_entry(live: Spool):
    put(live, 300)
    left = 12

    def send(event: Event) -> SinkResponse:
        nonlocal left
        if event.id == "id-0" and left:
            left -= 1
            raise UnreachableError("no connection")
        return TAKEN

    with delivering(live, send, backoff=FOR_EVER):
        for number in range(300, 400):
            live.put(image(number))
        wait_until(lambda: live.depth() == 0, 60)
    assert (left, live.counts()) == (0, {})


@pytest.mark.parametrize("backoff", [FOR_EVER, LIMITED], ids=["for ever", "limited"])
def test_an_image_that_a_firewall_answers_with_its_page_lets_the_others_pass(live: Spool, backoff: Backoff):
    counted = Counter[str]()

    def send(event: Event) -> SinkResponse:
        counted[event.id] += 1
        if event.id == "id-0":
            raise InterceptedError("answered 200 with a web page")
        return TAKEN

    put(live, 6)
    with delivering(live, send, backoff=backoff):
        wait_until(lambda: counted["id-0"] > 5)
        assert live.counts() == {"out": (1, 0)}


def test_after_a_failure_one_entry_is_tried_at_a_time(live: Spool):
    put(live, 20)
    lock, active, seen = threading.Lock(), 0, []

    def send(event: Event) -> SinkResponse:
        nonlocal active
        with lock:
            active += 1
            seen.append(active)
        threading.Event().wait(0.01)
        with lock:
            active -= 1
        return SinkResponse(status=503)

    with delivering(live, send, backoff=Backoff(retry=None, first_s=0.02, cap_s=0.02), parallel=4):
        wait_until(lambda: len(seen) >= 12)
    assert seen[4:] == [1] * len(seen[4:])


def test_what_may_be_the_events_fault_lets_the_next_be_tried_at_once(spool: Spool):
    put(spool, 2)
    with delivering(spool, Sink(SinkResponse(status=500), TAKEN), backoff=IN_AN_HOUR) as lane:
        wait_until(lambda: len(lane.attempts) == 2)
    assert lane.outcomes() == ["retried", "delivered"]


@pytest.mark.parametrize(
    "answer",
    [
        SinkResponse(status=413, body=build_problem(413, "no", kind="http-413")),
        SinkResponse(status=502, body=BAD_IMAGE.body),  # by a gateway
        EventError("missing attribute"),
    ],
    ids=["413", "502", "it can't be sent"],
)
def test_an_event_that_a_server_of_eaves_refuses_is_a_dead_letter_at_once(
    spool: Spool, answer: SinkResponse | Exception
):
    put(spool, 2)
    with delivering(spool, Sink(answer, TAKEN), backoff=FOR_EVER) as lane:
        wait_until(lambda: len(lane.attempts) == 2)
    assert lane.outcomes() == ["dead", "delivered"]


def test_the_problem_types_of_bad_events_are_those_of_functions():
    def subclasses(cls: type[EavesError]) -> Iterator[type[EavesError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from subclasses(sub)

    of_training = {"dataset", "run", "label-conflict"}
    serving = {error_type(cls) for cls in subclasses(InputError)} - of_training
    assert serving | {"http-413"} == EVENT_PROBLEMS


@pytest.mark.parametrize(
    ("answer", "backoff"),
    [
        (SinkResponse(status=409), FOR_EVER),
        (SinkResponse(status=413, retry_after_s=0.0), FOR_EVER),
        (SinkResponse(status=429), FOR_EVER),
        (SinkResponse(status=503, retry_after_s=0.0), LIMITED),
    ],
    ids=["409", "413", "429", "a broker's 503"],
)
def test_an_answer_that_asks_for_the_event_later_is_no_evidence_against_it(
    live: Spool, answer: SinkResponse, backoff: Backoff
):
    """It is kept while it is refused for long and others succeed, and is delivered afterwards."""
    wall = Wall(answer, "id-0")
    live.put(image(0))
    with delivering(live, wall, backoff=backoff):
        for number in range(1, 100):
            live.put(image(number))
            wait_until(lambda: live.depth() <= 1)
        wait_until(lambda: wall.counted["id-0"] > 3 * ROUNDS, 60)
        assert live.counts() == {"out": (1, 0)}
        wall.refused.clear()
        wait_until(lambda: live.depth() == 0)
    assert live.counts() == {}


def test_large_images_that_a_busy_receiver_puts_off_hold_up_no_small_ones(live: Spool):
    """It has no room for large ones, and asks for each again in half a minute; 40 of them come first."""
    wall = Wall(SinkResponse(status=429, retry_after_s=30.0), *(f"id-{number}" for number in range(40)))
    live.put_many([(image(number), ("out",)) for number in range(140)])
    with delivering(live, wall, backoff=UNLIMITED, parallel=4):
        wait_until(lambda: live.depth() == 40, 20)
        assert wall.counted.total() < 250, "a large one isn't sent again before its time"
    assert live.counts() == {"out": (40, 0)}


def test_where_a_prediction_is_asked_for_a_success_without_one_is_a_failure(live: Spool):
    live.put(image())
    nothing = (
        SinkResponse(status=200),
        SinkResponse(status=204),
        SinkResponse(status=200, fault="no ce-id"),
        SinkResponse(status=200, body=b"<html>welcome to the hotel</html>"),
    )
    sink = Sink(*nothing, SinkResponse(status=200, event=reply_to(image())))
    with delivering(live, sink, backoff=FOR_EVER, on_reply=forward, reply_required=True) as lane:
        wait_until(lambda: len(lane.attempts) == 5)
    assert lane.outcomes() == ["retried"] * 4 + ["delivered"]
    assert live.counts() == {"replies": (1, 0)}


def test_202_says_that_there_is_no_prediction(spool: Spool):
    spool.put(image())
    with delivering(spool, Sink(TAKEN), on_reply=forward, reply_required=True) as lane:
        wait_until(lambda: lane.attempts)
    assert lane.outcomes() == ["delivered"]


def test_a_brokers_subscriber_may_say_nothing_but_not_nonsense(spool: Spool):
    put(spool, 2)
    sink = Sink(SinkResponse(status=200), SinkResponse(status=200, fault="no ce-id"))
    with delivering(spool, sink, backoff=Backoff(retry=0), on_reply=forward) as lane:
        wait_until(lambda: len(lane.attempts) == 2)
    assert lane.outcomes() == ["delivered", "dead"]


def test_an_entry_that_the_budget_of_dead_letters_refuses_backs_off_and_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    limits = SpoolLimits(dead_max_bytes=10, dead_when_full=WhenFull.REFUSE)
    wall, clock = Wall(BAD_IMAGE, "id-0"), ManualClock()
    with Spool(tmp_path / "spool.db", limits=limits, clock=clock) as spool:
        put(spool, 100)
        with delivering(spool, wall, backoff=Backoff(retry=None, first_s=1.0, cap_s=3600.0)) as lane:
            wait_until(lambda: "the limit for dead letters is reached" in lane.status().reason)
            for _ in range(10):
                wait_until(lambda: clock.waiting)
                clock.turn(1.0)
            wait_until(lambda: spool.depth() == 1)
        assert spool.counts() == {"out": (1, 0)}
    assert wall.counted.total() < 110
    assert not [record for record in caplog.records if "gave up" in record.getMessage()]


def test_an_idle_lane_asks_the_file_once_a_second_however_many_it_may_send_at_once(tmp_path: Path):
    clock, disk = ManualClock(), FailingDisk()
    before = threading.active_count()
    with Spool(tmp_path / "spool.db", clock=clock, connect=disk.connect) as spool, ExitStack() as stack:
        for number in range(3):
            stack.enter_context(delivering(spool, Sink(TAKEN), lane=f"lane-{number}", parallel=16))
        wait_until(lambda: clock.waiting == 3)
        assert threading.active_count() == before + 3
        disk.statements = 0
        for _ in range(60):
            clock.turn(1.0)
            wait_until(lambda: clock.waiting == 3)
        assert disk.statements <= 60 + 2 * 3 * 3, "all lanes together each second, and each lane every 30"


def test_a_pause_can_be_cut_short_for_one_attempt(tmp_path: Path):
    sink = Sink(SinkResponse(status=403), SinkResponse(status=403), TAKEN)
    with Spool(tmp_path / "spool.db", clock=ManualClock(NOW)) as spool:
        spool.put(image())
        with delivering(spool, sink, backoff=IN_AN_HOUR) as lane:
            for attempts in (1, 2):
                wait_until(lambda: lane.status().paused and len(sink.got) == attempts, what="the pause")  # noqa: B023
                retry_now(spool, Selection())
                lane.try_now()
            wait_until(lambda: spool.depth() == 0, what="the delivery")
            assert not lane.status().paused


def in_bucket(number: int) -> Event:
    return replace(image(number), data=b"").with_extensions(dataref="https://store.example/a.jpg")


DENIED = SinkResponse(status=503, body=b'{"type": "urn:eaves:problem:claim-denied"}')


@pytest.mark.parametrize("backoff", [FOR_EVER, LIMITED], ids=["agent", "broker"])
def test_images_in_a_bucket_that_refuses_the_key_wait_while_others_are_delivered(live: Spool, backoff: Backoff):
    function = Wall(DENIED, "id-0", "id-1")
    live.put_many([(in_bucket(number), ("out",)) for number in range(2)])
    with delivering(live, function, backoff=backoff):
        for number in range(10, 100):
            live.put(image(number))
            wait_until(lambda: live.depth() <= 2, 20)
        wait_until(lambda: min(function.counted[name] for name in ("id-0", "id-1")) > 12, 60)
        assert live.counts() == {"out": (2, 0)}
        function.refused.clear()  # the key is corrected
        wait_until(lambda: live.depth() == 0)
    assert live.dead() == []


def test_one_object_that_is_refused_while_others_of_its_bucket_are_fetched_is_given_up_on(live: Spool):
    function = Wall(DENIED, "id-0")
    live.put(in_bucket(0))
    with delivering(live, function, backoff=FOR_EVER):
        for number in range(10, 100):
            live.put(in_bucket(number))
            wait_until(lambda: live.depth() <= 1, 20)
        wait_until(lambda: live.depth() == 0)
    assert [letter.entry.event.id for letter in live.dead()] == ["id-0"]
