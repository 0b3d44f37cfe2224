"""The first screen and the events pages over Flask's client."""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import eaves.console
from eaves.admin.queue import SpoolQueue
from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.pages.event_row import ANSWERED, build_row
from eaves.console.pages.events import NOT_KNOWN, build_detail, build_record_filter, parse_filter
from eaves.console.thumbnails import Gallery
from eaves.events import DATASET_UPDATED, MODEL_PUBLISHED, MODEL_SHIFTED
from eaves.spool import LedgerLimits, Spool
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.material import DIGEST, build_flow, captured_event, inspected_event, record_of, rejected_event

HTMX = {"HX-Request": "true"}
STATIC = Path(eaves.console.__file__).with_name("static")


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


def test_a_filter_answers_with_its_list_and_a_short_address(client: FlaskClient):
    query = {"label": "rose", "source": "camera-1", "confidence": "", "since": "", "until": "", "text": "", "kind": ""}
    answer = client.get("/events", query_string=query, headers=HTMX)
    assert answer.headers["HX-Push-Url"] == "/events?label=rose&source=camera-1"
    assert answer.headers["Vary"] == "HX-Request"
    assert "<html" not in answer.text
    assert rows_in(answer.text)
    assert set(re.findall(r"data-dialog>(\w+)</a>", answer.text)) == {"rose"}


def test_a_row_says_why_an_image_was_chosen():
    captured = captured_event(1)
    chosen = captured.with_extensions(chosen="unsure", label="rose")
    titles = [build_row(record_of(event, 1)).title for event in (captured, chosen)]
    assert titles == ["Image captured", "Chosen for labelling: unsure"]


def test_the_next_rows_are_only_rows(client: FlaskClient):
    answer = client.get("/events?before=21", headers=HTMX)
    assert rows_in(answer.text) == list(range(20, 0, -2))
    assert answer.text.strip().startswith("<li")


def test_an_event_is_a_page_and_a_dialog(client: FlaskClient):
    page, part = client.get("/events/120").text, client.get("/events/120", headers=HTMX).text
    assert '<h1 class="event-title" id="dialog-title">' in page
    assert "<html" not in part
    assert '<h2 class="event-title" id="dialog-title">' in part
    for text in ("Captured by camera-2", "Predicted by flowers", "30 ms later", "Run the model", "22 ms"):
        assert text in page


def test_an_inspected_image_has_boxes_over_it_and_the_same_in_words(backend: FakeBackend, client: FlaskClient):
    cause = captured_event(900)
    backend.records.kept += [record_of(cause, 900), record_of(inspected_event(cause), 901)]
    page = client.get("/events/901").text
    assert "anomalous" in page
    assert "score 5.125, alarm above 4, p-value 0.012, not sure" in page
    assert '<svg class="boxes"' in page
    assert 'aria-label="2 unusual regions"' in page
    assert '<rect class="box" x="0.25" y="0.5" width="0.2" height="0.1"/>' in page
    assert "25% from the left, 50% from the top, 20% wide, 10% high: score 5.125" in page
    listed = client.get("/events", headers=HTMX).text
    row = listed[listed.index('id="event-901"') : listed.index("</li>", listed.index('id="event-901"'))]
    assert ">5.125 &gt; 4</span>" in row, "its score is above the threshold"
    assert "%" not in row
    assert 'class="bar"' not in row


@pytest.mark.parametrize("address", ["/events/9999", f"/events/{2**63}"])
def test_an_event_that_is_gone_is_not_found(client: FlaskClient, address: str):
    answer = client.get(address)
    assert answer.status_code == 404
    assert "no longer in the history" in answer.text


def test_the_relay_is_asked_what_became_of_an_event(backend: FakeBackend, client: FlaskClient, tmp_path: Path):
    assert "relay" not in client.get("/events/120").text
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits()) as spool:
        spool.put(build_flow(60, with_images=False).events[-1], lanes=("out",))
        backend.named_queues["flowers.relay"] = SpoolQueue(spool)
        assert "Waiting in the relay&#39;s queue" in client.get("/events/120").text
        assert "Waiting in the relay&#39;s queue" in client.get("/events/119").text
        (entry,) = spool.peek("out", limit=1)
        spool.dead_letter(entry, "answered 403: not this site", 403)
        assert "Refused by the cloud: answered 403: not this site" in client.get("/events/120").text
        spool.put(build_flow(60, with_images=False).events[-3], lanes=("out",))
        (entry,) = spool.peek("out", limit=1)
        spool.ack(entry)
        assert "Delivered to the cloud" in client.get("/events/118").text
        assert NOT_KNOWN in client.get("/events/116").text


def test_images_are_in_the_order_of_their_events_however_late_each_picture_was_drawn(
    backend: FakeBackend, client: FlaskClient, tmp_path: Path
):
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


def test_the_files_of_every_page_are_small():
    assert (STATIC / "console.css").stat().st_size < 20_000
    assert (STATIC / "console.js").stat().st_size <= 6_144


CAUSE = captured_event(subject="a.jpg")
CAPTURED = record_of(CAUSE, 1, at=START)


def test_a_refusal_gives_its_reason():
    refused = record_of(rejected_event(CAUSE, reason="the image is corrupt"), 2, at=START + 1)
    step = build_detail(refused, [CAPTURED, refused])["steps"][1]
    assert (step.title, step.state, step.detail) == ("Refused by flowers", "failing", "the image is corrupt")


def test_fields_that_are_not_valid_are_left_out():
    wanted = parse_filter(
        {"kind": "x", "confidence": "'", "since": "yesterday", "until": "9999-99-99", "text": "a" * 999}
    )
    assert wanted == {"text": "a" * 200}


def test_times_are_of_this_machine_and_include_the_last_minute():
    records = build_record_filter(parse_filter({"since": "2026-11-26T14:00", "until": "2026-11-26T14:02"}))
    assert records.since == datetime(2026, 11, 26, 14, 0).timestamp()  # noqa: DTZ001 - this machine's time zone
    assert records.until is not None
    assert records.until - records.since == pytest.approx(2 * 60 + 59.999, abs=0.01)
    assert records.types == ANSWERED


def test_an_event_about_a_shift_shows_its_unusual_images_as_far_as_they_are_known(backend: FakeBackend):
    flow = build_flow(4)
    flow.put_into(backend)
    images = [event.id for event in flow.events[:6:2]]
    about = {
        "artifact": f"sha256:{DIGEST}",
        "source": flow.events[0].source,
        "labels": ["rose"],
        "images": [*images, "gone", 3],
    }
    reply = flow.events[1]
    shift = replace(reply, id="s", type=MODEL_SHIFTED, data=json.dumps(about).encode(), extensions={})
    records = [record_of(event, 1_000 + number) for number, event in enumerate([*flow.events, shift])]
    backend.records.kept = records
    backend.images.thumbnails.pop((flow.events[4].source, images[2]), None)
    page = create_app(ConsoleContext(backend=backend, clock=FrozenClock(START + 200))).test_client()
    shown = page.get(f"/events/{records[-1].seq}").text
    # Of another camera is the second, so its reply can't be found by this source.
    assert re.findall(r'id="unusual-(\d+)"', shown) == ["1001", "1005"]
    assert shown.count("<img") == 1
    assert "taken for rose no longer score" in shown
    for data in (b"{}", b"[]", b'{"images": {}, "labels": 3}', b'{"images": [[]], "labels": [[]]}', b"{"):
        backend.records.kept[-1] = record_of(replace(shift, data=data), records[-1].seq)
        assert page.get(f"/events/{records[-1].seq}").status_code == 200
    assert rows_in(page.get("/events?kind=shifted").text) == [records[-1].seq]


@pytest.mark.parametrize(
    ("kind", "title"), [(DATASET_UPDATED, "Dataset updated"), (MODEL_PUBLISHED, "Model published")]
)
def test_an_event_about_a_dataset_or_a_model_is_not_shown_as_an_image(backend: FakeBackend, kind: str, title: str):
    event = replace(build_flow(1).events[1], type=kind, extensions={})
    backend.records.kept = [record_of(event, 1_000)]
    page = create_app(ConsoleContext(backend=backend, clock=FrozenClock(START + 200))).test_client()
    shown = page.get("/events/1000").text
    assert title in shown
    assert "Captured by" not in shown
    assert "Not predicted yet" not in shown
    assert rows_in(page.get("/events?kind=models").text) == [1000]
