"""The page Try it: a photo and what a function says about it."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.pages.try_it import PARALLEL, clean_name, describe_answer
from eaves.delivery import SinkResponse
from eaves.errors import NotRunningError
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED, Event
from eaves.platform import FunctionStatus
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, open_console
from tests.fakes.console.material import INSPECTION
from tests.fakes.models.artifact import encode_png

ANSWER = {"predictions": [{"label": "<b>rose", "score": 0.9}, {"label": "tulip", "score": 0.1}], "model": "flowers"}


@pytest.fixture
def backend() -> FakeBackend:
    """A platform with one function, which is asleep and answers every photo alike; it keeps the events."""
    backend = FakeBackend(functions=[FunctionStatus(name="flowers", state="idle", site="mill")])
    backend.answer = lambda name, event: SinkResponse(
        status=200,
        event=Event(id="1", source="/a", type=IMAGE_CLASSIFIED, data=json.dumps(ANSWER).encode()),
        latency_ms=441.0,
    )
    return backend


def post(client: Browser, *photos: tuple[bytes, str], function: str = "flowers") -> str:
    files = [FileStorage(stream=io.BytesIO(data), filename=name) for data, name in photos]
    answer = client.submit("/try", {"function": function, "photo": files})
    assert answer.status_code == 200
    return answer.text


def post_raw(backend: FakeBackend, body: bytes, content_type: str) -> TestResponse:
    browser = open_console(backend)
    headers = {"Origin": browser.url, "X-CSRF-Token": browser.token("/try")}
    return browser.client.post("/try", base_url=browser.url, data=body, content_type=content_type, headers=headers)


def test_a_large_photo_needs_no_room_on_the_disk(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/full")  # where Flask would write it
    fields = [
        b'name="function"\r\n\r\nflowers',
        b'name="photo"; filename="a.png"\r\n\r\n' + encode_png((1, 2, 3)) + bytes(1_000_000),
    ]
    parts = [b"--x\r\nContent-Disposition: form-data; " + field + b"\r\n" for field in fields]
    answer = post_raw(backend, b"".join([*parts, b"--x--\r\n"]), "multipart/form-data; boundary=x")
    assert answer.status_code == 200
    assert "&lt;b&gt;rose" in answer.text


def test_a_photo_goes_to_the_function_as_an_image_event(backend: FakeBackend):
    seen: list[Event] = []

    def answer(name: str, event: Event) -> SinkResponse:
        seen.append(event)
        return usual(name, event)

    usual, backend.answer = backend.answer or answer, answer
    data = encode_png((1, 2, 3))
    text = post(open_console(backend), (data, "photos/<i>a.png"))
    assert [(event.source, event.subject, event.data) for event in seen] == [("/eaves/mill/console", "<i>a.png", data)]
    assert backend.changes == [("invoke", "flowers")]
    assert "&lt;b&gt;rose, 90%" in text
    assert "&lt;i&gt;a.png" in text
    assert "<b>rose" not in text


def test_an_inspected_photo_has_its_regions(backend: FakeBackend):
    event = Event(id="1", source="/a", type=IMAGE_INSPECTED, data=json.dumps(INSPECTION).encode())
    backend.answer = lambda name, cause: SinkResponse(status=200, event=event, latency_ms=40)
    text = post(open_console(backend), (encode_png((1, 2, 3)), "a.png"))
    assert "<h3>anomalous, score 5.125, alarm above 4, p-value 0.012</h3>" in text
    assert '<rect class="box" x="0.75" y="0.0" width="0.25" height="0.25"/>' in text
    assert "75% from the left, 0% from the top, 25% wide, 25% high: score 4.5" in text
    assert "p_value" not in text


def test_more_than_two_at_a_time_are_refused_in_words(backend: FakeBackend):
    asked, go_on, usual = threading.Semaphore(0), threading.Event(), backend.answer

    def answer(name: str, event: Event) -> SinkResponse:
        asked.release()
        assert go_on.wait(10)
        assert usual is not None
        return usual(name, event)

    backend.answer = answer
    app = create_app(ConsoleContext(backend=backend))
    photo = encode_png((1, 2, 3))

    def submit() -> TestResponse:
        return Browser(app).submit("/try", {"function": "flowers", "photo": (io.BytesIO(photo), "a.png")})

    with ThreadPoolExecutor(PARALLEL) as pool:
        running = [pool.submit(submit) for _ in range(PARALLEL)]
        try:
            assert all(asked.acquire(timeout=10) for _ in running)
            refused = submit()
        finally:
            go_on.set()
        assert [one.result().status_code for one in running] == [200] * PARALLEL
    assert (refused.status_code, len(backend.changes)) == (429, PARALLEL)
    assert "Other photos are being tried now." in refused.text
    assert submit().status_code == 200


def test_faults_are_shown_in_words(backend: FakeBackend):
    client = open_console(backend)
    assert "No photo was chosen." in post(client)
    assert "There is no such function." in post(client, (b"x", "a.png"), function="none")

    def refuse(name: str, event: Event) -> SinkResponse:
        raise NotRunningError("eaves up doesn't run", hint="start it")

    backend.answer = refuse
    assert "eaves up doesn&#39;t run" in post(client, (b"x", "a.png"))


def answer(document: Any) -> SinkResponse:
    event = Event(id="1", source="/a", type=IMAGE_CLASSIFIED, data=json.dumps(document).encode())
    return SinkResponse(status=200, event=event, latency_ms=40)


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"predictions": [{"label": ["a"], "score": 1e999}], "timings_ms": ["a"]},
        {
            "predictions": [{"label": "a\u202e\n\x00", "score": -5}] * 10_000,
            "timings_ms": {"x" * 9000: 1e300, "y": None},
        },
    ],
)
def test_any_answer_is_shown_as_short_printable_text(document: Any):
    outcome = describe_answer("a.jpg", answer(document))
    texts = [
        outcome.title,
        outcome.model,
        outcome.other,
        *(item.label for item in outcome.predictions),
        *(name for name, _ in outcome.stages),
    ]
    assert all(text.isprintable() and len(text) <= 2001 for text in texts)
    assert len(outcome.predictions) <= 20


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("rose.jpg", "rose.jpg"),
        ("C:\\fakepath\\../rose.jpg", "rose.jpg"),
        ("a\r\nX-Evil: 1.jpg", "aX-Evil: 1.jpg"),
        ("..", "photo"),
        ("Blüte 3.jpg", "Blüte 3.jpg"),
    ],
)
def test_a_name_has_no_folders_and_only_printable_characters(name: str, clean: str):
    assert clean_name(name) == clean
