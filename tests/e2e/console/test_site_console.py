"""The console of a site on a real cluster: what it shows, what it refuses, and how it is after its pod was replaced."""

import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings, prepare_credentials
from eaves.events import Event
from knative.client.kinds import POD
from tests.console_walk import open_every_page
from tests.container_images.packaging import need
from tests.e2e.conftest import open_project
from tests.e2e.harness import delivers, publish
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.pods import is_pod_ready
from tests.e2e.sources.test_volumes import pictures
from tests.e2e.stream import ask_version
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.fakes.console.backend import FakeBackend
from tests.https_browser import HttpsBrowser
from tests.waiting import wait_until

PASSWORD = "correct-horse-battery"


class SiteConsole:
    """A console in the namespace of a place, installed and opened by its command, kubectl and a port-forward.

    Args:
        place: The place.
        image: Container image of the console, by digest.
        folder: Folder for its files, which doesn't exist yet.
    """

    def __init__(self, place: Place, image: str, folder: Path) -> None:
        self.place = place
        self._image = image
        self._folder = folder
        self.certificate = folder / "tls.crt"

    def kubectl(self, *words: str | Path) -> str:
        """Return what kubectl prints in the namespace."""
        return self.place.kubectl(*words)

    def install(self, *flags: str) -> None:
        """Render the objects, create the Secrets as the command advises, apply the files, and wait for the pod."""
        objects, certificate = self._folder / "objects", self.certificate
        prepare_credentials(self._folder, host="127.0.0.1")
        (self._folder / "password").write_text(f"{PASSWORD}\n")
        done = self._render(objects, *flags)
        advice = re.findall(r": kubectl -n \S+ (create secret .*?)(?:, or|$)", done.stderr, re.MULTILINE)
        assert len(advice) == 2, done.stderr
        for line in advice:
            text = line.replace("--cert=FILE", f"--cert={certificate}").replace(
                "--key=FILE", f"--key={self._folder}/tls.key"
            )
            self.kubectl(*text.replace("password=FILE", f"password={self._folder}/password").split())
        self.kubectl("apply", "-f", objects)
        wait_until(self.is_ready, 120, pause_s=0.5, what="the console's pod")

    def _render(self, objects: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "eaves.cli", "console", "render", "--image", self._image]
        command += ["--namespace", self.place.cluster.namespace, "-o", str(objects), *flags]
        environment = self.place.environment()
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

    def may(self, verb: str, resource: str) -> bool:
        """Return whether the cluster lets the console do something."""
        account = f"system:serviceaccount:{self.place.cluster.namespace}:console"
        kind, _, part = resource.partition("/")  # kubectl takes what follows a slash for the name of an object
        words = ("auth", "can-i", verb, kind, f"--subresource={part}", "--as", account)
        answer = self.place.kubectl(*words, codes=(0, 1)).strip()
        assert answer in ("yes", "no"), answer
        return answer == "yes"

    def find_pod(self) -> dict[str, Any] | None:
        """Return the console's pod that isn't ending."""
        pods = self.place.cluster.list(POD, selector="app.kubernetes.io/component=console")
        return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), None)

    def is_ready(self) -> bool:
        """Return whether the console's pod is ready."""
        return is_pod_ready(self.find_pod())

    def read_log(self) -> str:
        """Return the log of the console."""
        return self.kubectl("logs", "deployment/console")

    @contextmanager
    def open(self) -> Iterator[HttpsBrowser]:
        """Forward a port to the pages, and log in."""
        command = [need("kubectl"), "-n", self.place.cluster.namespace, "port-forward", "service/console", ":443"]
        command += ["--kubeconfig", str(self.place.kubeconfig.absolute())] if self.place.kubeconfig else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
                assert found, said
                browser = HttpsBrowser(int(found[1]), self.certificate)
                assert browser.ask("GET", "/")[0] in (303, 401)
                assert browser.log_in(PASSWORD) == 303
                yield browser
            finally:
                process.terminate()


pytestmark = pytest.mark.timeout(600)
MakeEvent = Callable[..., Event]
CLAIM = "photos"
REFUSED = re.compile(r"forbidden|denied|may not|Traceback|\b403\b", re.IGNORECASE)
"""Words of a log for a right that is missing."""
_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def site(
    namespaces: Namespaces,
    image: str,
    agent_image: str,
    tiny_artifact: Path,
    console_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SiteConsole]:
    """A site with one function, one source, and a console that can only read."""
    place = open_project(namespaces, tmp_path_factory.mktemp("site"))
    make_claim(place.cluster, CLAIM)
    source = {"name": "inbox", "claim": CLAIM, "spool_size": "100Mi"}
    place.configure(sources=[source], knative={"agent_image": agent_image})
    console = SiteConsole(place, console_image, tmp_path_factory.mktemp("console") / "console")
    place.deploy(image)
    console.install()
    wait_until(lambda: delivers(place.cluster), 120, pause_s=0.5, what="the Broker and its Triggers")
    yield console
    namespaces.close(place.cluster.namespace)


@pytest.fixture
def browser(site: SiteConsole) -> Iterator[HttpsBrowser]:
    """Somebody who has logged in."""
    with site.open() as opened:
        yield opened


def load(browser: HttpsBrowser, path: str) -> str:
    """Load a page."""
    status, text = browser.ask("GET", path)
    assert status == 200, (path, status, text)
    return text


def find_row(browser: HttpsBrowser, subject: str) -> str:
    """Return the row of an image on the first screen; empty when there is none."""
    rows = re.findall(r'<li class="row.*?</li>', load(browser, "/"), re.DOTALL)
    return next((row for row in rows if subject in row), "")


def test_it_shows_the_function_its_source_and_that_it_sleeps(site: SiteConsole, browser: HttpsBrowser):
    wait_until(
        lambda: re.search(rf'id="function-{NAME}".*?asleep', load(browser, "/functions"), re.DOTALL),
        120, pause_s=1, what="a function that sleeps",
    )  # fmt: skip
    page = load(browser, "/")
    ((state, tile),) = re.findall(r'<li class="tile tile-(\w+)"(.*?)</li>', page, re.DOTALL)
    assert ("inbox" in tile, state in ("ok", "quiet", "asleep")) == (True, True), (state, tile)
    assert f"/functions/{NAME}" in load(browser, "/functions")
    assert "Read-only" in page
    assert not REFUSED.search(site.read_log()), site.read_log()


def test_an_image_at_the_broker_is_shown_with_its_prediction_and_picture(
    site: SiteConsole, browser: HttpsBrowser, make_event: MakeEvent
):
    load(browser, "/")  # somebody looks
    began = time.monotonic()
    publish(site.place.cluster, make_event("at-the-broker.png"))
    row = wait_until(lambda: find_row(browser, "at-the-broker.png"), 60, pause_s=0.1, what="the prediction")
    _log.info(
        "the prediction was shown %.2f s after its image was sent, a cold start included", time.monotonic() - began
    )
    (picture,) = re.findall(r'src="(/images/[^"]+)"', row)
    status, body = browser.load("GET", picture)
    assert (status, body[:2]) == (200, b"\xff\xd8")
    began = time.monotonic()
    publish(site.place.cluster, make_event("while-awake.png", image=1))
    wait_until(lambda: find_row(browser, "while-awake.png"), 30, pause_s=0.05, what="the next prediction")
    awake_s = time.monotonic() - began
    _log.info("while the function was awake: %.2f s", awake_s)
    assert awake_s < 10


def test_an_image_that_went_to_the_function_is_shown_without_a_picture(
    site: SiteConsole, browser: HttpsBrowser, image: str, tiny_artifact: Path
):
    put_files(site.place.cluster, claimed(CLAIM), pictures(tiny_artifact, "in-the-volume.png"), image)
    row = wait_until(lambda: find_row(browser, "in-the-volume.png"), 90, pause_s=0.5, what="its prediction")
    assert "inbox" in row
    for address in re.findall(r'src="(/images/[^"]+)"', row):
        assert browser.load("GET", address)[0] == 404


def test_it_answers_about_a_photo(site: SiteConsole, browser: HttpsBrowser, tiny_artifact: Path):
    photo = min((tiny_artifact / "golden").glob("*.png")).read_bytes()
    status, text = browser.upload("/try", "photo", "mine.png", photo, function=NAME)
    assert (status, "mine.png" in text, 'role="alert"' in text) == (200, True, False), text


def test_every_page_opens(site: SiteConsole, browser: HttpsBrowser):
    """Pages that links lead to, with their ids, and every other address of the app."""
    app = create_app(ConsoleContext(backend=FakeBackend(), settings=ConsoleSettings(read_only=True)))
    opened = open_every_page(partial(browser.ask, "GET"), app)
    assert {"events.detail", "functions.detail", "functions.log"} <= opened
    assert "Traceback" not in site.read_log(), site.read_log()


def test_it_changes_nothing_and_the_cluster_would_not_let_it(site: SiteConsole, browser: HttpsBrowser):
    page = load(browser, f"/functions/{NAME}")
    assert "Promote" not in page
    assert "Roll back" not in page
    before = site.place.status().traffic
    for change in ("promote", "rollback"):
        assert browser.submit("/", f"/functions/{NAME}/{change}", seen="x")[0] == 403
    assert site.place.status().traffic == before
    assert site.may("list", "services.serving.knative.dev")
    for verb, resource in (
        ("get", "secrets"), ("create", "pods/exec"), ("create", "pods/portforward"), ("get", "pods/proxy"),
        ("patch", "services.serving.knative.dev"),
    ):  # fmt: skip
        assert not site.may(verb, resource), (verb, resource)


def test_a_new_pod_says_that_earlier_events_are_lost(site: SiteConsole):
    old = site.find_pod()
    assert old is not None
    site.kubectl("delete", "pod", old["metadata"]["name"], "--grace-period=0", "--force")

    def is_replaced() -> bool:
        new = site.find_pod()
        return new is not None and new["metadata"]["uid"] != old["metadata"]["uid"] and site.is_ready()

    wait_until(is_replaced, 120, pause_s=0.5, what="the next pod")
    with site.open() as browser:
        events = load(browser, "/events").partition('<div id="results">')[2]
        assert "those of an earlier pod are lost" in events, events


def test_a_writable_console_promotes_and_rolls_back(
    namespaces: Namespaces,
    image: str,
    second_image: str,
    version: str,
    console_image: str,
    make_event: MakeEvent,
    tmp_path: Path,
):
    place = open_project(namespaces, tmp_path)
    console = SiteConsole(place, console_image, tmp_path / "console")
    place.deploy(image)
    place.deploy(second_image)
    console.install("--writable")

    def answers() -> str:
        return ask_version(place.platform, NAME, make_event("asked.png"))

    assert answers() == version
    with console.open() as browser:
        status, text = browser.submit(f"/functions/{NAME}/promote", f"/functions/{NAME}/promote")
        assert status == 303, text
        wait_until(lambda: answers() == "2", 60, pause_s=0.5, what="the second version")
        status, text = browser.submit(f"/functions/{NAME}/rollback", f"/functions/{NAME}/rollback")
        assert status == 303, text
        wait_until(lambda: answers() == version, 60, pause_s=0.5, what="the first version")
    assert not REFUSED.search(console.read_log()), console.read_log()
    namespaces.close(place.cluster.namespace)
