"""Fifty people look at the first screen of a real `eaves up`: what that costs its memory and its predictions."""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, Event
from tests.contract.harness import LocalHarness
from tests.inputs.artifacts import tiny_artifact
from tests.integration.local.apps import digits_app
from tests.integration.local.console.test_process import address_of, find_console, get

__all__ = ["tiny_artifact"]

VIEWERS = 50
MAX_MEMORY_BYTES = 30_000_000
LOOK = """
import http.client, os, sys, threading, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the viewers' browsers are on other machines
def look(number):
    page, tag = http.client.HTTPConnection(sys.argv[1], timeout=30), ""
    time.sleep(2 * number / int(sys.argv[2]))
    while True:
        headers = {"If-None-Match": tag} if tag else {}
        page.request("GET", "/parts/overview", headers={**headers, "HX-Request": "true", "Accept-Encoding": "gzip"})
        answer = page.getresponse()
        answer.read()
        tag = answer.getheader("ETag")
        time.sleep(2)
for number in range(int(sys.argv[2])):
    threading.Thread(target=look, args=(number,), daemon=True).start()
sys.stdin.read()
"""
"""Asks as so many open pages do, each on a connection of its own, until stdin ends."""

_log = logging.getLogger(__name__)


@contextmanager
def viewers(address: str, count: int = VIEWERS) -> Iterator[None]:
    command = [sys.executable, "-c", LOOK, address, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield
        assert process.stdin is not None
        process.stdin.close()


def memory_bytes(pid: int) -> int:
    """Proportional memory of a process. Source: proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def image(artifact: Path, number: int) -> Event:
    data = min((artifact / "golden").glob("*.png")).read_bytes()
    source = "/eaves/test/camera-1"
    return Event(id=str(number), source=source, type=IMAGE_CAPTURED, datacontenttype="image/png", data=data)


def test_fifty_viewers_take_little_memory(harness: LocalHarness, tiny_artifact: Path) -> None:
    harness.start()
    harness.deploy(digits_app(tiny_artifact))
    address = address_of(harness)
    for number in range(60):
        harness.platform.publish(image(tiny_artifact, number))
    for _ in range(5):
        get(address)
    (pid,) = find_console(harness)
    before = memory_bytes(pid)
    with viewers(address):
        time.sleep(3)
        for number in range(60, 120):  # each makes another screen, which every viewer gets
            harness.platform.publish(image(tiny_artifact, number))
            time.sleep(0.05)
        added = memory_bytes(pid) - before
    _log.info("%d viewers: %.1f MB beside %.1f MB", VIEWERS, added / 1e6, before / 1e6)
    assert added < MAX_MEMORY_BYTES


@pytest.mark.slow
def test_fifty_viewers_do_not_delay_a_prediction(harness: LocalHarness, tiny_artifact: Path) -> None:
    """Rounds with and without viewers in turn; the platform has the first core, the viewers have the last one."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        harness.start()
    finally:
        os.sched_setaffinity(0, cores)
    harness.deploy(digits_app(tiny_artifact))
    address, number = address_of(harness), 0

    def predict() -> float:
        nonlocal number
        times = []
        for _ in range(60):
            number += 1
            began = time.monotonic()
            assert harness.platform.invoke("digits", image(tiny_artifact, number)).event is not None
            times.append((time.monotonic() - began) * 1e3)
        return statistics.median(times)

    predict(), get(address)
    ratios = []
    for _ in range(20):
        alone = predict()
        with viewers(address):
            time.sleep(2.5)
            ratios.append(predict() / alone)
    ratio = statistics.median(ratios)
    _log.info("p50 with %d viewers: %.3f of p50 without, quartiles %s", VIEWERS, ratio, statistics.quantiles(ratios))
    assert ratio < 1.1
