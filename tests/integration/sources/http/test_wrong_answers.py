"""What the http source does with answers that are no picture: wrong, too large, packed, slow."""

from __future__ import annotations

import gzip
import itertools
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.http.camera import Asked, open_camera, respond
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs.certificates import build_server_context, make_certificate
from tests.integration.sources.http.polling import HANGS, JPEG, lazily, polling, wait_for_frames, wait_for_state
from tests.waiting import wait_until

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


def test_a_wrong_answer_is_waited_out_with_one_reason() -> None:
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


def test_more_bytes_than_allowed_are_not_read_to_their_end() -> None:
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


def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(JPEG + bytes(200_000_000), 1)
    with open_camera(lambda _: respond(body=bomb, Content_Encoding="gzip")) as camera, polling(camera.url) as context:
        wait_for_state(context, "more than 20000000 bytes")


def test_gzip_is_undone() -> None:
    packed = respond(body=gzip.compress(JPEG), Content_Encoding="gzip")
    with open_camera(lambda _: packed) as camera, polling(camera.url) as context:
        wait_for_frames(context, 1)
        assert context.frames[0].data == JPEG


@pytest.mark.parametrize(("name", "tls"), [*((name, False) for name in HANGS), ("within the picture", True)])
def test_a_camera_that_hangs_is_left_when_its_time_is_over(name: str, *, tls: bool, tmp_path: Path) -> None:
    _, reason, cause = HANGS[name]
    certificate = make_certificate(tmp_path / "server")
    context = RecordingContext()
    context.credentials = tmp_path
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    with open_camera(
        lambda _: lazily(camera, name), context=build_server_context(certificate) if tls else None
    ) as camera:
        began = time.monotonic()
        with polling(camera.url, context, timeout_s=0.6):
            wait_for_state(context, re.escape(reason))
            assert time.monotonic() - began < 5
            assert context.dropped.keys() == ({cause} if cause else set())
            camera.answer = lambda _: respond(body=JPEG)
            wait_for_frames(context, 1)
