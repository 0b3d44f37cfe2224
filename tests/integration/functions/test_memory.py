"""A function's memory doesn't grow: ten thousand requests, good and bad, leave it where the first thousand did."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eaves
from eaves.events import Event, encode_binary, encode_structured
from tests.waiting import wait_until

SENDERS = 4
SETTLED, REQUESTS = 1_000, 10_000
GROWTH_BYTES = 4_000_000
"""Allowed between them: the allocator's own wandering, a tenth of what a leak of one small image each would leave."""
MAX_BODY = 300_000

Message = tuple[dict[str, str], bytes]


@pytest.fixture
def function(tiny_artifact: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    log = tmp_path / "function.log"
    environ = {"EAVES_ARTIFACT": str(tiny_artifact), "EAVES_HOST": "127.0.0.1", "PORT": "0"}
    environ |= {"PYTHONPATH": str(Path(eaves.__file__).parents[1]), "EAVES_MAX_BODY_BYTES": str(MAX_BODY)}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "functions"],
            env={**environ, "PATH": os.environ["PATH"]},
            stdout=stream,
            stderr=stream,
        )

    def port() -> int:
        assert process.poll() is None, log.read_text()
        reported = [json.loads(line)["message"] for line in log.read_text().splitlines() if "listening on" in line]
        return int(reported[0].rpartition(":")[2]) if reported else 0

    try:
        yield process, wait_until(port, 60)
    finally:
        process.kill()
        process.wait()


def messages(artifact: Path) -> list[Message]:
    """What cameras send, and what they should not."""
    small = (artifact / "golden/000.png").read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=70)
    large = stream.getvalue()
    assert len(large) < MAX_BODY
    event = Event(
        id="1",
        source="/eaves/test/camera",
        type="dev.eaves.image.captured.v1",
        datacontenttype="image/png",
        data=small,
    )
    jpeg, png = {"Content-Type": "image/jpeg"}, {"Content-Type": "image/png"}
    return [
        (png, small),
        (jpeg, large),
        encode_binary(event),
        encode_structured(event),
        (jpeg, large[: len(large) // 2]),
        (png, small[:40]),
        (jpeg, b"text"),
        (jpeg, b""),
        ({"Content-Type": "text/plain"}, small),
        ({**png, "ce-specversion": "1.0"}, small),
        ({"Content-Type": "application/cloudevents+json"}, b"{"),
    ]


def send(port: int, chosen: list[Message]) -> set[int]:
    """Send messages over one connection; the statuses that came back."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    statuses = set()
    for headers, body in chosen:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        response.read()
        statuses.add(response.status)
    connection.close()
    return statuses


def private_bytes(pid: int) -> int:
    """Source: proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_requests_leave_the_memory_of_the_first_thousand(
    function: tuple[subprocess.Popen[bytes], int], tiny_artifact: Path
) -> None:
    process, port = function
    stream = cycle(messages(tiny_artifact))

    def send_many(count: int) -> set[int]:
        shares = [list(islice(stream, count // SENDERS)) for _ in range(SENDERS)]
        with ThreadPoolExecutor(SENDERS) as pool:
            return set().union(*pool.map(lambda share: send(port, share), shares))

    assert send_many(SETTLED) == {200, 400, 415, 422}
    settled = private_bytes(process.pid)
    send_many(REQUESTS - SETTLED)
    assert private_bytes(process.pid) - settled < GROWTH_BYTES
