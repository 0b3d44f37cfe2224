"""The pages of models over a run that was trained, and a function that runs."""

import json
import re
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.events import Event, decode, encode_binary
from eaves.platform import FunctionStatus
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser, open_console
from tests.processes.function import Function


@pytest.fixture
def browser(tiny_run: Path, shared_function: Function) -> Browser:
    """A console with the run."""

    def invoke(name: str, event: Event) -> SinkResponse:
        headers, body = encode_binary(event)
        status, answered, content = shared_function.request("POST", "/", body, **headers)
        reply = decode(answered, content) if status == 200 else None
        return SinkResponse(status=status, event=reply, body=b"" if reply else content, latency_ms=12.0)

    backend = FakeBackend(
        functions=[FunctionStatus(name="digits", state="ready", replicas=1, site="barn")],
        known_runs={"run": tiny_run},
        answer=invoke,
    )
    return open_console(backend)


def test_the_run_shows_what_it_measured_and_every_counted_photo(browser: Browser, tiny_run: Path):
    measured = json.loads((tiny_run / "metrics.json").read_text())
    text = browser.open("/models/runs/run").text
    right = sum(row[number] for number, row in enumerate(measured["confusion"]))
    assert f"{right} of {measured['val_images']} held-out images, 95% interval" in text
    for truth, row in enumerate(measured["confusion"]):
        for predicted, count in enumerate(row):
            cell = browser.open(f"/models/runs/run?truth={truth}&predicted={predicted}").text
            photos = re.findall(r'src="(/models/runs/run/photos/[^"]+)"', cell)
            assert len(photos) == min(count, 12)
            for photo in photos[:1]:
                assert browser.open(photo).content_type == "image/jpeg"


def test_a_photo_is_predicted_and_what_is_no_photo_is_named(browser: Browser, tiny_artifact: Path):
    with (tiny_artifact / "golden/000.png").open("rb") as photo:
        text = browser.submit("/try", {"function": "digits", "photo": (photo, "a digit.png")}).text
    assert "The answer took 12 ms. Model digits" in text
    assert "the model: " in text
    with (tiny_artifact / "labels.txt").open("rb") as photo:
        text = browser.submit("/try", {"function": "digits", "photo": (photo, "labels.txt")}).text
    assert "The function refused the photo (422)." in text
