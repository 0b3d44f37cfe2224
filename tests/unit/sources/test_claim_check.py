"""Large images are in their bucket before their events are spooled; while that fails, events keep their data."""

from __future__ import annotations

import hashlib
import logging
import threading

import pytest

from eaves.errors import EavesError, SpoolFullError, UnreachableError
from eaves.events import Event, event_id
from eaves.sources.agent.context import AgentContext
from eaves.sources.claim_check import ClaimChecker
from eaves.sources.frame import Frame, Outcome
from tests.fakes.bucket import DictBucket
from tests.fakes.clock import ManualClock
from tests.sources.contexts import build_context
from tests.waiting import wait_until

SMALL, LARGE = b"\xff\xd8\xff" + bytes(97), b"\xff\xd8\xff" + bytes(98)
OVER_BYTES = 100


class GatedBucket(DictBucket):
    """A bucket whose requests to store an object wait for `gate`, and fail with `error` while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: EavesError | None = None
        self.puts: list[str] = []
        self.types: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        self.puts.append(key)
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.types[key] = content_type
        return super().put(key, data, content_type=content_type)

    def abort(self) -> None:
        self.gate.set()


class Rig:
    """A context with a bucket; `full` makes the queue refuse."""

    def __init__(self, prefix: str = "", **values: object) -> None:
        self.bucket = GatedBucket()
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.full = False
        self.claims = ClaimChecker(self.bucket, over_bytes=OVER_BYTES, prefix=prefix, clock=self.clock)
        self.context: AgentContext = build_context(clock=self.clock, store=self._store, claims=self.claims, **values)

    def _store(self, event: Event) -> bool:
        if self.full:
            raise SpoolFullError("full")
        if self.context.index.seen(event.source, event.id):
            return False
        self.context.index.remember(event.source, [event.id])
        self.events.append(event)
        return True

    def capture(self, data: bytes, position: str = "1") -> Event:
        assert self.context.capture(Frame(data=data, position=position)) is Outcome.CAPTURED
        return self.events[-1]


def test_a_large_image_is_in_the_bucket_and_its_event_refers_to_it() -> None:
    rig = Rig(prefix="images")
    assert rig.capture(SMALL, "1").data == SMALL
    event = rig.capture(LARGE, "2")
    digest = hashlib.sha256(LARGE).hexdigest()
    key = f"images/test/cam/{event_id('/eaves/test/cam', '2')}-{digest[:16]}.jpg"
    assert (rig.bucket.data, rig.bucket.types) == ({key: LARGE}, {key: "image/jpeg"})
    assert (event.data, event.datacontenttype) == (b"", "image/jpeg")
    assert event.extensions == {
        "partitionkey": "cam",
        "dataref": f"https://store.example/photos/{key}",
        "datadigest": f"sha256:{digest}",
    }


def test_an_image_that_waits_for_a_full_queue_is_stored_once() -> None:
    rig = Rig()
    rig.full = True
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            rig.context.capture(Frame(data=LARGE, position="1"))
    rig.full = False
    rig.capture(LARGE)
    assert len(rig.bucket.puts) == 1


def test_an_image_that_was_captured_before_is_not_stored_again() -> None:
    """Neither by another process, which remembers no key, nor when its bytes have changed since."""
    rig = Rig()
    rig.context.index.remember("/eaves/test/cam", [event_id("/eaves/test/cam", "1")])
    assert rig.context.capture(Frame(data=LARGE, position="1")) is Outcome.DROPPED
    assert rig.bucket.puts == []


def test_other_data_of_the_same_id_replaces_no_object() -> None:
    rig = Rig()
    rig.capture(LARGE)
    rig.context.index.forget(rig.context.source, float("inf"))
    rig.capture(LARGE + b"changed")
    assert len(rig.bucket.objects) == 2


def test_while_the_bucket_can_not_be_used_events_keep_their_data(caplog: pytest.LogCaptureFixture) -> None:
    rig, error = Rig(), UnreachableError("no connection to store.example")
    rig.bucket.error = error
    with caplog.at_level(logging.INFO, "eaves.sources.claim_check"):
        assert rig.capture(LARGE, "1").data == LARGE
        for number in range(5):  # within the pause: the bucket isn't asked at all
            assert rig.capture(LARGE, f"again {number}").data == LARGE
        assert len(rig.bucket.puts) == 1
        rig.bucket.error = None
        rig.clock.turn(2)
        rig.capture(LARGE, "2")
        wait_until(lambda: len(caplog.records) == 2)  # the second one is about the bucket that is used again
    assert rig.capture(LARGE, "3").data == b""
    assert error.message in str(rig.context.counters.last_error)
    warning, back = [record.getMessage() for record in caplog.records]
    assert warning.endswith(f"can't be used: {error.message}")
    assert back == "source test/cam: large images are stored in their bucket again"


def test_no_image_waits_for_a_bucket_that_is_known_to_be_silent() -> None:
    rig = Rig()
    rig.bucket.error = UnreachableError("no answer")
    rig.capture(LARGE, "1")
    rig.clock.turn(3600)
    rig.bucket.gate.clear()
    for number in range(20):  # one thread asks, and the images don't wait for it
        rig.capture(LARGE, f"again {number}")
    assert len(wait_until(lambda: rig.bucket.puts[1:])) == 1
    assert rig.bucket.puts[1] == "test/cam/connection-test"
    assert [thread.name for thread in threading.enumerate()].count("claim-check") == 1
    rig.context.stop()
    wait_until(lambda: "claim-check" not in [thread.name for thread in threading.enumerate()])
