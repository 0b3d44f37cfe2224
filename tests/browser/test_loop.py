"""What the edge is unsure of comes back as a better model: the whole loop once, on one machine and with real processes.

An `eaves up` predicts images of a folder; its relay sends those that it chooses over the link to a receiver, which puts
them into the project's photos. A person labels them, labels start a training, and the new model becomes a canary.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from eaves.artifact.store import gate_file
from eaves.dataset_folder import is_audit
from eaves.events import DATASET_UPDATED, IMAGE_CAPTURED, IMAGE_CLASSIFIED, MODEL_PUBLISHED
from eaves.local.client import LocalPlatform
from eaves.platform import FunctionStatus
from eaves.rollout import RolloutReport
from tests.browser.driver.keyboard import tab_to
from tests.browser.driver.watch import PageWatch
from tests.browser.served import COMMAND, ENVIRON, run_platform
from tests.browser.test_labels import begin_known, wait_for_list
from tests.inputs.artifacts import CLASSES
from tests.processes.commands import run_command
from tests.processes.receiving import SITE, TOKEN, ReceiverProcess
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

_log = logging.getLogger(__name__)

FIRST, EDGE = 8, 80
"""Number of digits of each class that the first model is trained on, and that the folder at the edge gets."""
NEW_LABELS = 10
"""Number of new labels at which a training starts."""
SETTINGS = f"""
name: digits
site: {SITE}
data: {{path: photos}}
train: {{arch: efficientnet_lite0}}
sources: [{{name: inbox, kind: folder, path: inbox, settle_s: 0.2}}]
relay: {{to: "http://127.0.0.1:PORT", credentials: link, images: chosen}}
# Fast: an edge gets more images, chooses 1 % of them for the audit sample, and waits for hundreds of labels.
choose: {{audit_percent: 20, images_per_hour: 3600}}
retrain: {{labels: {NEW_LABELS}}}
# Fast: with so few images, no loss below 30 points can be ruled out.
pipeline: {{max_accuracy_drop: 30}}
# Fast: a step decides by 24 requests of the new model and takes a second at least.
rollout: {{steps: ["50"], step_s: 1, min_requests: 24, max_error_increase: 0.5}}
"""


class Site:
    """The project of a machine that predicts and trains, and the digits that its camera will see."""

    def __init__(self, folder: Path) -> None:
        from sklearn.datasets import load_digits

        self.folder, self.photos, self.inbox = folder, folder / "photos", folder / "inbox"
        self.truth: dict[str, int] = {}
        self._waiting: list[tuple[str, bytes]] = []
        digits = load_digits()
        for label in range(CLASSES):
            found = np.flatnonzero(digits.target == label)[: FIRST + EDGE]
            for place, number in enumerate(found):
                path = (self.photos / str(label) if place < FIRST else folder / "later") / f"{number:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).save(path)
                self.truth[hashlib.sha256(path.read_bytes()).hexdigest()] = label
        self._later = sorted((folder / "later").iterdir())
        for made in (self.inbox, folder / "link"):
            made.mkdir()
        (folder / "link" / "token").write_text(TOKEN)

    def run(self, *arguments: str) -> str:
        """Run a command of a person in the project's folder; return its output."""
        return run_command([*COMMAND, *arguments], check=True, cwd=self.folder, env=ENVIRON).stdout

    def see(self, images: int) -> None:
        """Let the camera see so many further images."""
        seen, self._later = self._later[:images], self._later[images:]
        for path in seen:
            path.rename(self.inbox / path.name)

    def chosen(self) -> dict[str, int]:
        """The photos that came over the link, and their classes."""
        found = (path for path in self.photos.rglob("*.png") if path.parent.name in (self.photos.name, "audit"))
        return {
            path.relative_to(self.photos).as_posix(): self.truth[hashlib.sha256(path.read_bytes()).hexdigest()]
            for path in found
        }

    def status(self) -> FunctionStatus:
        (found,) = LocalPlatform(self.folder / ".eaves").status()
        return found

    def rollout(self) -> RolloutReport:
        found = self.status().rollout
        assert found is not None
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The newest events of a type, as `eaves events` shows them."""
        found: list[dict[str, Any]] = json.loads(self.run("events", "--type", kind, "-n", "500", "-o", "json"))
        return found

    def wait_for_arrivals(self, seen: int) -> None:
        """Wait until so many images are predicted, and those that were chosen of them are photos."""

        def has_arrived() -> bool:
            types = [one["type"] for one in self.received()]
            chosen, predicted = types.count(IMAGE_CAPTURED), types.count(IMAGE_CLASSIFIED)
            counted = sum(one.audit + one.unsure for agent in self.status().agents for one in agent.choices)
            return predicted == seen and counted == chosen == len(self.chosen())

        wait_until(has_arrived, 120, pause_s=0.5, what="predictions and the chosen images")

    def received(self) -> list[dict[str, Any]]:
        """The events that came over the link."""
        lines = (self.folder / "cloud" / "received").glob("*.jsonl")
        return [json.loads(line) for path in lines for line in path.read_text().rpartition("\n")[0].splitlines()]

    def link_bytes(self) -> int:
        """Size of the requests that the link has carried."""
        return sum(one.link.bytes_sent for one in self.status().agents if one.link)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """The receiver at the other end of the link, which puts chosen images into the project's photos."""
    (tmp_path / "cloud").mkdir()
    environ = {"EAVES_FOLDER": str(tmp_path / "cloud" / "received"), "EAVES_DATASET": str(tmp_path / "photos")}
    made = ReceiverProcess(tmp_path / "cloud", **environ)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(receiver: ReceiverProcess, tmp_path: Path) -> Site:
    """A project with a first model, which few photos were enough for."""
    (tmp_path / "eaves.yaml").write_text(SETTINGS.replace("PORT", str(receiver.port)))
    made = Site(tmp_path)
    made.run("train", "--run", "runs/first", "--mode", "sums")
    made.run("convert", "runs/first", "--artifact", "artifacts/first")
    return made


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    """Address of the console of that project's `eaves up`."""
    with run_platform(site.folder) as found:
        yield found


@pytest.fixture
def watch(address: str) -> Iterator[PageWatch]:
    """What no page may do, here for the console of the platform."""
    made = PageWatch(host=address.removeprefix("http://").rstrip("/"))
    yield made
    assert made.unexpected() == []


def label_by_keys(page: Page, site: Site, count: int) -> None:
    """Label so many photos of the page Labels, which shows the audit sample first."""
    page.locator("#show").evaluate("(one) => one.blur()")
    for _ in range(count):
        name, done = page.locator("#caption").inner_text(), page.locator("#count").inner_text()
        label = site.chosen()[name.partition(". Audit: ")[0]]
        page.keyboard.press(str(label + 1))
        page.wait_for_function("(count) => document.querySelector('#count').innerText !== count", arg=done)


def count_audited(site: Site) -> int:
    return sum(map(is_audit, site.chosen()))


@pytest.mark.long("two models are trained and converted, and a canary is judged")
@pytest.mark.slow
def test_images_that_the_edge_is_unsure_of_become_a_model_that_serves_every_request(
    page: Page, address: str, site: Site, record_property: Callable[[str, object], None]
):
    page.set_default_timeout(240_000)
    site.run("deploy", "artifacts/first")
    first = site.status().artifact_digest

    site.see(180)
    site.wait_for_arrivals(180)
    audited = count_audited(site)
    unsure = len(site.chosen()) - audited
    assert 15 <= audited <= 60, "about a fifth"
    assert unsure >= NEW_LABELS
    reasons = {one["extensions"]["chosen"] for one in site.events("image.captured") if "chosen" in one["extensions"]}
    assert reasons == {"audit", "unsure"}
    assert {one["chosen"] for one in site.received() if "chosen" in one} == reasons
    assert "of the audit sample and" in site.run("status")

    begin_known(page, address)
    label_by_keys(page, site, audited + NEW_LABELS)
    wait_until(lambda: site.events("dataset.updated"), 60, what="the event that starts a training")
    page.get_by_role("link", name="What the model is worth").wait_for()
    tab_to(page, "a What the model is worth")
    page.keyboard.press("Enter")
    page.get_by_text("good enough", exact=True).wait_for()
    (gate,) = (line for line in page.locator("#gate li").all_inner_texts() if "ships" in line)
    tab_to(page, "a Deploy")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Deploy").wait_for()
    tab_to(page, "button Deploy")
    page.keyboard.press("Enter")
    page.get_by_text("It gets 50% of the requests").wait_for()

    site.see(36)
    site.wait_for_arrivals(216)
    later = count_audited(site) - audited
    assert later
    page.goto(f"{address}labels")
    wait_for_list(page)
    label_by_keys(page, site, later)
    wait_until(lambda: f"{audited + later} audit images" in site.rollout().reason, 120, what="the labels' judgement")
    assert site.rollout().phase == "advancing"
    page.goto(f"{address}functions/digits")
    page.get_by_text(f"of {audited + later} audit images").first.wait_for()

    def is_promoted() -> bool:
        site.see(10)
        return site.rollout().phase == "done"

    wait_until(is_promoted, 120, pause_s=2, what="the promotion")
    status = site.status()
    assert Path(status.artifact).name.startswith("digits-")
    assert status.artifact_digest != first
    answer = json.loads(gate_file(Path(status.artifact)).read_text())
    assert (answer["passed"], answer["replaces"]) == (True, [first])
    assert site.events("model.published")
    assert {DATASET_UPDATED, MODEL_PUBLISHED} < {one["type"] for one in site.received()}
    shipped = re.search(r"ships ([\d,]+) bytes", gate)
    assert shipped
    measured = {"link_bytes": site.link_bytes(), "update_bytes": int(shipped[1].replace(",", ""))}
    for name, value in {**measured, "audit": audited + later, "unsure": unsure}.items():
        record_property(name, value)
        _log.info("%s: %s", name, value)
