"""The console's process under a real `eaves up`: it runs only while somebody looks, and its end ends nothing else."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eaves.console.thumbnails import Gallery, digest_of
from eaves.events import IMAGE_CAPTURED, Event
from eaves.history import HistoryReader
from eaves.local.state import CONSOLE
from tests.contract.harness import LocalHarness, open_local_harness
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
    children = Path(f"/proc/{harness.pid}/task")
    pids = {int(pid) for file in children.glob("*/children") for pid in file.read_text().split()}
    return [pid for pid in pids if b"eaves.local.console" in read_command(pid)]


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


def captured(number: int) -> Event:
    return Event(
        id=str(number), source="/eaves/test/gate", type=IMAGE_CAPTURED, datacontenttype="image/png", data=b"x" * 100
    )


def test_nobody_looks_so_nothing_runs_and_the_first_page_starts_the_process(harness: LocalHarness) -> None:
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


def test_the_platform_runs_on_while_its_console_is_killed_and_the_next_page_starts_another(up: LocalHarness) -> None:
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


def test_an_image_is_found_over_the_control_socket_only(up: LocalHarness) -> None:
    event = captured(7)
    up.platform.publish(event)
    address = f"/images?source={event.source}&id={event.id}"
    assert up.platform.fetch(address) == event.data
    assert up.platform.fetch(f"{address}0") is None
    assert get(up.broker_address(), address)[0] == 404


def test_when_the_platform_is_killed_its_console_ends_too(harness: LocalHarness) -> None:
    harness.start()
    get(address_of(harness))
    (pid,) = find_console(harness)
    harness.kill()
    wait_until(lambda: read_command(pid) == b"", what="the end of the console")


def test_a_second_platform_has_its_console_on_a_free_port(up: LocalHarness, tmp_path: Path) -> None:
    port = address_of(up).rpartition(":")[2]
    with open_local_harness(start=False) as second:
        second.start(0, "--console-port", port)
        assert address_of(second) != address_of(up)
        log = second.log()
        assert re.search(rf"port {port} is in use by .*, so the console has a free one\n", log), log
        assert get(address_of(second))[0] == 200


def test_an_image_that_a_page_shows_is_kept_as_a_small_picture(up: LocalHarness) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (640, 480), "green").save(picture, "JPEG")
    event = replace(captured(9), data=picture.getvalue(), datacontenttype="image/jpeg", subject="9.jpg")
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
