"""The first screen and the events pages over Flask's client."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import eaves.console
from eaves.admin.queue import SpoolQueue
from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.thumbnails import Gallery
from eaves.spool import LedgerLimits, Spool
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.material import build_flow

HTMX = {"HX-Request": "true"}
STATIC = Path(eaves.console.__file__).with_name("static")
HOSTILE = "\"'><script>alert(1)</script><hx-partial hx-target=body>"


@pytest.fixture
def backend() -> FakeBackend:
    found = FakeBackend()
    build_flow(60, with_images=False).put_into(found)
    return found


@pytest.fixture
def client(backend: FakeBackend) -> FlaskClient:
    clock = FrozenClock(START + 200)
    return create_app(ConsoleContext(backend=backend, clock=clock)).test_client()


def rows_in(html: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'id="event-(\d+)"', html)]


def test_events_are_paged_without_a_script(client: FlaskClient) -> None:
    first = client.get("/events")
    assert rows_in(first.text) == list(range(120, 20, -2))
    (older,) = set(re.findall(r'href="(/events\?before=\d+)"', first.text))
    second = client.get(older).text
    assert rows_in(second) == list(range(20, 0, -2))
    assert "before=" not in second
    assert 'href="/events">Back to the newest events' in second


def test_a_filter_answers_with_its_list_and_a_short_address(client: FlaskClient) -> None:
    query = {"label": "rose", "source": "camera-1", "confidence": "", "since": "", "until": "", "text": "", "kind": ""}
    answer = client.get("/events", query_string=query, headers=HTMX)
    assert answer.headers["HX-Push-Url"] == "/events?label=rose&source=camera-1"
    assert answer.headers["Vary"] == "HX-Request"
    assert "<html" not in answer.text
    assert rows_in(answer.text)
    assert set(re.findall(r"data-dialog>(\w+)</a>", answer.text)) == {"rose"}


def test_the_next_rows_are_only_rows(client: FlaskClient) -> None:
    answer = client.get("/events?before=21", headers=HTMX)
    assert rows_in(answer.text) == list(range(20, 0, -2))
    assert answer.text.strip().startswith("<li")


def test_an_event_is_a_page_and_a_dialog(client: FlaskClient) -> None:
    page, part = client.get("/events/120").text, client.get("/events/120", headers=HTMX).text
    assert '<h1 class="event-title" id="dialog-title">' in page
    assert "<html" not in part
    assert '<h2 class="event-title" id="dialog-title">' in part
    for text in ("Captured by camera-2", "Predicted by flowers", "30 ms later", "Run the model", "22 ms"):
        assert text in page


@pytest.mark.parametrize("address", ["/events/9999", f"/events/{2**63}"])
def test_an_event_that_is_gone_is_not_found(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "no longer in the history" in answer.text


def test_the_relay_is_asked_what_became_of_an_event(backend: FakeBackend, client: FlaskClient, tmp_path: Path) -> None:
    assert "relay" not in client.get("/events/120").text
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits()) as spool:
        spool.put(build_flow(60, with_images=False).events[-1], lanes=("out",))
        backend.named_queues["flowers.relay"] = SpoolQueue(spool)
        assert "Waiting in the relay&#39;s queue" in client.get("/events/120").text
        assert "Waiting in the relay&#39;s queue" in client.get("/events/119").text
        (entry,) = spool.peek("out", limit=1)
        spool.ack(entry)
        assert "Delivered to the cloud" in client.get("/events/120").text


def test_a_picture_that_is_not_kept_is_not_asked_for(backend: FakeBackend, client: FlaskClient) -> None:
    assert client.get("/events").text.count("<img") == 50
    for identity in [one.identity for one in backend.records.kept[80:120:2]]:
        backend.images.thumbnails.pop(identity, None)
    assert client.get("/events").text.count("<img") == 30
    assert client.get("/").text.count("<img") == 30


def test_images_are_in_the_order_of_their_events_however_late_each_picture_was_drawn(
    backend: FakeBackend, client: FlaskClient, tmp_path: Path
) -> None:
    gallery = Gallery(tmp_path / "thumbnails.db", backend.images.image, clock=FrozenClock(START + 2_000))
    backend.images = gallery  # type: ignore[assignment] # a real one, in place of the fake
    captured = [one for one in backend.records.kept if one.cause is None]
    for record in (*captured[30:], *captured[5:30]):
        gallery.thumbnail(record)
    first = client.get("/images").text
    assert rows_in(first) == list(range(120, 20, -2))
    assert (first.count("<img"), first.count("data-dialog>")) == (50, 50)
    assert '<a href="/images" aria-current="page">Images</a>' in first
    (older,) = set(re.findall(r'href="(/images\?before=\d+)"', first))
    second = client.get(older).text
    assert rows_in(second) == list(range(20, 10, -2))
    assert "before=" not in second
    unsure = client.get("/images?confidence=low&source=camera-1").text
    assert rows_in(unsure) == [seq for seq in range(120, 10, -2) if seq // 2 % 14 == 7]
    gallery.close()


def test_the_files_of_every_page_are_small() -> None:
    assert (STATIC / "console.css").stat().st_size < 20_000
    assert (STATIC / "console.js").stat().st_size <= 6_144
