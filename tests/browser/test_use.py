"""What a person does on the pages: filters, tries a photo, retries a dead letter, logs in again."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from eaves.admin import Selection
from eaves.console.exposure import ConsoleSettings
from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.spool import Spool
from tests.browser.driver.accessibility import find_violations
from tests.browser.driver.keyboard import tab_to
from tests.browser.driver.layout import too_wide
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import LANE, Plant
from tests.browser.served import ServedConsole, serve
from tests.fakes.console.material import captured_event, classified_event, inspected_event, record_of, small_jpeg

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type: 'image/jpeg'}));
  const target = document.querySelector('#drop');
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""


def wait_for_labels(page: Page, wanted: set[str]) -> None:
    """Wait until the rows have these labels and no other."""
    page.wait_for_function(
        """(wanted) => {
          const found = [...document.querySelectorAll('#results .row-label')].map((one) => one.textContent.trim());
          return JSON.stringify([...new Set(found)].sort()) === JSON.stringify(wanted);
        }""",
        arg=sorted(wanted),
    )


@pytest.mark.long("Chromium starts")
def test_a_filter_changes_the_list_at_once(page: Page, console: ServedConsole):
    page.goto(f"{console.url}events")
    page.get_by_label("Label").select_option("tulip")
    wait_for_labels(page, {"tulip"})
    page.get_by_label("File name contains").fill("no such name")
    page.get_by_text("No event matches this filter.").wait_for()


def test_a_filter_works_without_scripts(open_context: Callable[..., BrowserContext], console: ServedConsole):
    page = open_context(java_script_enabled=False).new_page()
    page.goto(f"{console.url}events")
    page.get_by_label("Label").select_option("rose")
    page.get_by_role("button", name="Filter").click()
    assert "label=rose" in page.url
    assert set(page.locator(".row-label").all_inner_texts()) == {"rose"}


def test_a_dropped_photo_is_predicted(page: Page, console: ServedConsole, plant: Plant):
    asked: list[Event] = []

    def answer(function: str, event: Event) -> SinkResponse:
        asked.append(event)
        return SinkResponse(status=200, event=classified_event(event, label="daisy", score=0.91), latency_ms=31.0)

    plant.backend.answer = answer
    page.goto(f"{console.url}try")
    page.get_by_label("Function").select_option("flowers")
    photo = small_jpeg(5)
    page.evaluate(DROP, ["<b>daisy.jpg", base64.b64encode(photo).decode()])
    page.locator("#results").get_by_role("heading", name="daisy").wait_for()
    page.locator("#results").get_by_text("<b>daisy.jpg").first.wait_for()
    page.wait_for_function("() => document.querySelector('#results img').naturalWidth > 0")
    assert [event.data for event in asked] == [photo]
    assert plant.backend.changes == [("invoke", "flowers")]


OVERLAID = """() => {
  const svg = document.querySelector('.picture .boxes'), img = svg.parentElement.querySelector('img');
  const sides = (one) => { const box = one.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; };
  return [sides(svg), sides(img), img.naturalWidth / img.naturalHeight];
}"""


@pytest.mark.long("two pages at two widths")
def test_boxes_lie_over_the_photo_at_any_width(page: Page, console: ServedConsole, plant: Plant):
    stream = io.BytesIO()
    Image.new("RGB", (320, 130), (90, 110, 90)).save(stream, "JPEG")  # neither as wide nor as high as its place
    photo, backend = stream.getvalue(), plant.backend
    cause = captured_event(70_000, data=photo)
    backend.images.thumbnails[cause.source, cause.id] = photo
    backend.records.kept += [record_of(cause, 70_000), record_of(inspected_event(cause), 70_001)]
    backend.answer = lambda function, event: SinkResponse(status=200, event=inspected_event(event), latency_ms=31.0)
    page.goto(f"{console.url}try")
    page.evaluate(DROP, ["part.jpg", base64.b64encode(photo).decode()])
    page.locator("#results").get_by_role("heading", name="anomalous, score 5.125").wait_for()
    for path in ("try", "events/70001"):
        if path != "try":
            page.goto(f"{console.url}{path}")
        page.wait_for_function("() => document.querySelector('.picture-boxed img')?.naturalWidth === 320")
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            over, under, proportion = page.evaluate(OVERLAID)
            assert over == pytest.approx(under, abs=0.6), f"{path} at {width} px"
            assert under[2] / under[3] == pytest.approx(proportion, rel=0.03)
            assert too_wide(page) == [], f"{path} at {width} px"
            assert find_violations(page) == []


def test_a_dead_letter_is_retried_and_the_page_says_what_became_of_it(
    page: Page, console: ServedConsole, plant: Plant, spool: Spool, watch: PageWatch
):
    watch.expect(r"/image\)|404 .*/dead-letters/broker/1\)")  # two are no images; the last page says that one is gone
    page.goto(console.url_of("dead_letters.list_letters", plant))
    page.locator(".letter", has_text="frame-000017.jpg").get_by_role("button", name="Retry").click()
    page.get_by_text("for its delivery since").wait_for()
    (entry,) = spool.peek(LANE)
    assert entry.event.subject == "frame-000017.jpg"
    spool.ack(entry)
    page.reload()
    page.get_by_text("it was delivered or deleted meanwhile").wait_for()
    assert len(plant.backend.named_queues["broker"].entries(Selection())) == 2


def test_an_event_opens_and_closes_by_keyboard_alone(page: Page, console: ServedConsole):
    page.goto(f"{console.url}events")
    tab_to(page, "a tulip")
    opened_from = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").get_by_text("What happened").wait_for()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    assert page.evaluate("document.activeElement.getAttribute('href')") == opened_from
    tab_to(page, "a sunflower")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").get_by_text("What happened").wait_for()


class TestLogin:
    """A console with a password, whose sessions end after three seconds."""

    @pytest.fixture
    def console(self, plant: Plant, tmp_path: Path) -> Iterator[ServedConsole]:
        """A console that needs the password `correct horse`."""
        folder = tmp_path / "credentials"
        folder.mkdir(mode=0o700)
        (folder / "password").write_text("correct horse\n")
        (folder / "password").chmod(0o600)
        with serve(plant, ConsoleSettings(credentials=folder, session_s=3.0)) as made:
            yield made

    @pytest.mark.long("a session of three seconds ends")
    def test_a_login_that_expires_while_a_page_is_open_asks_for_the_password_again(
        self, page: Page, console: ServedConsole, watch: PageWatch
    ):
        watch.expect("40[13]")
        page.goto(f"{console.url}events")
        page.set_viewport_size({"width": 360, "height": 800})
        assert (too_wide(page), find_violations(page)) == ([], [])
        page.get_by_label("Password").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        page.get_by_label("Password").fill("correct horse")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Events").wait_for()
        page.goto(console.url)
        page.get_by_role("heading", name="Newest images").wait_for()
        page.get_by_label("Password").wait_for()  # the session has ended; nobody has touched the page
        page.get_by_label("Password").fill("correct horse")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Newest images").wait_for()
