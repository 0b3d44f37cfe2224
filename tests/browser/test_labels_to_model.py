"""From 60 photos without labels to a deployed model by keyboard alone, with a real `eaves up`, training and gate."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eaves.local.client import LocalPlatform
from tests.browser.driver.keyboard import tab_to
from tests.browser.driver.watch import PageWatch
from tests.browser.served import COMMAND, ENVIRON, run_platform
from tests.browser.test_labels import begin
from tests.inputs.artifacts import CLASSES, build_tiny_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Page

PHOTOS_PER_CLASS = 15


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, int]:
    """The folder `photos` of a project, without labels: each photo's file, and its class."""
    (tmp_path / "photos").mkdir()
    found: dict[str, int] = {}
    for folder in sorted(build_tiny_dataset(tmp_path / "digits").iterdir()):
        for photo in sorted(folder.iterdir())[:PHOTOS_PER_CLASS]:
            photo.rename(tmp_path / "photos" / photo.name)
            found[photo.name] = int(folder.name)
    return found


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of the console of an `eaves up` in a folder with photos."""
    subprocess.run([*COMMAND, "init"], cwd=tmp_path, env=ENVIRON, check=True)
    with run_platform(tmp_path) as address:
        yield address


@pytest.fixture
def watch(address: str) -> Iterator[PageWatch]:
    """What no page may do, here for the console of the platform."""
    made = PageWatch(host=address.removeprefix("http://").rstrip("/"))
    yield made
    assert made.unexpected() == []


@pytest.mark.long("photos are labelled, and a model is trained, converted, judged and deployed")
@pytest.mark.slow
def test_60_photos_become_a_deployed_model_by_keyboard_alone(
    page: Page, address: str, truth: dict[str, int], tmp_path: Path
):
    page.set_default_timeout(240_000)
    begin(page, address, ", ".join(map(str, range(CLASSES))))
    for number in range(1, len(truth) + 1):
        name = page.locator("#caption").inner_text()[: len("0000.png")]
        page.keyboard.press(str(truth[name] + 1))
        page.get_by_text(f"{number} of {len(truth)} photos labelled").wait_for()
    tab_to(page, "button Train here")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="What the model is worth").wait_for()
    tab_to(page, "a What the model is worth")
    page.keyboard.press("Enter")
    page.get_by_text("good enough", exact=True).wait_for()
    tab_to(page, "a Deploy")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Deploy").wait_for()
    tab_to(page, "button Deploy")
    page.keyboard.press("Enter")
    page.get_by_text("It gets every request").wait_for()
    (status,) = LocalPlatform(tmp_path / ".eaves").status()
    assert status.state in ("ready", "idle", "starting")
    assert Path(status.artifact).is_relative_to(tmp_path / "artifacts")
