"""What a delivery costs: counted looks at the spool and commits."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.delivery import Deliverer, DeliveryAttempt, DeliveryOutcome, EventSender, SinkResponse
from eaves.spool import Entry, Selection, Spool
from eaves.spool.admin import redrive
from tests.unit.delivery.harness import FROZEN, Sink, delivering, image
from tests.waiting import wait_until

EVENTS = 40


class LookedAt(Spool):
    """A spool that counts the looks for what is due, and the wake-ups that nothing was put for."""

    looks = 0
    wakes = 0

    def peek(self, lane: str, **options: Any) -> list[Entry]:
        self.looks += 1
        return super().peek(lane, **options)

    def wake(self, lane: str | None = None) -> None:
        self.wakes += 1
        super().wake(lane)


def _is_after(attempts: list[DeliveryAttempt], number: int) -> bool:
    return len(attempts) > number


@pytest.mark.parametrize("parallel", [2, 8])
def test_an_event_that_comes_alone_is_looked_for_once(parallel: int, tmp_path: Path) -> None:
    sink = Sink(SinkResponse(status=202))
    with LookedAt(tmp_path / "spool.db", clock=FROZEN) as spool, delivering(spool, sink, parallel=parallel) as attempts:
        for number in range(EVENTS):
            spool.put(image(number))
            wait_until(partial(_is_after, attempts, number), what="the delivery")
        assert spool.wakes == 0
        assert spool.looks < 2 * EVENTS  # one for each, one at the start, and one a second for other processes' events
        assert spool.depth() == 0


def test_a_dead_letter_that_is_queued_again_while_it_is_reported_is_sent_again(tmp_path: Path) -> None:
    """Looks meanwhile leave it out, as it is in flight still: its lane is woken once it isn't."""
    sink = Sink(SinkResponse(status=422), SinkResponse(status=202))
    attempts: list[DeliveryAttempt] = []

    def observe(attempt: DeliveryAttempt) -> None:
        if attempt.outcome is DeliveryOutcome.DEAD:
            looks = spool.looks
            redrive(spool, Selection(state="dead"))
            wait_until(lambda: spool.looks > looks, what="a look that leaves it out")
        attempts.append(attempt)

    with LookedAt(tmp_path / "spool.db") as spool:
        deliverer = Deliverer(spool, "out", EventSender(sink, parallel=2), backoff=Backoff(retry=0), observe=observe)
        spool.put(image(1))
        deliverer.start()
        try:
            wait_until(lambda: attempts, what="the dead letter")
            wait_until(lambda: spool.wakes >= 2, what="the wake-up that follows the one of the operator")
            wait_until(lambda: len(attempts) == 2, what="the second attempt")
        finally:
            deliverer.stop()
    assert [attempt.outcome for attempt in attempts] == [DeliveryOutcome.DEAD, DeliveryOutcome.DELIVERED]


def test_what_waits_behind_attempts_in_flight_is_sent_when_one_ends(tmp_path: Path) -> None:
    gate, begun = threading.Semaphore(0), threading.Semaphore(0)

    def send(event: object) -> SinkResponse:
        begun.release()
        gate.acquire()
        return SinkResponse(status=202)

    with Spool(tmp_path / "spool.db", clock=FROZEN) as spool:
        for number in range(6):
            spool.put(image(number))
        with delivering(spool, send, parallel=2) as attempts:
            for number in range(6):
                assert begun.acquire(timeout=30)
                if number:
                    gate.release()
            gate.release()
            wait_until(lambda: len(attempts) == 6, what="every delivery")


def test_an_attempt_whose_outcome_can_not_be_written_is_made_again(tmp_path: Path) -> None:
    """Nothing was committed that would wake the lane."""

    class Broken(LookedAt):
        broken = True

        def ack(self, entry: Entry, *, puts: object = ()) -> None:
            if self.broken:
                self.broken = False
                raise RuntimeError("no")
            super().ack(entry)

    sink = Sink(SinkResponse(status=202))
    with Broken(tmp_path / "spool.db") as spool, delivering(spool, sink, parallel=2) as attempts:
        spool.put(image(1))
        wait_until(lambda: len(attempts) == 1, 30, what="the second attempt")
        assert sink.got == ["id-1", "id-1"]
        assert spool.peek("out") == []
