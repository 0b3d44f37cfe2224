"""A lane that never gives up: what pauses it, what makes a dead letter, and what an idle one costs."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM
from eaves.delivery import (
    Deliverer,
    DeliveryOutcome,
    EventSender,
    SinkResponse,
)
from eaves.delivery.evidence import ROUNDS
from eaves.delivery.response_rules import EVENT_PROBLEMS
from eaves.errors import (
    EavesError,
    InputError,
    SpoolError,
    UnreachableError,
)
from eaves.events import Event
from eaves.spool import Entry, Selection, Spool, SpoolLimits, WhenFull
from eaves.spool.admin import retry_now
from eaves.web.problem_document import build_problem, error_type
from tests.fakes.clock import ManualClock
from tests.unit.delivery.harness import (
    FOR_EVER,
    FROZEN,
    NOW,
    Sink,
    delivering,
    forward,
    image,
    outcomes,
    reply_to,
)
from tests.waiting import wait_until


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 407, 410, 429, 502, 503, 504])
def test_an_answer_about_the_way_pauses_the_lane_and_keeps_every_entry(spool: Spool, status: int) -> None:
    for number in range(300):
        spool.put(image(number))
    sink = Sink(SinkResponse(status=status, body=b"who are you?"))
    backoff = Backoff(retry=None, first_s=0.02, cap_s=3600.0)
    with delivering(spool, sink, backoff=backoff, parallel=4, clock=SYSTEM) as attempts:
        wait_until(lambda: len(attempts) >= 7)
        assert spool.counts() == {"out": (300, 0)}
    assert len(set(sink.got[4:])) == len(sink.got[4:]), "another entry is tried each time"


def test_a_paused_lane_says_why_and_since_when_and_continues_by_itself(spool: Spool) -> None:
    for number in range(5):
        spool.put(image(number))
    sink = Sink(*[SinkResponse(status=403, body=b"not you")] * 3, SinkResponse(status=202))
    deliverer = Deliverer(spool, "out", EventSender(sink), backoff=FOR_EVER, clock=SYSTEM)
    assert not deliverer.status().paused
    with spool.lease("out"):
        deliverer.start()
        wait_until(lambda: deliverer.status().paused or spool.depth() == 0)
        wait_until(lambda: spool.depth() == 0)
        found = deliverer.status()
        assert deliverer.stop()
    assert (found.paused, found.reason, found.since) == (False, "", None)
    assert found.attempts == {"retried": 3, "delivered": 5}


def test_the_status_of_a_paused_lane(spool: Spool) -> None:
    spool.put(image())
    backoff = Backoff(retry=None, first_s=3600.0, cap_s=3600.0)
    deliverer = Deliverer(
        spool, "out", EventSender(Sink(SinkResponse(status=403, body=b"not you"))), backoff=backoff, clock=FROZEN
    )
    deliverer.start()
    found = wait_until(lambda: deliverer.status().paused and deliverer.status())
    assert deliverer.stop()
    assert found
    assert (found.reason, found.status, found.since) == ("answered 403: not you", 403, NOW)
    assert NOW + 1700 < (found.next_try_at or 0) <= NOW + 3600


class Wall:
    """Refuses some events always with one status, and whatever `down` says besides."""

    def __init__(self, status: int, refused: set[str], down: Callable[[int], bool] = lambda _number: False) -> None:
        self.answer = SinkResponse(status=status, body=b"too long")
        self.refused = refused
        self._down = down
        self._lock = threading.Lock()
        self.sent = 0
        self.counted = Counter[str]()

    def __call__(self, event: Event) -> SinkResponse:
        with self._lock:
            self.sent += 1
            self.counted[event.id] += 1
            refused = event.id in self.refused or self._down(self.sent)
        return self.answer if refused else SinkResponse(status=202)


@pytest.mark.parametrize("status", [403, 414, 431, 500, 502])
@pytest.mark.parametrize("parallel", [1, 4])
def test_one_entry_that_is_always_refused_among_300_good_ones_is_given_up_on(
    spool: Spool, status: int, parallel: int
) -> None:
    for number in range(301):
        spool.put(image(number))
    wall = Wall(status, {"id-7"})
    with delivering(spool, wall, backoff=FOR_EVER, parallel=parallel, clock=SYSTEM) as attempts:
        wait_until(lambda: spool.counts().get("out", (0, 0))[1] == 1 or spool.depth() == 1)
        for number in range(301, 305):  # what comes later shows that the way works
            spool.put(image(number))
            wait_until(lambda: spool.depth() <= 1)
        wait_until(lambda: spool.depth() == 0)
    assert outcomes(attempts).count(DeliveryOutcome.DELIVERED) == 304
    [letter] = spool.dead()
    assert (letter.entry.event.id, letter.status) == ("id-7", status)
    assert len([attempt for attempt in attempts if attempt.entry.event.id == "id-7"]) < 12


def test_many_bad_entries_in_a_row_do_not_hide_the_good_one_behind_them(spool: Spool) -> None:
    for number in range(100):
        spool.put(image(number))
    wall = Wall(431, {f"id-{number}" for number in range(99)})
    with delivering(spool, wall, backoff=Backoff(retry=None, first_s=0.1, cap_s=3600.0), clock=SYSTEM) as attempts:
        wait_until(lambda: any(attempt.outcome is DeliveryOutcome.DELIVERED for attempt in attempts))
    assert len(attempts) < 10


def test_a_way_that_fails_half_of_the_time_costs_no_entry(spool: Spool) -> None:
    """One of two replicas that refuses everything must not make dead letters of what the other would take."""
    for number in range(300):
        spool.put(image(number))
    chance = random.Random(7)
    wall = Wall(403, set(), down=lambda _number: chance.random() < 0.5)
    with delivering(spool, wall, backoff=FOR_EVER, parallel=4, clock=SYSTEM):
        wait_until(lambda: spool.depth() == 0, 60)
    assert spool.counts() == {}


def test_what_reached_nobody_is_never_held_against_an_entry(spool: Spool) -> None:
    for number in range(300):
        spool.put(image(number))
    left = 12

    def send(event: Event) -> SinkResponse:
        nonlocal left
        if event.id == "id-0" and left:
            left -= 1
            raise UnreachableError("no connection")
        return SinkResponse(status=202)

    with delivering(spool, send, backoff=FOR_EVER, clock=SYSTEM):
        for number in range(300, 400):
            spool.put(image(number))
        wait_until(lambda: spool.depth() == 0, 60)
    assert (left, spool.counts()) == (0, {})


def test_after_a_failure_one_entry_is_tried_at_a_time(spool: Spool) -> None:
    for number in range(20):
        spool.put(image(number))
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

    backoff = Backoff(retry=None, first_s=0.02, cap_s=0.02)
    with delivering(spool, send, backoff=backoff, parallel=4, clock=SYSTEM):
        wait_until(lambda: len(seen) >= 12)
    assert seen[4:] == [1] * len(seen[4:])


def test_what_may_be_the_events_fault_lets_the_next_be_tried_at_once(spool: Spool) -> None:
    spool.put(image(0))
    spool.put(image(1))
    backoff = Backoff(retry=None, first_s=3600.0, cap_s=3600.0)
    with delivering(spool, Sink(SinkResponse(status=500), SinkResponse(status=202)), backoff=backoff) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED, DeliveryOutcome.DELIVERED]


def test_an_outage_is_held_against_no_entry(spool: Spool) -> None:
    """Refused a hundred times while nothing gets through, and taken when the receiver is back."""
    for number in range(20):
        spool.put(image(number))
    wall = Wall(403, set(), down=lambda number: number <= 100 or number == 110)
    with delivering(spool, wall, backoff=FOR_EVER, clock=SYSTEM):
        wait_until(lambda: spool.depth() == 0, 60)
    assert spool.counts() == {}


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "event"), (413, "http-413"), (413, "image-too-large"), (415, "unsupported-content")]
)
def test_a_server_of_eaves_that_refuses_the_event_makes_a_dead_letter_at_once_where_retries_never_end(
    spool: Spool, status: int, kind: str
) -> None:
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=status, body=build_problem(status, "no", kind=kind)), SinkResponse(status=202))
    with delivering(spool, sink, backoff=FOR_EVER) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.DEAD, DeliveryOutcome.DELIVERED]


@pytest.mark.parametrize("status", [400, 411, 413, 415, 422])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>The plain HTTP request was sent to HTTPS port</h1></html>",
        build_problem(400, "the request can't be parsed"),
        b'{"type": "about:blank", "detail": "no"}',
    ],
    ids=["empty", "a page", "a request that is damaged", "another's problem"],
)
def test_the_same_status_from_a_proxy_blames_no_event(spool: Spool, status: int, body: bytes) -> None:
    for number in range(200):
        spool.put(image(number))
    wall = Wall(status, set(), down=lambda number: number <= 60)
    wall.answer = SinkResponse(status=status, body=body)
    with delivering(spool, wall, backoff=FOR_EVER, clock=SYSTEM):
        wait_until(lambda: spool.depth() == 0, 60)
    assert spool.counts() == {}


@pytest.mark.parametrize("answer", [SinkResponse(status=409), SinkResponse(status=429), SinkResponse(status=413)])
@pytest.mark.parametrize("retry_after_s", [None, 0.0])
def test_an_answer_that_asks_for_the_event_later_is_no_evidence_against_it(
    spool: Spool, answer: SinkResponse, retry_after_s: float | None
) -> None:
    wall = Wall(answer.status, {"id-0"})
    wall.answer = replace(answer, retry_after_s=retry_after_s)
    check_that_it_waits(spool, wall, FOR_EVER)


@pytest.mark.parametrize("status", [409, 429, 503])
def test_a_receiver_that_is_busy_for_long_uses_up_no_retries_of_a_broker(spool: Spool, status: int) -> None:
    wall = Wall(status, {"id-0"})
    wall.answer = SinkResponse(status=status, retry_after_s=0.0)
    check_that_it_waits(spool, wall, Backoff(retry=2, first_s=0.001, cap_s=0.01))


def check_that_it_waits(spool: Spool, wall: Wall, backoff: Backoff) -> None:
    """Check that an event is kept while it is refused for long and others succeed, and is delivered afterwards."""
    spool.put(image(0))
    with delivering(spool, wall, backoff=backoff, clock=SYSTEM):
        for number in range(1, 100):
            spool.put(image(number))
            wait_until(lambda: spool.depth() <= 1)
        wait_until(lambda: wall.counted["id-0"] > 3 * ROUNDS, 60)
        assert spool.counts() == {"out": (1, 0)}
        wall.refused.clear()
        wait_until(lambda: spool.depth() == 0)
    assert spool.counts() == {}


def test_a_problem_document_says_that_the_event_is_at_fault_whatever_a_gateway_made_of_its_status(spool: Spool) -> None:
    spool.put(image())
    body = b'{"type": "urn:eaves:problem:image", "status": 422, "detail": "not an image"}'
    with delivering(spool, Sink(SinkResponse(status=502, body=body)), backoff=FOR_EVER) as attempts:
        wait_until(lambda: attempts)
    assert outcomes(attempts) == [DeliveryOutcome.DEAD]


def test_the_problem_types_of_bad_events_are_those_of_functions() -> None:
    def subclasses(cls: type[EavesError]) -> Iterator[type[EavesError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from subclasses(sub)

    serving = {error_type(cls) for cls in subclasses(InputError)} - {"dataset", "run"}  # of a training
    assert serving | {"http-413"} == EVENT_PROBLEMS


@pytest.mark.parametrize(
    "answer",
    [
        SinkResponse(status=200),
        SinkResponse(status=204),
        SinkResponse(status=200, fault="no ce-id"),
        SinkResponse(status=200, body=b"<html>welcome to the hotel</html>"),
    ],
    ids=["empty 200", "204", "broken", "a page"],
)
def test_where_a_prediction_is_asked_for_a_success_without_one_is_a_failure(spool: Spool, answer: SinkResponse) -> None:
    spool.put(image())
    sink = Sink(answer, answer, answer, SinkResponse(status=200, event=reply_to(image())))
    with delivering(spool, sink, backoff=FOR_EVER, on_reply=forward, reply_required=True, clock=SYSTEM) as attempts:
        wait_until(lambda: len(attempts) == 4)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED] * 3 + [DeliveryOutcome.DELIVERED]
    assert spool.counts() == {"replies": (1, 0)}


def test_202_says_that_there_is_no_prediction(spool: Spool) -> None:
    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=202)), on_reply=forward, reply_required=True) as attempts:
        wait_until(lambda: attempts)
    assert outcomes(attempts) == [DeliveryOutcome.DELIVERED]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (SinkResponse(status=200), DeliveryOutcome.DELIVERED),
        (SinkResponse(status=200, fault="no ce-id"), DeliveryOutcome.DEAD),
    ],
)
def test_a_brokers_subscriber_may_say_nothing_but_not_nonsense(
    spool: Spool, answer: SinkResponse, outcome: DeliveryOutcome
) -> None:
    spool.put(image())
    with delivering(spool, Sink(answer), backoff=Backoff(retry=0), on_reply=forward) as attempts:
        wait_until(lambda: attempts)
    assert outcomes(attempts) == [outcome]


def test_dead_letters_whose_budget_refuses_stay_queued_and_pause_the_lane(tmp_path: Path) -> None:
    limits = SpoolLimits(dead_max_bytes=10, dead_when_full=WhenFull.REFUSE)
    with Spool(tmp_path / "spool.db", limits=limits) as spool:
        spool.put(image())
        refused = SinkResponse(status=422, body=build_problem(422, "not an image", kind="image"))
        deliverer = Deliverer(spool, "out", EventSender(Sink(refused)), backoff=FOR_EVER)
        deliverer.start()
        found = wait_until(lambda: deliverer.status().paused and deliverer.status())
        assert deliverer.stop()
        assert found
        assert "the limit for dead letters is reached" in found.reason
        assert spool.counts() == {"out": (1, 0)}


def test_an_entry_that_the_budget_refuses_backs_off_and_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SpoolLimits(dead_max_bytes=10, dead_when_full=WhenFull.REFUSE)
    backoff = Backoff(retry=None, first_s=1.0, cap_s=3600.0)
    wall = Wall(422, {"id-0"})
    wall.answer = SinkResponse(status=422, body=build_problem(422, "not an image", kind="image"))
    clock = ManualClock()
    with Spool(tmp_path / "spool.db", limits=limits, clock=clock) as spool:
        for number in range(100):
            spool.put(image(number))
        with delivering(spool, wall, backoff=backoff, clock=clock):
            for _ in range(10):
                wait_until(lambda: clock.waiting)
                clock.turn(1.0)
            wait_until(lambda: spool.depth() == 1)
        assert spool.counts() == {"out": (1, 0)}
    assert wall.sent < 110
    assert not [record for record in caplog.records if "gave up" in record.getMessage()]


class Unreadable(Spool):
    """One that can't be read a few times."""

    failures = 3

    def peek(self, lane: str, **options: Any) -> list[Entry]:
        if self.failures:
            self.failures -= 1
            raise SpoolError("disk I/O error")
        return super().peek(lane, **options)


class Slow(Spool):
    """One that takes its time, as while a damaged file is replaced."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def peek(self, lane: str, **options: Any) -> list[Entry]:
        self.asked.set()
        assert self.go_on.wait(20)
        return super().peek(lane, **options)


def test_a_spool_that_takes_its_time_holds_up_neither_status_nor_stop(tmp_path: Path) -> None:
    with Slow(tmp_path / "spool.db") as spool:
        deliverer = Deliverer(spool, "out", EventSender(Sink(SinkResponse(status=202))))
        deliverer.start()
        assert spool.asked.wait(10)
        asker = threading.Thread(target=lambda: (deliverer.status(), deliverer.stop(0.1)))
        asker.start()
        asker.join(10)
        answered = not asker.is_alive()
        spool.go_on.set()
        asker.join()
        assert answered
        assert deliverer.stop()


def test_an_empty_lane_is_not_said_to_be_paused_once_its_spool_can_be_read_again(tmp_path: Path) -> None:
    clock = ManualClock()
    with Unreadable(tmp_path / "spool.db", clock=clock) as spool:
        deliverer = Deliverer(spool, "out", EventSender(Sink(SinkResponse(status=202))), backoff=FOR_EVER, clock=clock)
        deliverer.start()
        for left in (2, 1, 0):
            wait_until(lambda left=left: spool.failures == left and clock.waiting)  # type: ignore[misc]
            assert deliverer.status().paused
            clock.turn(1.0)
        wait_until(lambda: not deliverer.status().paused)
        assert deliverer.stop()


def test_a_system_that_gives_no_threads_costs_no_entry(spool: Spool) -> None:
    sink = Sink(SinkResponse(status=202))
    deliverer = Deliverer(spool, "out", EventSender(sink, parallel=2), backoff=FOR_EVER, clock=SYSTEM)
    deliverer.start()
    before = threading.stack_size(1 << 47)  # more than a process can address
    try:
        spool.put(image(0))
        wait_until(lambda: deliverer.status().paused)
    finally:
        threading.stack_size(before)
    wait_until(lambda: spool.depth() == 0)
    assert deliverer.stop()


def test_an_idle_lane_asks_the_file_once_a_second_however_many_it_may_send_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    statements = 0

    def count(_sql: str) -> None:
        nonlocal statements
        statements += 1

    with Spool(tmp_path / "spool.db", clock=clock) as spool:
        lanes = [
            Deliverer(spool, f"lane-{number}", EventSender(Sink(SinkResponse(status=202)), parallel=16), clock=clock)
            for number in range(3)
        ]
        before = threading.active_count()
        for deliverer in lanes:
            deliverer.start()
        wait_until(lambda: clock.waiting == 3)
        assert threading.active_count() == before + 3
        spool.database()._reader.set_trace_callback(count)
        spool.database()._writer.set_trace_callback(count)
        for _ in range(60):
            clock.turn(1.0)
            wait_until(lambda: clock.waiting == 3)
        counted = statements
        assert all(deliverer.stop() for deliverer in lanes)
    assert counted <= 60 + 2 * 3 * 3, "a look of all lanes together each second, and a look of each every 30"


def test_a_pause_can_be_cut_short_for_one_attempt(spool: Spool) -> None:
    spool.put(image())
    sink = Sink(SinkResponse(status=403), SinkResponse(status=403), SinkResponse(status=202))
    clock = ManualClock(NOW)
    deliverer = Deliverer(
        spool, "out", EventSender(sink), backoff=Backoff(retry=None, first_s=600.0, cap_s=600.0), clock=clock
    )
    deliverer.start()
    try:
        for attempts in (1, 2):
            wait_until(lambda: deliverer.status().paused and len(sink.got) == attempts, what="the pause")  # noqa: B023
            retry_now(spool, Selection())
            deliverer.try_now()
        wait_until(lambda: spool.depth() == 0, what="the delivery")
        assert not deliverer.status().paused
    finally:
        deliverer.stop()


class BucketFunction:
    """Predicts events with data, and those in the bucket whose ids aren't denied."""

    def __init__(self, denied: set[str]) -> None:
        self.denied = denied
        self.refusals: Counter[str] = Counter()

    def __call__(self, event: Event) -> SinkResponse:
        if event.id not in self.denied:
            return SinkResponse(status=202)
        self.refusals[event.id] += 1
        return SinkResponse(status=503, body=b'{"type": "urn:eaves:problem:claim-denied"}')


def in_bucket(number: int) -> Event:
    return replace(image(number), data=b"").with_extensions(dataref="https://store.example/a.jpg")


def test_images_in_a_bucket_that_refuses_the_key_wait_while_others_are_delivered(spool: Spool) -> None:
    function = BucketFunction({"id-0", "id-1"})
    for number in range(2):
        spool.put(in_bucket(number))
    with delivering(spool, function, backoff=FOR_EVER, clock=SYSTEM):
        for number in range(10, 200):
            spool.put(image(number))
            wait_until(lambda: spool.depth() <= 2, 20)
        wait_until(lambda: min(function.refusals[name] for name in ("id-0", "id-1")) > 12, 60)
        assert spool.counts() == {"out": (2, 0)}
        function.denied = set()  # the key is corrected
        wait_until(lambda: spool.depth() == 0)
    assert spool.dead() == []


def test_one_object_that_is_refused_while_others_of_its_bucket_are_fetched_is_given_up_on(spool: Spool) -> None:
    function = BucketFunction({"id-0"})
    spool.put(in_bucket(0))
    with delivering(spool, function, backoff=FOR_EVER, clock=SYSTEM):
        for number in range(10, 300):
            spool.put(in_bucket(number))
            wait_until(lambda: spool.depth() <= 1, 20)
        wait_until(lambda: spool.depth() == 0)
    assert [letter.entry.event.id for letter in spool.dead()] == ["id-0"]


def test_a_broker_waits_for_a_bucket_as_it_waits_for_a_function(spool: Spool) -> None:
    """Its retries end, but an image whose bucket is away for long must not become a dead letter."""
    function = BucketFunction({"id-0"})
    spool.put(in_bucket(0))
    with delivering(spool, function, backoff=Backoff(retry=2, first_s=0.001, cap_s=0.01), clock=SYSTEM):
        for number in range(10, 100):
            spool.put(image(number))
        wait_until(lambda: function.refusals["id-0"] > 8 and spool.depth() <= 1, 60)
        assert spool.counts() == {"out": (1, 0)}
        function.denied = set()
        wait_until(lambda: spool.depth() == 0)
    assert spool.dead() == []
