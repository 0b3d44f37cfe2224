"""The page Try it: a photo and what a function says about it."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from eaves.console.app import create_app
from eaves.console.context import ConsoleContext
from eaves.console.security.guard import UPLOAD_BYTES
from eaves.console.views.try_it import MAX_PHOTOS, PARALLEL
from eaves.delivery import SinkResponse
from eaves.errors import NotRunningError, OverloadedError
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.platform import FunctionStatus
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, open_console
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


def post(client: Browser, *photos: tuple[bytes, str], function: str = "flowers", fragment: bool = False) -> str:
    files = [FileStorage(stream=io.BytesIO(data), filename=name) for data, name in photos]
    headers = {"X_Fragment": "results"} if fragment else {}
    answer = client.submit("/try", {"function": function, "photo": files}, **headers)
    assert answer.status_code == 200
    return answer.text


def post_raw(backend: FakeBackend, body: bytes, content_type: str, *, token: bool = True) -> TestResponse:
    browser = open_console(backend)
    headers = {"Origin": browser.url, **({"X-CSRF-Token": browser.token("/try")} if token else {})}
    return browser.client.post("/try", base_url=browser.url, data=body, content_type=content_type, headers=headers)


def test_a_large_photo_needs_no_room_on_the_disk(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/full")  # where Flask would write it
    fields = [
        b'name="function"\r\n\r\nflowers',
        b'name="photo"; filename="a.png"\r\n\r\n' + encode_png((1, 2, 3)) + bytes(1_000_000),
    ]
    parts = [b"--x\r\nContent-Disposition: form-data; " + field + b"\r\n" for field in fields]
    answer = post_raw(backend, b"".join([*parts, b"--x--\r\n"]), "multipart/form-data; boundary=x")
    assert answer.status_code == 200
    assert "&lt;b&gt;rose" in answer.text


class FullServer(io.RawIOBase):
    """The body of a request for which the server has no memory now."""

    position = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:  # Werkzeug's client measures the body
        self.position = 1_000 if whence else offset
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: object) -> int:
        raise OverloadedError("too many bodies at the same time")


@pytest.mark.parametrize("token", [True, False])
def test_a_photo_that_the_server_has_no_memory_for_may_be_tried_again(backend: FakeBackend, token: bool) -> None:
    browser = open_console(backend)
    headers = {"Origin": browser.url, "X-Fragment": "results"}
    headers |= {"X-CSRF-Token": browser.token("/try")} if token else {}
    answer = browser.client.post(
        "/try", base_url=browser.url, headers=headers, input_stream=FullServer(),
        content_length=1_000, content_type="multipart/form-data; boundary=x",
    )  # fmt: skip
    assert answer.status_code == 429
    assert answer.text.lstrip().startswith("<article"), "the script shows this part of a page, not a whole one"
    assert "Try again in a moment." in answer.text


def test_the_form_works_without_a_script(backend: FakeBackend) -> None:
    text = open_console(backend).open("/try").text
    assert 'accept="image/*" capture="environment"' in text
    assert 'enctype="multipart/form-data"' in text
    assert "flowers (asleep: starts with your photo)" in text
    assert "nothing is forwarded" in text.replace("\n", " ")


def test_a_photo_goes_to_the_function_as_an_image_event(backend: FakeBackend) -> None:
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


def test_more_than_two_at_a_time_are_refused_in_words(backend: FakeBackend) -> None:
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


def test_several_photos_are_answered_one_after_the_other(backend: FakeBackend) -> None:
    text = post(open_console(backend), *((b"x", f"{number}.png") for number in range(MAX_PHOTOS + 2)))
    assert text.count("rose, 90%") == MAX_PHOTOS
    assert "2 more photos were not tried." in text


def test_faults_are_shown_in_words(backend: FakeBackend) -> None:
    client = open_console(backend)
    assert "No photo was chosen." in post(client)
    assert "There is no such function." in post(client, (b"x", "a.png"), function="none")

    def refuse(name: str, event: Event) -> SinkResponse:
        raise NotRunningError("eaves up doesn't run", hint="start it")

    backend.answer = refuse
    assert "eaves up doesn&#39;t run" in post(client, (b"x", "a.png"))


def test_too_large_a_photo_is_refused(backend: FakeBackend) -> None:
    answer = post_raw(backend, bytes(UPLOAD_BYTES + 1), "multipart/form-data; boundary=x")
    assert answer.status_code == 413
    assert "The photo is too large." in answer.text
    assert backend.changes == []
    early = post_raw(backend, bytes(UPLOAD_BYTES + 1), "multipart/form-data; boundary=x", token=False)
    assert (early.status_code, "The photo is too large." in early.text) == (413, True)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\nhalf a part"),
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x\r\n" * 100_000),
    ],
)
def test_a_broken_form_gives_a_message(backend: FakeBackend, content_type: str, body: bytes) -> None:
    answer = post_raw(backend, body, content_type)
    assert answer.status_code in (200, 400, 413)
    assert "<article" in answer.text
