"""The pages of functions and dead letters over a real `eaves up` with a real function."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.console import LocalBackend
from eaves.local.state import StateDirectory
from tests.contract.harness import LocalHarness
from tests.fakes.console.browser import Browser, open_console, text_of
from tests.integration.local.apps import digits_app
from tests.waiting import wait_until

PAGE = "/functions/digits"


@pytest.fixture
def browser(harness: LocalHarness, tmp_path: Path) -> Iterator[Browser]:
    backend = LocalBackend(StateDirectory(root=harness.state), tmp_path)
    yield open_console(backend)
    backend.close()


def captured(number: int, data: bytes) -> Event:
    return Event(
        id=str(number), source="/eaves/test/gate", type=IMAGE_CAPTURED, datacontenttype="image/png", data=data,
        subject=f"{number}.png",
    )  # fmt: skip


def test_predictions_dead_letters_and_a_rollback_are_shown_as_they_happen(
    harness: LocalHarness, browser: Browser, tiny_artifact: Path, tmp_path: Path
) -> None:
    harness.start()
    harness.platform.deploy(digits_app(tiny_artifact))
    asleep = text_of(browser.open(PAGE).text)
    assert "asleep starts with the next image" in asleep
    assert "Roll back" not in asleep
    harness.platform.publish(captured(1, next(tiny_artifact.glob("golden/*.png")).read_bytes()))
    harness.platform.publish(captured(2, b"no image"))
    shown = (
        "ready answers at once",
        "These are the times of 1 prediction since",
        "images to the function 1 0 1 0 1 ",  # delivered, tried again, given up, waiting, dead letters
    )

    def missing() -> list[str]:
        page = text_of(browser.open(PAGE).text)
        return [text for text in shown if text not in page]

    wait_until(lambda: not missing(), 60, pause_s=0.2, what="what the page shows of a prediction and a refusal")
    reasons = text_of(browser.fetch(f"{PAGE}/reasons").text)
    assert "refused: the data can't be processed (422) images to the function 1" in reasons
    (path,) = re.findall(r'action="([^"]+/retry)"', browser.open("/dead-letters/broker/").text)[-1:]
    assert path.startswith("/dead-letters/broker/")
    retried = browser.submit(path).location
    wait_until(lambda: "dead letter refused" in text_of(browser.open(retried).text), 30)
    assert "listening on" in browser.open(f"{PAGE}/log").text

    other = shutil.copytree(tiny_artifact, tmp_path / "digits-2")
    harness.platform.deploy(digits_app(other))
    wait_until(lambda: "digits-2" in text_of(browser.open(PAGE).text), 10)
    confirm = browser.open(f"{PAGE}/rollback").text
    (seen,) = re.findall(r'name="seen" value="([0-9a-f]+)"', confirm)
    done = browser.submit(f"{PAGE}/rollback", {"seen": seen})
    assert done.status_code == 303
    page = text_of(browser.open(done.location).text)
    assert "The previous deployment was restored." in page
    assert f"Artifact {tiny_artifact}" in page
    assert browser.submit(f"{PAGE}/rollback", {"seen": seen}).status_code == 409
