"""The pages of dead letters, on real queues."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from eaves.admin import Action, Selection
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import describe_silent
from eaves.console.pages.dead_letters import (
    RETRY_LATER,
    SAME_AGAIN,
    DeadLetterView,
)
from eaves.delivery import LaneDelivery
from eaves.platform import FunctionStatus
from eaves.spool import Spool
from eaves.spool.admin import Stored
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, text_of
from tests.fakes.console.browser import open_console as browser_of
from tests.fakes.console.material import captured_event
from tests.fakes.console.queues import LANE, Failure, put_dead

REFUSED = Failure(reason="connection refused", status=0)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", clock=FrozenClock(START)) as made:
        yield made


@pytest.fixture
def backend(spool: Spool) -> FakeBackend:
    """A platform with one queue, whose lane is delivered."""
    queue = SpoolQueue(spool, deliveries=lambda: [LaneDelivery(lane=LANE)])
    return FakeBackend(named_queues={"broker": queue})


@pytest.fixture
def browser(backend: FakeBackend) -> Browser:
    return open_console(backend)


open_console = partial(browser_of, clock=FrozenClock(START + 5))


def test_lanes_with_dead_letters_are_listed_and_a_queue_that_does_not_answer_is_named(
    spool: Spool, backend: FakeBackend
):
    put_dead(spool, [captured_event(number) for number in range(3)])
    silent = describe_silent("flowers", ["cam"], state="unknown", reason="the process doesn't answer")
    lanes = backend.named_queues["broker"].report().lanes
    backend.functions = [FunctionStatus(name="flowers", state="ready", lanes=lanes, agents=(silent,))]
    page = open_console(backend).open("/dead-letters/").text
    assert "broker: images to the function trigger/flowers/flowers 3" in text_of(page)
    assert "The queue flowers can't be read: the process doesn't answer" in text_of(page)
    assert 'href="/dead-letters/broker/?lane=trigger/flowers/flowers"' in page


def test_a_dead_letter_has_its_reason_status_and_picture(spool: Spool, browser: Browser):
    (number,) = put_dead(spool, [captured_event(7)])
    page = browser.open("/dead-letters/broker/").text
    assert "frame-7.jpg the image is corrupt refused: the data can't be processed (422), 5 seconds ago" in text_of(page)
    assert f'src="/dead-letters/broker/{number}/image"' in page
    page = browser.open(f"/dead-letters/broker/{number}").text
    assert "partitionkey camera-1" in text_of(page)
    picture = browser.open(f"/dead-letters/broker/{number}/image")
    assert (picture.status_code, picture.mimetype, picture.data[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert picture.headers["X-Content-Type-Options"] == "nosniff"


def test_data_that_is_no_image_is_never_sent_as_one(spool: Spool, browser: Browser):
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    event = replace(captured_event(1, data=script), datacontenttype="image/svg+xml")
    (number,) = put_dead(spool, [event])
    assert browser.open(f"/dead-letters/broker/{number}/image").status_code == 404
    page = browser.open(f"/dead-letters/broker/{number}").text
    assert "This image can't be shown: its data can't be decoded." in text_of(page)
    data = browser.open(f"/dead-letters/broker/{number}/data")
    assert (data.mimetype, data.data) == ("application/octet-stream", script)
    assert data.headers["Content-Disposition"] == f'attachment; filename="entry-{number}.bin"'


def test_an_entry_that_vanished_meanwhile_is_said_to_be_gone(spool: Spool, browser: Browser):
    (number,) = put_dead(spool, [captured_event(1)])
    SpoolQueue(spool).change(Action.DROP, Selection(seqs=(number,)))
    answer = browser.submit(f"/dead-letters/broker/{number}/retry")
    page = browser.open(answer.location)
    assert page.status_code == 404
    assert "This entry isn't in the queue any more" in text_of(page.text)
    assert "Nothing to delete" in text_of(browser.open(f"/dead-letters/broker/delete?seq={number}").text)
    answer = browser.submit("/dead-letters/broker/delete", {"seq": str(number)})
    assert "No dead letter was changed" in text_of(browser.open(answer.location).text)


def test_deleting_asks_first_and_names_the_number(spool: Spool, browser: Browser):
    put_dead(spool, [captured_event(number) for number in range(3)])
    put_dead(spool, [captured_event(8)], REFUSED)
    page = browser.open(f"/dead-letters/broker/delete?lane={LANE}&reason=connection+refused").text
    assert "Delete 1 dead letter for good?" in text_of(page)
    assert spool.counts()[LANE] == (0, 4)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    answer = browser.submit(
        "/dead-letters/broker/delete", {key: html.unescape(fields[key]) for key in ("lane", "reason")}
    )
    assert "1 dead letter is deleted." in text_of(browser.open(answer.location).text)
    assert spool.counts()[LANE] == (0, 3)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dead-letters/nope/", 404),
        ("/dead-letters/broker/999", 404),
        (f"/dead-letters/broker/{1 << 70}", 404),
        (f"/dead-letters/broker/?after={1 << 70}", 200),
        ("/dead-letters/broker/delete?seq=x", 400),
        ("/dead-letters/broker/?reason=%00%ff", 200),
    ],
)
def test_odd_addresses_are_answered(browser: Browser, path: str, status: int):
    assert browser.open(path).status_code == status


ENTRY = Stored(
    seq=7,
    lane="trigger/flowers/flowers",
    state="dead",
    source="/eaves/mill/camera-1",
    event_id="e7",
    type="dev.eaves.image.captured.v1",
    subject="cap-7.jpg",
    datacontenttype="image/jpeg",
    size_bytes=2_048,
    attempts=1,
    put_at=100.0,
    not_before=0.0,
    died_at=101.5,
    status=422,
    reason='answered 422: {"type": "urn:eaves:problem:image", "detail": "the image is corrupt',
)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (0, RETRY_LATER),
        (404, "Check the address of its trigger, then retry it."),
        (422, SAME_AGAIN),
        (500, RETRY_LATER),
    ],
)
def test_a_dead_letter_says_whether_a_retry_helps(status: int, advice: str):
    assert DeadLetterView(replace(ENTRY, status=status)).advice == advice
    assert DeadLetterView(replace(ENTRY, status=status, state="queued")).advice == ""
