"""The console of a real `eaves up` with a real function: its process, its view of the platform, its pages."""

import http.client
import io
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eaves.console.pages.events import find_forwarding
from eaves.console.thumbnails import Gallery, digest_of
from eaves.errors import NotFoundError, NotRunningError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.history import HistoryReader, RecordFilter
from eaves.local.console import BROKER, LocalBackend
from eaves.local.state import CONSOLE, LocalApp, StateDirectory
from eaves.spool import LedgerLimits, Spool
from tests.contract.harness import LocalHarness, open_local_harness
from tests.fakes.console.browser import Browser, open_console, text_of
from tests.integration.local.apps import captured, digits_app
from tests.proc import child_pids
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def up() -> Iterator[LocalHarness]:
    """A running platform that the tests of this module share; each leaves it with or without the console's process."""
    with open_local_harness() as made:
        yield made


def address_of(harness: LocalHarness) -> str:
    """Host and port of the console."""
    found = wait_until(lambda: re.findall(r"^console: http://(\S+)/$", harness.log(), re.MULTILINE), what="the address")
    return str(found[-1])


def find_console(harness: LocalHarness) -> list[int]:
    """Process ids of the console."""
    return [pid for pid in child_pids(harness.pid) if b"eaves.local.console" in read_command(pid)]


def read_command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def get(address: str, path: str = "/", timeout_s: float = 30) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_nobody_looks_so_nothing_runs_and_the_first_page_starts_the_process(harness: LocalHarness):
    harness.start()
    address = address_of(harness)
    harness.platform.publish(captured(1))
    assert find_console(harness) == []
    status, page = get(address)
    assert status == 200
    assert b"<h1" in page
    (pid,) = find_console(harness)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
    harness.stop()
    assert read_command(pid) == b""
    with pytest.raises(ConnectionRefusedError):
        get(address)


def test_a_job_of_a_page_finds_the_cluster_and_the_storage_that_the_platform_was_started_with(
    harness: LocalHarness, monkeypatch: pytest.MonkeyPatch
):
    wanted = {"KUBECONFIG": "of/the/site.yaml", "AWS_PROFILE": "photos"}
    for name, value in {**wanted, "PASSWORD": "of another program"}.items():
        monkeypatch.setenv(name, value)
    harness.start()
    get(address_of(harness))
    (pid,) = find_console(harness)  # whose environment its jobs inherit
    found = dict(entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if entry)
    assert wanted.items() <= found.items()
    assert "PASSWORD" not in found


def test_the_platform_runs_on_while_its_console_is_killed_and_the_next_page_starts_another(up: LocalHarness):
    address = address_of(up)
    get(address)
    (killed,) = find_console(up)
    before = HistoryReader(up.state / "history.db").newest()
    done = threading.Event()
    sent: list[int] = []

    def send() -> None:
        while not done.is_set():
            up.platform.publish(captured(1000 + len(sent)))
            sent.append(1)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        wait_until(lambda: len(sent) > 5, what="events")
        os.kill(killed, signal.SIGKILL)
        assert get(address)[0] == 200
    finally:
        done.set()
        thread.join()
    (pid,) = find_console(up)
    assert pid != killed
    assert HistoryReader(up.state / "history.db").newest() == before + len(sent)
    assert f"the console ended with -9; it can be started again in 1 s; its log: eaves logs {CONSOLE}" in up.log()


def test_an_image_is_found_over_the_control_socket_only(up: LocalHarness):
    event = captured(7)
    up.platform.publish(event)
    address = f"/images?source={event.source}&id={event.id}"
    assert up.platform.fetch(address) == event.data
    assert up.platform.fetch(f"{address}0") is None
    assert get(up.broker_address(), address)[0] == 404


def test_when_the_platform_is_killed_its_console_ends_too(harness: LocalHarness):
    harness.start()
    get(address_of(harness))
    (pid,) = find_console(harness)
    harness.kill()
    wait_until(lambda: read_command(pid) == b"", what="the end of the console")


def test_a_second_platform_has_its_console_on_a_free_port(up: LocalHarness, tmp_path: Path):
    port = address_of(up).rpartition(":")[2]
    with open_local_harness(start=False) as second:
        second.start(0, "--console-port", port)
        assert address_of(second) != address_of(up)
        log = second.log()
        assert re.search(rf"port {port} is in use by .*, so the console has a free one\n", log), log
        assert get(address_of(second))[0] == 200


def test_an_image_that_a_page_shows_is_kept_as_a_small_picture(up: LocalHarness):
    picture = io.BytesIO()
    Image.new("RGB", (640, 480), "green").save(picture, "JPEG")
    event = replace(captured(9, picture.getvalue()), datacontenttype="image/jpeg", subject="9.jpg")
    up.platform.publish(event)
    address, digest = address_of(up), digest_of(event.source, event.id)
    page = get(address, "/events?kind=captured")[1].decode()
    (shown,) = set(re.findall(rf'src="(/images/\d+-{digest}/thumbnail.jpg)"', page))
    status, jpeg = get(address, shown)
    gallery = Gallery(up.state / "thumbnails.db", lambda *_: None)
    assert (status, gallery.kept_thumbnail(digest)) == (200, jpeg)
    gallery.close()
    with Image.open(io.BytesIO(jpeg)) as thumbnail:
        assert thumbnail.size == (320, 240)


@pytest.fixture
def backend(harness: LocalHarness, tmp_path: Path) -> Iterator[LocalBackend]:
    made = LocalBackend(StateDirectory(root=harness.state), tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(tiny_artifact: Path) -> LocalApp:
    return digits_app(tiny_artifact)


def image_of(artifact: Path) -> bytes:
    return next(artifact.glob("golden/*.png")).read_bytes()


def test_an_image_is_found_with_its_prediction_its_picture_and_the_start_of_its_replica(
    harness: LocalHarness, backend: LocalBackend, app: LocalApp, tiny_artifact: Path
):
    harness.start()
    harness.platform.deploy(app)
    (status,) = backend.status()
    assert (status.name, status.state) == ("digits", "idle")
    event = captured(1, image_of(tiny_artifact))
    harness.platform.publish(event)

    def predicted() -> bool:
        return bool(backend.records.find(RecordFilter(types=(IMAGE_CLASSIFIED,))))

    wait_until(predicted, 60, what="the prediction")
    (prediction,) = backend.records.find(RecordFilter(types=(IMAGE_CLASSIFIED,)))
    assert [record.type for record in backend.records.chain(prediction)] == [IMAGE_CAPTURED, IMAGE_CLASSIFIED]
    assert find_forwarding(backend, prediction) is None
    cause = prediction.extensions["causesource"], prediction.extensions["causeid"]
    assert backend.images.image(*cause) == event.data
    assert backend.images.image(cause[0], "another") is None
    (captured_record, _) = backend.records.chain(prediction)
    thumbnail = backend.images.thumbnail(captured_record)
    assert thumbnail is not None
    assert thumbnail.startswith(b"\xff\xd8")
    with backend.open_queue(BROKER) as queue:
        assert [lane.queued for lane in queue.report().lanes] == [0]
    answer = backend.invoke("digits", captured(2, image_of(tiny_artifact)))
    assert answer.event is not None
    assert answer.event.type == IMAGE_CLASSIFIED
    wait_until(lambda: [one.state for one in backend.status()] == ["ready"], 5, what="a status that is read again")


def test_without_a_supervisor_the_functions_are_stopped_and_queues_are_read_from_their_files(
    harness: LocalHarness, backend: LocalBackend, app: LocalApp, tmp_path: Path
):
    harness.start()
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    harness.platform.publish(captured(1, b"x"))
    harness.kill()
    (status,) = backend.status()
    assert (status.state, status.queued) == ("stopped", 1)
    with backend.open_queue(BROKER) as queue:
        assert sum(lane.queued for lane in queue.report().lanes) == 1
    (record,) = backend.records.find(RecordFilter())
    assert find_forwarding(backend, record) is None
    with Spool(StateDirectory(root=harness.state).spool_of("digits", "relay"), ledger=LedgerLimits()) as relay:
        relay.put(captured(1, b"x"), lanes=("archive",))
    waiting = find_forwarding(backend, record)
    assert waiting is not None
    assert waiting.title == "Waiting in the relay's queue"
    assert backend.images.image("/eaves/test/gate", "1") is None
    with pytest.raises(NotRunningError):
        backend.invoke("digits", captured(1, b"x"))
    with pytest.raises(NotFoundError):
        backend.rollback("digits")  # it was deployed once
    backend.promote("digits")
    harness.start()  # so that the harness has something to end


PAGE = "/functions/digits"


@pytest.fixture
def browser(harness: LocalHarness, tmp_path: Path) -> Iterator[Browser]:
    backend = LocalBackend(StateDirectory(root=harness.state), tmp_path)
    yield open_console(backend)
    backend.close()


@pytest.mark.long("a platform and its function start")
def test_predictions_dead_letters_and_a_rollback_are_shown_as_they_happen(
    harness: LocalHarness, browser: Browser, tiny_artifact: Path, tmp_path: Path
):
    harness.start()
    harness.platform.deploy(digits_app(tiny_artifact))
    asleep = text_of(browser.open(PAGE).text)
    assert "asleep starts with the next image" in asleep
    harness.platform.publish(captured(1, next(tiny_artifact.glob("golden/*.png")).read_bytes()))
    harness.platform.publish(captured(2, b"no image"))
    shown = (
        "ready answers at once",
        "1 in the last hour",
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
