"""What a deliverer does about every kind of answer, over a real spool and a sink that is a function."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM
from eaves.delivery import (
    AttemptResult,
    Deliverer,
    DeliveryAction,
    DeliveryAttempt,
    DeliveryOutcome,
    EventSender,
    SinkResponse,
    choose_action,
)
from eaves.errors import (
    DeliveryError,
    EventError,
    OverloadedError,
    SpoolError,
    StartError,
    UnreachableError,
)
from eaves.events import Event
from eaves.spool import Entry, Puts, Spool
from eaves.spool.database import Version
from tests.unit.delivery.harness import (
    AT_ONCE,
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

# Rules


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 202, 204, 299), DeliveryAction.DONE),
        ((0, 404, 408, 409, 429, 500, 502, 503, 504, 599), DeliveryAction.RETRY),
        ((301, 302, 304, 308, 400, 401, 403, 405, 410, 413, 415, 422, 451), DeliveryAction.REFUSED),
    ],
)
def test_the_status_table_is_the_data_plane_contracts(statuses: tuple[int, ...], expected: DeliveryAction) -> None:
    assert {status: choose_action(status) for status in statuses} == dict.fromkeys(statuses, expected)


# Delivered


def test_events_are_delivered_in_order_and_released(spool: Spool) -> None:
    sink = Sink(SinkResponse(status=202))
    for number in range(3):
        spool.put(image(number))
    with delivering(spool, sink) as attempts:
        wait_until(lambda: len(attempts) == 3)
        spool.put(image(3))  # wakes the deliverer, which is idle now
        wait_until(lambda: len(attempts) == 4)
    assert sink.got == ["id-0", "id-1", "id-2", "id-3"]
    assert outcomes(attempts) == [DeliveryOutcome.DELIVERED] * 4
    assert spool.counts() == {}


def test_a_reply_is_stored_in_the_commit_that_releases_its_cause(spool: Spool) -> None:
    spool.put(image())
    states: set[tuple[int, int]] = set()
    with delivering(spool, lambda event: SinkResponse(status=200, event=reply_to(event)), on_reply=forward) as attempts:

        def watch() -> bool:
            counts = spool.counts()
            states.add((counts.get("out", (0, 0))[0], counts.get("replies", (0, 0))[0]))
            return bool(attempts)

        wait_until(watch, pause_s=0)
    assert states <= {(1, 0), (0, 1)}
    assert [entry.event for entry in spool.peek("replies")] == [reply_to(image())]
    assert attempts[0].answer is not None


def test_a_reply_nobody_asked_for_is_ignored(spool: Spool) -> None:
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=200, event=reply_to(image())), SinkResponse(status=200, body=b"OK"))
    with delivering(spool, sink) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.DELIVERED] * 2
    assert spool.counts() == {}


def test_202_is_never_a_reply(spool: Spool) -> None:
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=202, event=reply_to(image())), SinkResponse(status=202, body=b"queued"))
    with delivering(spool, sink, on_reply=forward) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.DELIVERED] * 2
    assert spool.counts() == {}


def test_several_are_in_flight_at_once_and_none_twice(spool: Spool) -> None:
    for number in range(12):
        spool.put(image(number))
    meet = threading.Barrier(4)
    sink = Sink(SinkResponse(status=202))

    def send(event: Event) -> SinkResponse:
        meet.wait(timeout=10)
        return sink(event)

    with delivering(spool, send, parallel=4) as attempts:
        wait_until(lambda: len(attempts) == 12)
    assert sorted(sink.got) == sorted(f"id-{number}" for number in range(12))


# Retried


def test_a_failure_is_retried_until_it_succeeds(spool: Spool) -> None:
    spool.put(image())
    sink = Sink(SinkResponse(status=503), DeliveryError("no answer: connection refused"), SinkResponse(status=202))
    with delivering(spool, sink) as attempts:
        wait_until(lambda: len(attempts) == 3)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED, DeliveryOutcome.RETRIED, DeliveryOutcome.DELIVERED]
    assert [attempt.entry.attempts for attempt in attempts] == [0, 1, 2]
    assert [attempt.status for attempt in attempts] == [503, 0, 202]
    assert spool.counts() == {}


@pytest.mark.parametrize(("asked_s", "expected_s"), [(30.0, 30.0), (0.1, 8.0), (1e6, 60.0), (None, 8.0)])
def test_retry_after_is_honoured_as_a_lower_bound(spool: Spool, asked_s: float | None, expected_s: float) -> None:
    spool.put(image())
    backoff = Backoff(retry=3, first_s=16.0)  # half of it, without chance
    with delivering(spool, Sink(SinkResponse(status=429, retry_after_s=asked_s)), backoff=backoff) as attempts:
        wait_until(lambda: attempts)
    assert [due for _, due in spool.tried("out", 9)] == [NOW + expected_s]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UnreachableError("no connection"), DeliveryOutcome.DELIVERED),
        (DeliveryError("the connection broke"), DeliveryOutcome.DEAD),
    ],
)
def test_only_what_reached_nobody_costs_no_attempt(
    spool: Spool, error: DeliveryError, outcome: DeliveryOutcome
) -> None:
    spool.put(image())
    sink = Sink(*[error] * 6, SinkResponse(status=202))
    backoff = Backoff(retry=2, first_s=0.001, cap_s=0.001)
    with delivering(spool, sink, backoff=backoff, clock=SYSTEM) as attempts:
        wait_until(lambda: attempts and attempts[-1].outcome is not DeliveryOutcome.RETRIED)
    assert attempts[-1].outcome is outcome


@pytest.mark.parametrize(
    "failure",
    [
        UnreachableError("no connection to http://me:hunter2@sink/?token=hunter2"),
        DeliveryError("http://me:hunter2@sink/?token=hunter2 broke off"),
        ValueError("http://me:hunter2@sink/?token=hunter2"),
        SinkResponse(status=422, body=b"not from http://me:hunter2@sink/?token=hunter2"),
    ],
)
def test_no_password_is_kept_as_a_reason(spool: Spool, failure: SinkResponse | Exception) -> None:
    spool.put(image())
    with delivering(spool, Sink(failure), backoff=Backoff(retry=0)) as attempts:
        wait_until(lambda: attempts)
    for reason in [attempts[0].reason, *(letter.reason for letter in spool.dead())]:
        assert "http://***@sink/?token=***" in reason


def test_an_entry_that_waits_for_its_back_off_lets_others_pass(spool: Spool) -> None:
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=500), SinkResponse(status=202))
    with delivering(spool, sink, backoff=Backoff(retry=3, first_s=60.0, cap_s=60.0)) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert sink.got == ["id-0", "id-1"]
    assert spool.counts() == {"out": (1, 0)}


def test_a_body_that_is_no_event_counts_as_502_where_a_reply_was_asked_for(spool: Spool) -> None:
    spool.put(image())
    sink = Sink(SinkResponse(status=200, body=b"thanks"))
    with delivering(spool, sink, backoff=Backoff(retry=1, first_s=0.0), on_reply=forward) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED, DeliveryOutcome.DEAD]
    [letter] = spool.dead("out")
    assert letter.status == 502
    assert "answered 200 with 6 bytes that are not a CloudEvent" in letter.reason


@pytest.mark.parametrize("error", [StartError("not ready"), OverloadedError("busy")])
def test_our_own_errors_count_by_their_http_status(spool: Spool, error: Exception) -> None:
    spool.put(image())
    with delivering(spool, Sink(error, SinkResponse(status=202))) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED, DeliveryOutcome.DELIVERED]


def test_an_unexpected_exception_is_logged_and_retried_and_the_thread_lives(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.put(image())
    with delivering(spool, Sink(ZeroDivisionError("oops"), SinkResponse(status=202))) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert attempts[0].reason == "ZeroDivisionError: oops"
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_reply_that_cannot_be_used_is_retried(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def broken(entry: Entry, reply: Event) -> Puts:
        raise ValueError("no such lane")

    spool.put(image())
    sink = Sink(SinkResponse(status=200, event=reply_to(image())), SinkResponse(status=204))
    with delivering(spool, sink, on_reply=broken) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED, DeliveryOutcome.DELIVERED]
    assert attempts[0].reason == "the reply can't be used: ValueError: no such lane"


# Dead


def test_poison_is_refused_once_and_kept(spool: Spool) -> None:
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=422, body=b'{"title": "not an image"}'), SinkResponse(status=202))
    with delivering(spool, sink) as attempts:
        wait_until(lambda: len(attempts) == 2)
    assert sink.got == ["id-0", "id-1"]
    [letter] = spool.dead("out")
    assert (letter.entry.event, letter.status) == (image(0), 422)
    assert letter.reason == 'answered 422: {"title": "not an image"}'


def test_an_event_that_cannot_be_sent_at_all_is_refused_even_where_retries_never_end(spool: Spool) -> None:
    spool.put(image())
    with delivering(spool, Sink(EventError("missing attribute")), backoff=FOR_EVER) as attempts:
        wait_until(lambda: attempts)
    assert [(letter.status, letter.reason) for letter in spool.dead()] == [(400, "missing attribute")]


def test_an_event_is_dead_when_its_retries_are_used_up(spool: Spool) -> None:
    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=500, body=b"boom\n\tat line 1" + b"x" * 900))) as attempts:
        wait_until(lambda: len(attempts) == 4)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED] * 3 + [DeliveryOutcome.DEAD]
    [letter] = spool.dead()
    assert letter.entry.attempts == 4
    assert letter.reason.startswith("answered 500: boom at line 1")
    assert len(letter.reason) < 300


def test_a_dead_letter_can_be_an_event_instead(spool: Spool) -> None:
    def rejected(entry: Entry, judged: AttemptResult) -> Puts:
        return [(entry.event.with_extensions(rejectedstatus=str(judged.status)), ("rejected",))]

    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=415)), on_dead=rejected) as attempts:
        wait_until(lambda: attempts)
    assert spool.counts() == {"rejected": (1, 0)}


def test_a_dead_letter_is_kept_when_what_should_replace_it_fails(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(entry: Entry, judged: AttemptResult) -> Puts:
        raise ValueError

    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=415)), on_dead=broken) as attempts:
        wait_until(lambda: attempts)
    assert spool.counts() == {"out": (0, 1)}


# For ever


def test_retries_without_end_outlast_a_sink_that_is_down(spool: Spool) -> None:
    spool.put(image())
    sink = Sink(*[DeliveryError("no answer")] * 20, SinkResponse(status=503), SinkResponse(status=202))
    with delivering(spool, sink, backoff=FOR_EVER, clock=SYSTEM) as attempts:
        wait_until(lambda: spool.depth() == 0)
    assert outcomes(attempts) == [DeliveryOutcome.RETRIED] * 21 + [DeliveryOutcome.DELIVERED]


def test_a_sink_that_is_down_pauses_the_whole_lane(spool: Spool) -> None:
    for number in range(50):
        spool.put(image(number))
    backoff = Backoff(retry=None, first_s=3600.0, cap_s=3600.0)
    with delivering(spool, Sink(DeliveryError("no answer")), backoff=backoff, parallel=2) as attempts:
        wait_until(lambda: attempts)
        spool.put(image(50))
    assert len(attempts) <= 2, "those in flight, and no more"
    assert spool.depth() == 51


# When the spool fails


class FailingSpool(Spool):
    """One whose first ack fails."""

    failures = 1

    def ack(self, entry: Entry, *, puts: Puts = ()) -> None:
        if self.failures:
            self.failures -= 1
            raise SpoolError("database or disk is full")
        super().ack(entry, puts=puts)


def test_an_entry_whose_release_fails_is_kept_and_sent_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(SinkResponse(status=202))
    with FailingSpool(tmp_path / "spool.db", clock=FROZEN) as spool:
        spool.put(image())
        with delivering(spool, sink) as attempts:
            wait_until(lambda: attempts)
        assert spool.counts() == {}
    assert sink.got == ["id-0"] * 2
    assert outcomes(attempts) == [DeliveryOutcome.DELIVERED]
    assert sum("no event is removed" in record.getMessage() for record in caplog.records) == 1


# Stopping and leases


def test_stopping_finishes_what_is_in_flight_and_leaves_the_rest(spool: Spool) -> None:
    for number in range(3):
        spool.put(image(number))
    sending, go_on = threading.Event(), threading.Event()

    def send(event: Event) -> SinkResponse:
        sending.set()
        assert go_on.wait(10)
        return SinkResponse(status=202)

    other = spool.lease("out")
    deliverer = Deliverer(spool, "out", EventSender(send), backoff=AT_ONCE, leases=[spool.lease("out")])
    deliverer.start()
    assert sending.wait(10)
    assert not deliverer.stop(0.01), "one is in flight"
    assert not other.acquire(), "another process would send it too"
    go_on.set()
    assert deliverer.stop(10)
    assert other.acquire()
    other.release()
    assert [entry.event.id for entry in spool.peek("out", limit=9)] == ["id-1", "id-2"]


class StoppedMeanwhile(Spool):
    """A spool whose deliverer is stopped just before it peeks."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.stopped: list[bool] = []
        self.deliverer = Deliverer(self, "out", EventSender(Sink(SinkResponse(status=202))))
        self.stopper = threading.Thread(target=lambda: self.stopped.append(self.deliverer.stop(5.0)))
        self.woken = threading.Event()

    def version(self, *lanes: str) -> Version:
        if not self.stopper.ident:
            self.stopper.start()
            assert self.woken.wait(10)
        return super().version(*lanes)

    def wake(self, lane: str | None = None) -> None:
        super().wake(lane)
        self.woken.set()


def test_an_idle_deliverer_never_misses_that_it_is_stopped(tmp_path: Path) -> None:
    with StoppedMeanwhile(tmp_path / "spool.db") as spool:
        spool.deliverer.start()
        wait_until(lambda: spool.stopped)
        assert spool.stopped == [True]


def test_stopping_before_starting_is_harmless(spool: Spool) -> None:
    assert Deliverer(spool, "out", EventSender(Sink(SinkResponse(status=202)))).stop()


def test_without_the_lease_nothing_is_sent_until_its_holder_lets_go(spool: Spool) -> None:
    other, mine = spool.lease("out"), spool.lease("out")
    assert other.acquire()
    spool.put(image())
    sink = Sink(SinkResponse(status=202))
    with delivering(spool, sink, lease=mine) as attempts:
        assert sink.got == []
        assert not mine.held
        other.release()
        wait_until(lambda: attempts)
        assert not other.acquire()
    assert other.acquire(), "a deliverer that has stopped gives it back"
    other.release()


def test_an_observer_that_fails_stops_nothing(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: DeliveryAttempt) -> None:
        raise RuntimeError("no disk")

    spool.put(image(0))
    spool.put(image(1))
    deliverer = Deliverer(spool, "out", EventSender(Sink(SinkResponse(status=202))), observe=broken)
    with caplog.at_level(logging.ERROR):
        deliverer.start()
        wait_until(lambda: spool.depth() == 0)
        assert deliverer.stop(10)
    assert sum("callback for delivered events failed" in record.getMessage() for record in caplog.records) == 2
