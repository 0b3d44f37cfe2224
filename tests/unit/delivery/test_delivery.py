"""What becomes of an event after each kind of answer, over a real spool and a sink that is a function."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.delivery import AttemptResult, SinkResponse
from eaves.errors import DeliveryError, StartError, UnreachableError
from eaves.events import Event
from eaves.spool import Entry, Puts, Spool, SpoolLimits
from eaves.spool.outcomes import RevisionOutcomes
from tests.fakes.clock import ManualClock
from tests.unit.delivery.harness import FROZEN, NOW, TAKEN, FailingDisk, Sink, delivering, forward, image, reply_to
from tests.waiting import wait_until


def test_the_status_table_is_the_data_plane_contracts(spool: Spool):
    """A status that is retried gets two attempts here, any other one."""
    statuses = {
        "delivered": (200, 201, 202, 204, 299),
        "retried": (404, 408, 409, 429, 500, 503, 599),
        "dead": (301, 308, 400, 401, 403, 405, 413, 415, 422, 451),
    }
    count = sum(map(len, statuses.values()))
    for status in (status for found in statuses.values() for status in found):
        spool.put(image(status))
    with delivering(
        spool, lambda event: SinkResponse(status=int(event.id[3:])), backoff=Backoff(retry=1, first_s=0.0)
    ) as lane:
        wait_until(lambda: len(lane.attempts) == count + len(statuses["retried"]))
    first = {attempt.entry.event.id: attempt.outcome.value for attempt in reversed(lane.attempts)}
    assert first == {f"id-{status}": outcome for outcome, found in statuses.items() for status in found}


def test_events_are_delivered_in_order_and_released(spool: Spool):
    sink = Sink(TAKEN)
    for number in range(3):
        spool.put(image(number))
    with delivering(spool, sink) as lane:
        wait_until(lambda: len(lane.attempts) == 3)
        spool.put(image(3))  # wakes the lane, which is idle now
        wait_until(lambda: len(lane.attempts) == 4)
    assert sink.got == ["id-0", "id-1", "id-2", "id-3"]
    assert spool.counts() == {}


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (SinkResponse(status=200, event=reply_to(image())), {"answered": 1}),
        (SinkResponse(status=200, body=b"<html>"), {"failed": 4}),
        (SinkResponse(status=202), {}),
        (SinkResponse(status=500), {"failed": 4}),
        (SinkResponse(status=503, body=b'{"type": "urn:eaves:problem:loading"}'), {}),
        (SinkResponse(status=429), {}),
        (SinkResponse(status=422), {"refused": 1}),
        (SinkResponse(status=302), {}),
    ],
    ids=lambda value: f"{value.status}{value.body[:1].decode()}" if isinstance(value, SinkResponse) else "",
)
def test_each_attempt_is_counted_for_the_revision_that_answered(
    spool: Spool, answer: SinkResponse, counted: dict[str, int]
):
    spool.put(image())
    with delivering(spool, lambda _: replace(answer, revision="f-2"), on_reply=forward):
        wait_until(lambda: not spool.counts().get("out", (0, 0))[0])
    expected = (RevisionOutcomes(revision="f-2", **counted),) if counted else ()
    assert spool.outcomes()[1] == expected


def test_a_response_that_names_no_revision_is_not_counted(spool: Spool):
    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=500), TAKEN)):
        wait_until(lambda: not spool.depth())
    assert spool.outcomes()[1] == ()


def test_a_reply_is_stored_in_the_commit_that_releases_its_cause(spool: Spool):
    spool.put(image())
    states: set[tuple[int, int]] = set()
    with delivering(spool, lambda event: SinkResponse(status=200, event=reply_to(event)), on_reply=forward) as lane:

        def watch() -> bool:
            counts = spool.counts()
            states.add((counts.get("out", (0, 0))[0], counts.get("replies", (0, 0))[0]))
            return bool(lane.attempts)

        wait_until(watch, pause_s=0)
    assert states <= {(1, 0), (0, 1)}
    assert [entry.event for entry in spool.peek("replies")] == [reply_to(image())]


def test_replies_larger_than_their_images_stay_within_the_spools_limit(tmp_path: Path):
    """A reply replaces its image even in a full spool, so images wait while replies that can't be sent fill it."""

    def answer(event: Event) -> SinkResponse:
        return SinkResponse(status=200, event=replace(reply_to(event), data=b"x" * 10_000))

    with Spool(tmp_path / "spool.db", limits=SpoolLimits(max_bytes=40_000)) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(20)])
        with delivering(spool, answer, on_reply=forward, reply_lane="replies") as lane:
            wait_until(lambda: lane.status().paused)
            assert spool.size_bytes() < 55_000
            while spool.depth("out"):
                for reply in spool.peek("replies", limit=9):
                    spool.ack(reply)
                lane.try_now()
            assert len(lane.attempts) == 20


@pytest.mark.parametrize(("status", "is_asked"), [(200, False), (202, True)])
def test_a_reply_nobody_asked_for_and_one_with_202_are_no_replies(spool: Spool, status: int, is_asked: bool):
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=status, event=reply_to(image())), SinkResponse(status=status, body=b"OK"))
    with delivering(spool, sink, on_reply=forward if is_asked else None) as lane:
        wait_until(lambda: len(lane.attempts) == 2)
    assert lane.outcomes() == ["delivered"] * 2
    assert spool.counts() == {}


def test_several_are_in_flight_at_once_and_none_twice(spool: Spool):
    for number in range(12):
        spool.put(image(number))
    meet = threading.Barrier(4)
    sink = Sink(TAKEN)

    def send(event: Event) -> SinkResponse:
        meet.wait(timeout=10)
        return sink(event)

    with delivering(spool, send, parallel=4) as lane:
        wait_until(lambda: len(lane.attempts) == 12)
    assert sorted(sink.got) == sorted(f"id-{number}" for number in range(12))


def test_an_entry_that_hangs_again_leaves_the_other_places_to_others(live: Spool):
    live.put_many([(image(number), ("out",)) for number in range(4)])
    live.retry(live.peek("out")[0], 5.0, "hung before")
    live.wait(live.version("out"), 0.01)  # so that none of this wakes the deliverer
    sink = Sink(TAKEN)

    def send(event: Event) -> SinkResponse:
        if event.id == "id-0":
            wait_until(lambda: len(sink.got) == 3, 3, what="the others")
        return sink(event)

    with delivering(live, send, parallel=2) as lane:
        wait_until(lambda: len(sink.got) == 4, 20)
    assert sink.got[-1] == "id-0"
    assert lane.outcomes() == ["delivered"] * 4


def test_a_failure_is_retried_until_it_succeeds(spool: Spool, caplog: pytest.LogCaptureFixture):
    def keep(entry: Entry, reply: Event) -> Puts:
        raise ValueError("no such lane")

    spool.put(image())
    failures = (
        SinkResponse(status=503),
        DeliveryError("no answer: connection refused"),
        StartError("not ready"),
        ZeroDivisionError("oops"),
        SinkResponse(status=200, event=reply_to(image())),
    )
    with delivering(
        spool, Sink(*failures, TAKEN), backoff=Backoff(retry=9, first_s=0.0), on_reply=keep, parallel=2
    ) as lane:
        wait_until(lambda: len(lane.attempts) == 6)
    assert lane.outcomes() == ["retried"] * 5 + ["delivered"]
    assert [attempt.entry.attempts for attempt in lane.attempts] == list(range(6))
    assert [attempt.status for attempt in lane.attempts] == [503, 0, 503, 500, 500, 202]
    assert [attempt.reason for attempt in lane.attempts[3:5]] == [
        "ZeroDivisionError: oops",
        "the reply can't be used: ValueError: no such lane",
    ]
    assert spool.counts() == {}


@pytest.mark.parametrize(("asked_s", "expected_s"), [(30.0, 30.0), (0.1, 8.0), (1e6, 60.0)])
def test_retry_after_is_honoured_as_a_lower_bound(spool: Spool, asked_s: float, expected_s: float):
    spool.put(image())
    backoff = Backoff(retry=3, first_s=16.0)  # half of it, without chance
    with delivering(spool, Sink(SinkResponse(status=429, retry_after_s=asked_s)), backoff=backoff) as lane:
        wait_until(lambda: lane.attempts)
    assert [due for _, due in spool.tried("out", 9)] == [NOW + expected_s]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(UnreachableError("no connection"), "delivered"), (DeliveryError("the connection broke"), "dead")],
)
def test_only_what_reached_nobody_costs_no_attempt(live: Spool, error: DeliveryError, outcome: str):
    live.put(image())
    backoff = Backoff(retry=2, first_s=0.001, cap_s=0.001)
    with delivering(live, Sink(*[error] * 6, SinkResponse(status=503), TAKEN), backoff=backoff) as lane:
        wait_until(lambda: lane.attempts and lane.outcomes()[-1] != "retried")
    assert lane.outcomes()[-1] == outcome


def test_no_password_is_kept_as_a_reason(spool: Spool):
    text = "http://me:hunter2@sink/?token=hunter2"
    failures = (DeliveryError(text), ValueError(text), SinkResponse(status=422, body=text.encode()))
    for number in range(len(failures)):
        spool.put(image(number))
    with delivering(spool, Sink(*failures), backoff=Backoff(retry=0)) as lane:
        wait_until(lambda: len(spool.dead()) == len(failures))
    for reason in [*(attempt.reason for attempt in lane.attempts), *(letter.reason for letter in spool.dead())]:
        assert "http://***@sink/?token=***" in reason


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (SinkResponse(status=500), 500, "answered 500"),
        (SinkResponse(status=200, body=b"thanks"), 502, "answered 200 with 6 bytes that are not a CloudEvent"),
    ],
)
def test_an_event_is_kept_when_its_retries_are_used_up(spool: Spool, answer: SinkResponse, status: int, reason: str):
    spool.put(image())
    with delivering(spool, Sink(answer), on_reply=forward) as lane:
        wait_until(lambda: len(lane.attempts) == 4)
    assert lane.outcomes() == ["retried"] * 3 + ["dead"]
    [letter] = spool.dead("out")
    assert (letter.entry.attempts, letter.status) == (4, status)
    assert reason in letter.reason


def test_poison_is_refused_once_and_kept(spool: Spool):
    spool.put(image(0))
    spool.put(image(1))
    sink = Sink(SinkResponse(status=422, body=b'{"title":\n"not an image"}' + b"x" * 900), TAKEN)
    with delivering(spool, sink) as lane:
        wait_until(lambda: len(lane.attempts) == 2)
    assert sink.got == ["id-0", "id-1"]
    [letter] = spool.dead("out")
    assert (letter.entry.event, letter.status) == (image(0), 422)
    assert letter.reason.startswith('answered 422: {"title": "not an image"}')
    assert len(letter.reason) < 300


@pytest.mark.parametrize(
    ("option", "fails", "counts"),
    [
        ("on_dead", False, {"rejected": (1, 0)}),
        ("on_dead", True, {"out": (0, 1)}),
        ("report_dead", False, {"out": (0, 1), "rejected": (1, 0)}),
    ],
)
def test_a_dead_letter_can_be_an_event_instead_or_be_reported_and_is_kept_when_that_fails(
    spool: Spool, option: str, fails: bool, counts: dict[str, tuple[int, int]], caplog: pytest.LogCaptureFixture
):
    def reject(entry: Entry, judged: AttemptResult) -> Puts:
        if fails:
            raise ValueError
        return [(entry.event.with_extensions(rejectedstatus=str(judged.status)), ("rejected",))]

    options: dict[str, Any] = {option: reject}
    spool.put(image())
    with delivering(spool, Sink(SinkResponse(status=415)), **options) as lane:
        wait_until(lambda: lane.attempts)
    assert spool.counts() == counts


# When the spool fails


@pytest.mark.parametrize("parallel", [1, 2])
def test_an_entry_whose_release_fails_is_kept_and_sent_again(
    tmp_path: Path, parallel: int, caplog: pytest.LogCaptureFixture
):
    disk, sink, clock = FailingDisk(), Sink(TAKEN), ManualClock()

    def send(event: Event) -> SinkResponse:
        wait_until(lambda: parallel == 1 or clock.waiting)  # for what comes next
        return sink(event)

    with Spool(tmp_path / "spool.db", connect=disk.connect, clock=clock) as spool:
        spool.put(image())
        disk.fails = "COMMIT"
        with delivering(spool, send, parallel=parallel) as lane:
            wait_until(lambda: "disk is full; no event is removed" in lane.status().reason)
            assert spool.counts() == {"out": (1, 0)}
            disk.fails = ""
            for _ in range(3):
                wait_until(lambda: clock.waiting)
                clock.turn(1.0)
            wait_until(lambda: lane.attempts, 5)
            assert not lane.status().paused
        assert spool.counts() == {}
    assert set(sink.got) == {"id-0"}
    assert len(sink.got) > 1
    assert sum("no event is removed" in record.getMessage() for record in caplog.records) == 1


def test_a_spool_that_takes_its_time_holds_up_neither_status_nor_stop(tmp_path: Path):
    """A damaged file that is replaced meanwhile is one case."""
    disk = FailingDisk()
    with Spool(tmp_path / "spool.db", connect=disk.connect) as spool:
        disk.holds.clear()
        with delivering(spool, Sink(TAKEN)) as lane:
            asker = threading.Thread(target=lambda: (lane.status(), lane.stop(0.1)))
            asker.start()
            asker.join(10)
            is_answered = not asker.is_alive()
            disk.holds.set()
            asker.join()
        assert is_answered


# Stopping and leases


def test_stopping_finishes_what_is_in_flight_and_leaves_the_rest(spool: Spool):
    for number in range(3):
        spool.put(image(number))
    sending, go_on = threading.Event(), threading.Event()

    def send(event: Event) -> SinkResponse:
        sending.set()
        assert go_on.wait(10)
        return TAKEN

    other = spool.lease("out")
    with delivering(spool, send, leases=[spool.lease("out")]) as lane:
        assert sending.wait(10)
        assert not lane.stop(0.01), "one is in flight"
        assert not other.acquire(), "another process would send it too"
        go_on.set()
        assert lane.stop(10)
        assert other.acquire()
        other.release()
    assert [entry.event.id for entry in spool.peek("out", limit=9)] == ["id-1", "id-2"]


def test_without_the_lease_nothing_is_sent_until_its_holder_lets_go(spool: Spool):
    other = spool.lease("out")
    assert other.acquire()
    spool.put(image())
    sink = Sink(TAKEN)
    with delivering(spool, sink, leases=[spool.lease("out")]) as lane:
        assert sink.got == []
        other.release()
        wait_until(lambda: lane.attempts)
        assert not other.acquire()
    assert other.acquire(), "a lane that was stopped gives it back"
    other.release()


def test_what_a_full_disk_makes_be_sent_again_is_sent_ever_less_often(tmp_path: Path):
    disk, sink, pauses = FailingDisk(), Sink(TAKEN), list[int]()
    with Spool(tmp_path / "spool.db", connect=disk.connect, clock=FROZEN) as spool:
        spool.put(image())
        disk.fails = "COMMIT"
        with delivering(spool, sink) as lane:
            for number in range(1, 5):
                wait_until(lambda number=number: len(sink.got) == number and lane.status().paused)  # type: ignore[misc]
                pauses.append(round((lane.status().next_try_at or 0.0) - NOW))
                disk.fails = "" if number == 4 else "COMMIT"
                lane.try_now()
            wait_until(lambda: spool.counts() == {})
    assert pauses == [1, 2, 4, 8]
