"""A function's memory doesn't grow: neither by ten thousand requests, good and bad, nor by large bodies."""

import io
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eaves.events import Event, encode_binary, encode_structured
from tests.proc import mapped_bytes
from tests.processes.function import Function, serving
from tests.waiting import wait_until

SENDERS = 4
SETTLED, REQUESTS = 1_000, 10_000
GROWTH_BYTES = 4_000_000
"""Allowed between them: the allocator's own wandering, a tenth of what a leak of one small image each would leave."""
MAX_BODY = 300_000
SIZES, TIMES = (6_000_000, 14_000_000), 32
LEFT_BYTES = 110_000_000
"""What was seen: 12 to 55 MB; 179 to 218 with circles of frames and an arena for each thread."""

Message = tuple[dict[str, str], bytes]


def messages(small: bytes) -> list[Message]:
    """What cameras send, and what they should not."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=70)
    large = stream.getvalue()
    assert len(large) < MAX_BODY
    event = Event(id="1", source="/eaves/test/camera", type="x", datacontenttype="image/png", data=small)
    jpeg, png = {"Content-Type": "image/jpeg"}, {"Content-Type": "image/png"}
    return [
        (png, small),
        (jpeg, large),
        encode_binary(event),
        encode_structured(event),
        (jpeg, large[: len(large) // 2]),
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


def private_bytes(function: Function) -> int:
    return mapped_bytes(function.process.pid, "Private_Clean", "Private_Dirty")


@pytest.mark.slow
@pytest.mark.long("ten thousand requests")
@pytest.mark.timeout(600)
def test_ten_thousand_requests_leave_the_memory_of_the_first_thousand(
    tiny_artifact: Path, image: bytes, tmp_path: Path
):
    stream = cycle(messages(image))

    with serving(tiny_artifact, tmp_path, EAVES_MAX_BODY_BYTES=str(MAX_BODY)) as function:

        def send_many(count: int) -> set[int]:
            shares = [list(islice(stream, count // SENDERS)) for _ in range(SENDERS)]
            with ThreadPoolExecutor(SENDERS) as pool:
                return set().union(*pool.map(lambda share: send(function.port(), share), shares))

        assert send_many(SETTLED) == {200, 400, 415, 422}
        settled = private_bytes(function)
        send_many(REQUESTS - SETTLED)
        assert private_bytes(function) - settled < GROWTH_BYTES


@pytest.mark.long("32 bodies of 14 MB")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other C libraries keep is theirs")
def test_large_events_that_are_refused_leave_nothing(tiny_artifact: Path, image: bytes, tmp_path: Path):
    """Large bodies leave nothing behind: not in a circle of frames, not in the C library's arenas."""
    junk = [os.urandom(size) for size in SIZES]
    named = {"Content_Type": "image/png", "ce_specversion": "1.0", "ce_source": "/s", "ce_type": "t"}

    with serving(tiny_artifact, tmp_path, EAVES_MAX_BODY_BYTES="20000000") as function:
        function.request("POST", "/", image, Content_Type="image/png")
        small = function.request("POST", "/", b"junk", **named, ce_id="small")  # what refuses an event is loaded now
        assert small[0] == 422
        resting = private_bytes(function)

        def post(number: int) -> int:
            return function.request("POST", "/", junk[number % len(SIZES)], **named, ce_id=str(number))[0]

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(post, range(TIMES))) <= {422, 429}
        wait_until(  # the last bodies are freed after their answers
            lambda: private_bytes(function) - resting < LEFT_BYTES, what="memory to be given back"
        )
