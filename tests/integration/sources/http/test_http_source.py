"""The http source against real cameras: pictures, pauses, restarts, months of faults, answers that are no picture."""

import gzip
import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from eaves.credentials import Credentials
from eaves.errors import SpoolFullError
from eaves.http_client.client import HttpClient
from eaves.sources.http.client import NoSnapshotError, SnapshotClient
from eaves.sources.http.kind import HttpSourceSettings
from tests.fakes.clock import ManualClock
from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs.certificates import build_server_context, make_certificate
from tests.integration.sources.http.polling import (
    HANGS,
    JPEG,
    counting,
    lazily,
    numbered,
    polling,
    wait_for_frames,
    wait_for_state,
)
from tests.ports import find_port
from tests.proc import count_descriptors, memory_bytes
from tests.waiting import wait_until


def wait_for_requests(camera: FakeCamera, further: int) -> None:
    count = len(camera.asked) + further
    wait_until(lambda: len(camera.asked) >= count, 20, what=f"{further} further requests")


def test_each_new_picture_is_captured_once():
    numbers = itertools.count()
    with open_camera(lambda _: counting(numbers)) as camera, polling(f"{camera.url}/snap.jpg?x=1#part") as context:
        wait_for_frames(context, 5)
        assert [frame.data for frame in context.frames[:5]] == [numbered(number) for number in range(5)]
        assert context.states == [("watching", "")]
        assert {asked.target for asked in camera.asked} == {"/snap.jpg?x=1"}
        assert {frame.subject for frame in context.frames} == {"cam"}
        assert camera.connections == 1
        assert len({frame.position for frame in context.frames}) == len(context.frames)
        assert abs((context.frames[0].captured_at_ns or 0) / 1e9 - time.time()) < 30


def test_a_picture_that_stays_is_one_image_with_and_without_validators():
    with open_camera(lambda _: respond(body=JPEG)) as camera, polling(camera.url) as context:
        wait_until(lambda: len(camera.asked) >= 5, 20)
        assert len(context.frames) == 1
        wait_until(lambda: context.dropped["duplicate"] >= 3, 20)


def test_a_server_with_validators_sends_each_picture_once():
    taken = [1_760_000_000]

    def answer(_: Asked) -> bytes:
        now = taken[0]  # read once, or a picture may get the time of the next
        return respond(body=numbered(now), Last_Modified=formatdate(now, usegmt=True))

    with open_camera(answer) as camera, polling(camera.url) as context:
        for number in range(3):
            taken[0] += 1
            wait_for_frames(context, number + 1)
            wait_for_requests(camera, 3)
        assert len(context.frames) == 3
        assert context.frames[-1].captured_at_ns == taken[0] * 10**9
        assert camera.connections == 1


def test_a_frame_after_a_restart_has_the_position_that_it_had():
    with open_camera(lambda _: respond(body=JPEG, ETag='"a"')) as camera:
        positions = []
        for _ in range(2):
            with polling(camera.url, RecordingContext()) as context:
                wait_for_frames(context, 1)
                positions.append(context.frames[0].position)
    assert positions[0] == positions[1]


def test_a_camera_that_closes_kept_connections_is_asked_again_at_once():
    """It closes a connection just when the next request is on its way, as servers do with idle ones."""
    numbers, served = itertools.count(), [0]

    def answer(_: Asked) -> bytes:
        if served[0] == camera.connections:
            return b""
        served[0] = camera.connections
        return counting(numbers)

    with open_camera(answer) as camera, polling(camera.url) as context:
        wait_for_frames(context, 4)
        assert context.states == [("watching", "")]
        assert context.reconnects == 0


def test_a_source_that_waits_for_a_camera_stops_at_once():
    with open_camera(lambda _: camera.hang()) as camera, polling(camera.url, timeout_s=100):
        wait_until(lambda: camera.asked, 20)  # `polling` checks how long the end takes


def test_a_camera_that_is_switched_off_is_found_again():
    port = find_port()
    numbers = itertools.count()
    with polling(f"http://127.0.0.1:{port}/") as context:
        reported = wait_for_state(context, "can't be reached")
        assert "0x" not in reported
        assert reported == f"http://127.0.0.1:{port}/ can't be reached: connection refused"
        with open_camera(lambda _: counting(numbers), port=port):
            wait_for_frames(context, 2)
        wait_until(lambda: context.states[-1][0] == "waiting", 20)
        with open_camera(lambda _: counting(numbers), port=port):
            before = len(context.frames)
            wait_for_frames(context, before + 2)
        assert context.reconnects == 2


def test_a_full_queue_pauses_polling_and_keeps_the_picture():
    numbers = itertools.count()
    context = RecordingContext()
    context.refuse = SpoolFullError("spool is full (1 GB)")
    with open_camera(lambda _: counting(numbers)) as camera, polling(camera.url, context):
        wait_for_state(context, r"^spool is full \(1 GB\); capture is paused until events are delivered$", "paused")
        assert len(camera.asked) == 1
        assert context.states[-1][0] == "paused"
        assert len(context.states) <= 2
        context.refuse = None
        wait_for_frames(context, 2)
        assert context.frames[0].data == numbered(0)
        assert context.states[-1] == ("watching", "")


def test_faults_without_end_take_no_memory_thread_or_descriptor():
    answers = itertools.cycle(
        [
            respond(body=b"<html>" + bytes(1_000_000), Content_Type="text/html"),
            respond(302, Location="/again"),
            respond(401, WWW_Authenticate='Digest realm="a", nonce="n", qop="auth"'),
            respond(body=JPEG[:200], length=len(JPEG), Connection="close"),
            respond(503, bytes(100_000)),
            b"",
        ]
    )

    def size() -> tuple[int, int, int]:
        return memory_bytes(), threading.active_count(), count_descriptors()

    def answer(asked: Asked) -> bytes | Iterator[bytes]:
        return lazily(camera, "within a header") if asked.target == "/hang" else next(answers)

    threads_before = threading.active_count()
    login = Credentials(username="u", password="p")
    context = RecordingContext()
    context.max_bytes = 10**6
    with open_camera(answer) as camera:
        wrong = SnapshotClient(HttpSourceSettings(url=camera.url, timeout_s=5), context, login, HttpClient())
        hanging = SnapshotClient(
            HttpSourceSettings(url=f"{camera.url}/hang", timeout_s=0.02), context, login, HttpClient()
        )
        sizes = []
        for _ in range(4):
            for client in [wrong] * 60 + [hanging] * 20:
                with pytest.raises(NoSnapshotError):
                    client.fetch()
            wait_until(lambda: threading.active_count() < threads_before + 10, 20, what="the end of threads")
            sizes.append(size())
        wrong.http.close()
        hanging.http.close()
    (_, threads, descriptors), (last, last_threads, last_descriptors) = sizes[0], sizes[-1]
    assert last - sizes[1][0] < 3_000_000, sizes
    assert last_threads <= threads + 4
    assert last_descriptors <= descriptors + 8


def test_retry_after_is_kept_to():
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    with open_camera(lambda _: respond(503, Retry_After="100")) as camera, polling(camera.url, context):
        wait_for_state(context, "503")
        for passed in range(0, 100, 2):
            wait_until(lambda: clock.waiting, 20, pause_s=0.0005)
            assert len(camera.asked) == 1, passed
            clock.turn(2)
        wait_until(lambda: len(camera.asked) == 2, 20)


WRONG = {
    "HTML with 200": (
        respond(body=b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8"),
        "answers with text/html that is not an image",
        "unsupported",
    ),
    "HTML that says it is a JPEG": (
        respond(body=b"<html>Please log in</html>", Content_Type="image/jpeg"),
        "answers with image/jpeg that is not an image",
        "unsupported",
    ),
    "a HEIC image": (
        respond(body=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Content_Type="image/jpeg"),
        "answers with image/jpeg that is not an image in a format that functions can read",
        "unsupported",
    ),
    "a stream": (
        respond(Content_Type="multipart/x-mixed-replace; boundary=x", length=-1),
        "answers with a stream",
        "unsupported",
    ),
    "more bytes than allowed, announced": (respond(length=10**9), "answers with more than 20000000 bytes", "too_large"),
    "half a picture of a known length": (
        respond(body=JPEG[:200], length=len(JPEG), Connection="close"),
        "closed the connection before the image was complete",
        "unreadable",
    ),
    "half a picture of unknown length": (
        respond(body=JPEG[:200], length=-1),
        "closed the connection before the image was complete",
        "unreadable",
    ),
    "a broken gzip": (
        respond(body=b"\x1f\x8b" + b"?" * 99, Content_Encoding="gzip"),
        "closed the connection before the image was complete",
        "unreadable",
    ),
    "not found": (respond(404), "answers with status 404", None),
    "no HTTP": (b"SSH-2.0-dropbear\r\n\r\n", "doesn't answer", None),
    "nothing": (b"", "doesn't answer", None),
    "a redirect to another host": (
        respond(302, Location="http://evil.example/x"),
        "redirects to another host, 'evil.example'",
        None,
    ),
    "a redirect in a circle": (
        respond(302, Location="/again"),
        "redirects or asks for a login more than 6 times",
        None,
    ),
    "a question who is there": (
        respond(401, WWW_Authenticate='Basic realm="cam"'),
        "asks for a login, but the credentials contain no user name",
        None,
    ),
}


@pytest.mark.long("a camera answers wrongly, and is asked again after its pauses")
def test_a_wrong_answer_is_waited_out_with_one_reason():
    """The reason is the same each time, so that it is logged once; the camera's recovery is seen by itself."""
    with ThreadPoolExecutor(len(WRONG)) as pool:  # each camera is waited for, and they are at once
        checks = {name: pool.submit(check_wrong_answer, *WRONG[name]) for name in WRONG}
    assert {name: error for name, check in checks.items() if (error := check.exception())} == {}


def check_wrong_answer(wrong: bytes, reason: str, cause: str | None) -> None:
    with open_camera(lambda _: wrong) as camera, polling(camera.url) as context:
        reported = wait_for_state(context, re.escape(reason))
        assert reported.startswith((f"{camera.url} ", f"{camera.url}/"))
        asked = len(camera.asked) or camera.connections
        wait_until(lambda: camera.connections > 1 or len(camera.asked) > asked + 1, 20)
        assert [state for state, _ in context.states] == ["waiting"]
        assert context.frames == []
        if cause is not None:
            assert set(context.dropped) == {cause}
        else:
            assert context.dropped == {}
        camera.answer = lambda _: respond(body=JPEG)
        wait_for_frames(context, 1)
        assert [state for state, _ in context.states] == ["waiting", "watching"]
        assert context.reconnects == 1


def test_more_bytes_than_allowed_are_not_read_to_their_end():
    sent = itertools.count()

    def endless(_: Asked) -> Iterator[bytes]:
        yield respond(length=-1, body=JPEG)
        for _number in sent:
            yield bytes(1 << 20)

    context = RecordingContext()
    context.max_bytes = 3_000_000
    with open_camera(endless) as camera, polling(camera.url, context, every_s=60):
        wait_for_state(context, "more than 3000000 bytes")
        assert next(sent) < 40  # what fits the sockets' buffers is sent, too
        assert context.dropped == {"too_large": 1}


def test_a_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(JPEG + bytes(200_000_000), 1)
    with open_camera(lambda _: respond(body=bomb, Content_Encoding="gzip")) as camera, polling(camera.url) as context:
        wait_for_state(context, "more than 20000000 bytes")


def test_gzip_is_undone():
    packed = respond(body=gzip.compress(JPEG), Content_Encoding="gzip")
    with open_camera(lambda _: packed) as camera, polling(camera.url) as context:
        wait_for_frames(context, 1)
        assert context.frames[0].data == JPEG


@pytest.mark.parametrize(("name", "tls"), [*((name, False) for name in HANGS), ("within the picture", True)])
def test_a_camera_that_hangs_is_left_when_its_time_is_over(name: str, *, tls: bool, tmp_path: Path):
    _, cause = HANGS[name]
    certificate = make_certificate(tmp_path / "server")
    context = RecordingContext()
    context.credentials = tmp_path
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    with open_camera(
        lambda _: lazily(camera, name), context=build_server_context(certificate) if tls else None
    ) as camera:
        began = time.monotonic()
        with polling(camera.url, context, timeout_s=0.6):
            wait_for_state(context, "did not send a complete image within 0.6 s")
            assert time.monotonic() - began < 5
            assert context.dropped.keys() == ({cause} if cause else set())
            camera.answer = lambda _: respond(body=JPEG)
            wait_for_frames(context, 1)
