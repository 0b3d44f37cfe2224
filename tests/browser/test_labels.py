"""The page Labels: from photos to a started training by keyboard, at the speed of keys, with many photos and people."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from eaves.labels import LabelBook
from tests.browser.driver.accessibility import find_violations
from tests.browser.driver.keyboard import tab_to
from tests.browser.driver.layout import long_tasks_ms, too_wide
from tests.browser.driver.watch import PageWatch
from tests.browser.plant import Plant, build_labels, draw
from tests.browser.served import ServedConsole
from tests.browser.test_use import DROP
from tests.fakes.console.backend import FakeBackend, FakeJobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

_log = logging.getLogger(__name__)

MEASURE = """() => {
  window.keyTimes = [];
  window.waitedFor = 0;
  addEventListener('keydown', (event) => {
    const shown = () => document.querySelector('#picture img');
    const before = shown(), began = event.timeStamp;
    const look = () => {
      const now = shown();
      if (now === before) return requestAnimationFrame(look);
      if (!now?.complete) { window.waitedFor += 1; return requestAnimationFrame(look); }
      window.keyTimes.push(performance.now() - began);
    };
    requestAnimationFrame(look);
  }, true);
}"""
"""Notes for each key the time until the next picture is shown, and how often a picture was waited for."""
PAUSE_MS = 120
"""Time between two keys, milliseconds: twice as fast as a person who needs no time to look."""
KEYS_MS = "window.keyTimes"
POSTS_MS = (
    "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/put')).map((one) => one.duration)"
)


SHOWN = "[...document.querySelectorAll('.tile-photo')].map((one) => one.ariaLabel.split(': '))"


def book_of(plant: Plant) -> LabelBook:
    assert plant.backend.labels is not None
    return plant.backend.labels


def write_photos(folder: Path, count: int, data: Callable[[int], bytes] = draw) -> None:
    """Write photos without labels; the same picture may occur often."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"photo-{number:05}.jpg").write_bytes(data(number % 40))


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A project without photos."""
    backend = FakeBackend(labels=LabelBook(tmp_path / "photos"), jobs=FakeJobs(tmp_path / "review.json"))
    return Plant(backend=backend)


def begin(page: Page, address: str, classes: str = "daisy, rose") -> None:
    """Open the page, name the classes and say who one is, by keyboard alone."""
    page.goto(f"{address}labels")
    page.wait_for_function("() => document.activeElement.id === 'class-names'")
    page.keyboard.type(classes)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'who-name'")
    page.keyboard.type("Ben")
    page.keyboard.press("Enter")
    page.locator("#classes").wait_for()
    wait_for_list(page)


def wait_for_list(page: Page) -> None:
    """Wait until the page's script has the list of photos."""
    page.locator("#desk[data-waiting='0']").wait_for()
    page.wait_for_function("() => document.querySelector('#picture img')?.complete")
    page.wait_for_load_state("networkidle")


def label_all(page: Page, count: int, *, pause_ms: float = 0.0) -> None:
    """Press a key for each photo; wait until all are saved."""
    for number in range(count):
        page.keyboard.press("12"[number % 2])
        page.wait_for_timeout(pause_ms)
    page.get_by_text(f"{count:,} of {count:,} photos labelled").wait_for()


@pytest.mark.long("Chromium starts, and 60 keys are pressed")
def test_unlabelled_photos_become_a_started_training_by_keyboard_alone(
    page: Page, console: ServedConsole, plant: Plant, tmp_path: Path
):
    write_photos(tmp_path / "photos", 60)
    begin(page, console.url)
    page.evaluate(MEASURE)
    label_all(page, 60)
    tab_to(page, "button Train here")
    page.keyboard.press("Enter")
    jobs = plant.backend.jobs
    assert isinstance(jobs, FakeJobs)
    page.get_by_text("training", exact=True).wait_for()  # Chromium hangs when it is closed in the midst of an answer
    assert ("train", {"where": "here"}) in jobs.started
    photos = book_of(plant).photos()
    assert [photo.label for photo in photos] == ["daisy", "rose"] * 30
    assert {photo.who for photo in photos} == {"Ben"}


@pytest.mark.long("500 keys at the pace of a person")
@pytest.mark.slow
def test_500_labels_at_the_speed_of_keys(page: Page, console: ServedConsole, plant: Plant, tmp_path: Path):
    write_photos(tmp_path / "photos", 500)
    begin(page, console.url)
    page.evaluate(MEASURE)
    label_all(page, 500, pause_ms=PAUSE_MS)
    keys, posts = sorted(page.evaluate(KEYS_MS)), sorted(page.evaluate(POSTS_MS))
    waited = page.evaluate("window.waitedFor")
    _log.info("key to picture: median %.0f, p95 %.0f ms; waited for %d", keys[250], keys[475], waited)
    _log.info("POST: median %.0f, p95 %.0f ms", posts[len(posts) // 2], posts[int(0.95 * len(posts))])
    assert len(keys) == 499  # the last key shows no further picture
    assert keys[475] < 100
    assert waited == 0


@pytest.mark.parametrize("count", [pytest.param(2_000, id="short"), pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.long("thousands of files are written")
def test_thousands_of_photos_are_listed_without_a_long_task(
    page: Page, console: ServedConsole, tmp_path: Path, count: int
):
    write_photos(tmp_path / "photos", count)
    begin(page, console.url)
    page.keyboard.press("g")
    page.locator("#tile-0 img").wait_for()
    for part in range(20):
        page.evaluate(
            "(part) => { const one = document.querySelector('#grid'); one.scrollTop = one.scrollHeight * part; }",
            part / 20,
        )
        page.wait_for_timeout(50)
    page.evaluate("document.querySelector('#grid').scrollTop = 1e9")
    page.locator(f"#tile-{count - 1}").wait_for()
    assert page.locator(".tile-photo").count() < 100
    tasks = long_tasks_ms(page)
    _log.info("%d photos: long tasks of %s ms", count, tasks)
    assert max(tasks, default=0) < 200


def test_a_pile_is_one_key_and_one_undo(page: Page, console: ServedConsole, plant: Plant, tmp_path: Path):
    write_photos(tmp_path / "photos", 8)
    files = [photo.file for photo in book_of(plant).photos()]
    (tmp_path / "review.json").write_text(json.dumps({"labelled": 0, "piles": [files[2:7]]}))
    begin(page, console.url)
    page.get_by_text("photo-00002.jpg and 4 more that look like it").wait_for()
    page.get_by_role("button", name="photo-00006.jpg: take it out of the pile").click()
    page.keyboard.press("2")
    page.get_by_text("4 of 8 photos labelled").wait_for()
    assert [photo.label for photo in book_of(plant).photos()] == ["", "", *["rose"] * 4, "", ""]
    page.keyboard.press("u")
    page.get_by_text("0 of 8 photos labelled").wait_for()
    assert {photo.label for photo in book_of(plant).photos()} == {""}
    assert "photo-00002.jpg and 3 more" in page.locator("#caption").inner_text()


def test_an_answer_that_is_lost_labels_and_undoes_nothing_twice(
    page: Page, console: ServedConsole, plant: Plant, tmp_path: Path, watch: PageWatch
):
    watch.expect("ERR_")
    write_photos(tmp_path / "photos", 3)
    begin(page, console.url)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    for path in ("put", "undo"):
        page.route(f"**/labels/{path}", lose, times=1)
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.get_by_text("2 of 3 photos labelled").wait_for()
    page.keyboard.press("u")
    page.get_by_text("1 of 3 photos labelled").wait_for()
    assert [photo.label for photo in book_of(plant).photos()] == ["daisy", "", ""]
    page.keyboard.press("u")
    page.get_by_text("0 of 3 photos labelled").wait_for()


def test_the_guess_is_taken_by_enter_and_the_least_sure_photo_comes_first(
    page: Page, console: ServedConsole, plant: Plant, tmp_path: Path
):
    plant.backend.labels, plant.backend.jobs = build_labels(tmp_path, labelled=12)
    begin_known(page, console.url)
    assert "belt-012" in page.locator("#caption").inner_text()
    page.keyboard.press("Enter")
    page.get_by_text("13 of 24 photos labelled").wait_for()
    assert [photo.label for photo in book_of(plant).photos() if photo.who == "Ben"] == ["daisy"]
    page.get_by_role("heading", name="Labels", exact=True).click()  # beside everything that the keys are for
    page.keyboard.press("d")
    page.get_by_text("14 of 24 photos labelled").wait_for()
    audited = book_of(plant).add_photo("camera.jpg", draw(77), audit=True)
    page.reload()
    wait_for_list(page)
    assert page.locator("#caption").inner_text() == f"{audited}. Audit: it judges models, and is never trained on."
    page.get_by_role("button", name="Grid").click()
    page.locator(".tile-photo").first.get_by_text("audit", exact=True).wait_for()
    page.get_by_label("Show").select_option("doubts")
    page.get_by_role("button", name="Grid").click()
    page.get_by_text("The model takes it for").wait_for()


def begin_known(page: Page, address: str) -> None:
    """Open a page that knows its classes, and say who one is."""
    page.goto(f"{address}labels")
    page.get_by_label("Your name").fill("Ben")
    page.keyboard.press("Enter")
    wait_for_list(page)


def test_a_label_of_somebody_else_meanwhile_is_shown_and_both_are_offered(
    page: Page, console: ServedConsole, plant: Plant, tmp_path: Path, watch: PageWatch
):
    watch.expect("409")
    write_photos(tmp_path / "photos", 3)
    begin(page, console.url)
    book = book_of(plant)
    book.put({"photo-00000.jpg": "rose", "photo-00001.jpg": "rose"}, who="Ann")
    page.keyboard.press("1")
    page.keyboard.press("1")
    page.get_by_text("Ann has said rose for photo-00000.jpg meanwhile, and you say daisy.").wait_for()
    page.get_by_text("for photo-00001.jpg meanwhile").wait_for()
    assert find_violations(page) == []
    page.get_by_role("button", name="Keep rose").first.click()
    page.get_by_role("button", name="Say daisy").click()
    wait_until(lambda: [photo.label for photo in book.photos()] == ["rose", "daisy", ""], 15)


def test_dropped_photos_are_added(page: Page, console: ServedConsole, plant: Plant):
    page.goto(f"{console.url}labels")
    page.get_by_text("No photo is here yet.").wait_for()
    page.evaluate(DROP, ["new <b>.jpg", base64.b64encode(draw(5)).decode()])
    page.get_by_text("0 of 1 photo labelled").wait_for()
    page.wait_for_function("() => document.querySelector('#picture img')?.naturalWidth > 0")
    assert [photo.file[:6] for photo in book_of(plant).photos()] == ["new-b-"]


def test_photos_are_labelled_without_scripts(
    open_context: Callable[..., BrowserContext], console: ServedConsole, plant: Plant, tmp_path: Path
):
    write_photos(tmp_path / "photos", 2)
    page = open_context(java_script_enabled=False).new_page()
    page.goto(f"{console.url}labels")
    page.get_by_label("Your name").fill("Ben")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Name your classes").fill("daisy, rose")
    page.get_by_role("button", name="Add", exact=True).first.click()
    page.get_by_role("button", name="rose").click()
    page.get_by_role("button", name="daisy").click()
    assert [photo.label for photo in book_of(plant).photos()] == ["rose", "daisy"]
    page.get_by_role("button", name="Undo").click()
    assert [photo.label for photo in book_of(plant).photos()] == ["rose", ""]


@pytest.mark.long("four states at two widths")
def test_every_state_is_accessible_and_fits(page: Page, console: ServedConsole, plant: Plant, tmp_path: Path):
    def check(what: str) -> None:
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert too_wide(page) == [], f"{what} at {width} px"
            assert find_violations(page) == [], f"{what} at {width} px"

    page.goto(f"{console.url}labels")
    check("no photos")
    write_photos(tmp_path / "photos", 12)
    page.reload()
    check("no classes")
    begin(page, console.url, "daisy, a-class-with-a-very-long-name-that-has-no-space-at-all-0001")
    page.keyboard.press("?")
    check("one photo")
    page.keyboard.press("g")
    page.locator("#tile-0").wait_for()
    check("grid")


@pytest.mark.long("two browsers, and a console that is killed and started again")
def test_two_people_and_a_killed_console_lose_no_label_that_is_shown(
    open_context: Callable[..., BrowserContext], watch: PageWatch, tmp_path: Path
):
    watch.expect("409|ERR_|503|htmx:error")
    write_photos(tmp_path / "photos", 30)
    LabelBook(tmp_path / "photos").name_class("daisy", "Ann")
    LabelBook(tmp_path / "photos").name_class("rose", "Ann")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    watch.host = f"127.0.0.1:{port}"
    pages = [open_context(viewport={"width": 1280, "height": 2_000}).new_page() for _ in range(2)]
    with running(tmp_path, port) as console:
        for page in pages:
            begin_known(page, f"http://{watch.host}/")
        for number in range(10):
            for page in pages:
                page.keyboard.press("12"[number % 2])
        os.kill(console.pid, signal.SIGKILL)  # between the key and the disk
        console.wait()
        pages[0].keyboard.press("2")
        pages[0].get_by_text("doesn't answer").wait_for()
    answered = [one.request.post_data for one in watch.responses if one.url.endswith("/put") and one.status == 200]
    saved = [parse_qs(one or "") for one in answered]
    lines = csv.DictReader((tmp_path / "photos" / "labels.csv").read_text().splitlines())
    written = {(line["file"], line["label"]) for line in lines}
    assert [one for one in saved if (one["file"][0], one["label"][0]) not in written] == [], (
        "they were answered as saved"
    )
    with running(tmp_path, port):
        for page in pages:
            page.locator("#desk[data-waiting='0']").wait_for()
        on_disk = {photo.file: photo.label for photo in LabelBook(tmp_path / "photos").photos()}
        for page in pages:
            page.reload()
            page.get_by_label("Show").select_option("all")
            page.keyboard.press("g")
            page.locator("#tile-29").wait_for()
            assert dict(page.evaluate(SHOWN)) == {file: label or "no label" for file, label in on_disk.items()}
        assert sum(label != "" for label in on_disk.values()) > len(saved) / 2


@contextmanager
def running(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a console in a process of its own, which answers."""

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    words = [sys.executable, "-m", "tests.browser.labels_console", str(folder), str(port)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2]) as process:
        try:
            wait_until(answers, 30, what="the console")
            yield process
        finally:
            process.kill()
