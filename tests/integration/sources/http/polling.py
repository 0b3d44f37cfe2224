"""An http source that polls a camera, and what its tests wait for."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eaves.sources.http.kind import KIND, HttpSourceSettings
from tests.fakes.http.camera import FakeCamera, respond
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs import hostile
from tests.inputs.settings import settings_from
from tests.waiting import wait_until

JPEG = hostile.good("JPEG")


def numbered(number: int) -> bytes:
    """A JPEG that no other number has: bytes behind its end are its number."""
    return JPEG + number.to_bytes(4, "big")


@contextmanager
def polling(url: str, context: RecordingContext | None = None, **values: object) -> Iterator[RecordingContext]:
    """Run the source on a URL in a thread; it must end within 3 s of being asked to."""
    context = context or RecordingContext()
    given = {"url": url, "every_s": 0.05, "timeout_s": 5, **values}
    settings = settings_from(HttpSourceSettings, given)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            KIND.run(settings, context)
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield context
    finally:
        context.stop()
        asked_at = time.monotonic()
        thread.join(20)
        assert not thread.is_alive()
        assert time.monotonic() - asked_at < 3
        assert not failures


def wait_for_frames(context: RecordingContext, count: int) -> None:
    wait_until(lambda: len(context.frames) >= count, 20, what=f"{count} frames; states {context.states}")


def wait_for_state(context: RecordingContext, pattern: str, state: str = "waiting") -> str:
    """Wait for a state with such a reason, which is returned."""

    def find() -> str:
        return next((reason for one, reason in context.states if one == state and re.search(pattern, reason)), "")

    return wait_until(find, 20, what=f"{state}: {pattern}")


def counting(camera_answers: itertools.count[int]) -> bytes:
    return respond(body=numbered(next(camera_answers)), Content_Type="image/jpeg")


Hang = Callable[[FakeCamera], Iterator[bytes]]
HANGS: dict[str, tuple[Hang, str | None]] = {
    "before its answer": (lambda camera: camera.hang(), None),
    "within a header": (lambda camera: camera.trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"), None),
    "within the picture": (
        lambda camera: camera.trickle(respond(body=JPEG[:200], length=10**6), b"x"),
        "unreadable",
    ),
    "within the size of a chunk": (
        lambda camera: camera.trickle(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"0"
        ),
        None,
    ),
}
"""What a camera does that hangs, and the cause for which its image counts as dropped."""


def lazily(camera: FakeCamera, name: str) -> Iterator[bytes]:
    yield from HANGS[name][0](camera)
