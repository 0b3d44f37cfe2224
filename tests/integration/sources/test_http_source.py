"""The http source against real servers: good ones, and each way in which a camera can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import SpoolFullError
from eaves.http_client.pools import HttpClient
from eaves.http_client.proxies import parse_proxies
from eaves.sources.http.authentication import Authentication
from eaves.sources.http.client import NoSnapshotError, SnapshotClient
from eaves.sources.http.kind import KIND
from eaves.sources.http.settings import HttpSourceSettings
from tests.fakes.clock import ManualClock
from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.fakes.http.proxy import open_proxy
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs import hostile
from tests.inputs.certificates import build_server_context, make_certificate
from tests.ports import find_port
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
    settings = build(HttpSourceSettings, SettingsLayer(origin="test", values=given))
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


def wait_for_requests(camera: FakeCamera, further: int) -> None:
    count = len(camera.asked) + further
    wait_until(lambda: len(camera.asked) >= count, 20, what=f"{further} further requests")


def wait_for_state(context: RecordingContext, pattern: str, state: str = "waiting") -> str:
    """Wait for a state with such a reason, which is returned."""

    def find() -> str:
        return next((reason for one, reason in context.states if one == state and re.search(pattern, reason)), "")

    return wait_until(find, 20, what=f"{state}: {pattern}")


def counting(camera_answers: itertools.count[int]) -> bytes:
    return respond(body=numbered(next(camera_answers)), Content_Type="image/jpeg")


def test_each_new_picture_is_captured_once() -> None:
    numbers = itertools.count()
    with open_camera(lambda _: counting(numbers)) as camera, polling(f"{camera.url}/snap.jpg?x=1#part") as context:
        wait_for_frames(context, 5)
        assert [frame.data for frame in context.frames[:5]] == [numbered(number) for number in range(5)]
        assert context.states == [("watching", "")]
        assert {asked.target for asked in camera.asked} == {"/snap.jpg?x=1"}
        assert {frame.subject for frame in context.frames} == {"snap.jpg"}
        assert camera.connections == 1
        assert len({frame.position for frame in context.frames}) == len(context.frames)
        assert abs((context.frames[0].captured_at_ns or 0) / 1e9 - time.time()) < 30


def test_a_picture_that_stays_is_one_image_with_and_without_validators() -> None:
    with open_camera(lambda _: respond(body=JPEG)) as camera, polling(camera.url) as context:
        wait_until(lambda: len(camera.asked) >= 5, 20)
        assert len(context.frames) == 1
        wait_until(lambda: context.dropped["duplicate"] >= 3, 20)


def test_a_server_with_etags_sends_each_picture_once() -> None:
    current = [0]

    def answer(asked: Asked) -> bytes:
        tag = f'"{current[0]}"'
        if asked.headers.get("if-none-match") == tag:
            return b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n"
        return respond(body=numbered(current[0]), ETag=tag)

    with open_camera(answer) as camera, polling(camera.url) as context:
        for number in range(3):
            current[0] = number
            wait_for_frames(context, number + 1)
            wait_for_requests(camera, 3)
        assert [frame.data for frame in context.frames] == [numbered(number) for number in range(3)]
        assert context.dropped == {}
        assert camera.connections == 1


def test_last_modified_is_the_capture_time_and_a_condition() -> None:
    taken = 1_760_000_000

    def answer(asked: Asked) -> bytes:
        if asked.headers.get("if-modified-since") == formatdate(taken, usegmt=True):
            return b"HTTP/1.1 304 Not Modified\r\n\r\n"
        return respond(body=JPEG, Last_Modified=formatdate(taken, usegmt=True))

    with open_camera(answer) as camera, polling(camera.url) as context:
        wait_until(lambda: len(camera.asked) >= 4, 20)
        assert [frame.captured_at_ns for frame in context.frames] == [taken * 10**9]
        assert context.states == [("watching", "")]


def test_a_frame_after_a_restart_has_the_position_that_it_had() -> None:
    with open_camera(lambda _: respond(body=JPEG, ETag='"a"')) as camera:
        positions = []
        for _ in range(2):
            with polling(camera.url, RecordingContext()) as context:
                wait_for_frames(context, 1)
                positions.append(context.frames[0].position)
    assert positions[0] == positions[1]


def test_a_camera_that_closes_kept_connections_is_asked_again_at_once() -> None:
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
    "an empty answer": (respond(), "answers with something that is not an image", "unsupported"),
    "a stream": (
        respond(Content_Type="multipart/x-mixed-replace; boundary=x", length=-1),
        "answers with a stream",
        "unsupported",
    ),
    "more bytes than allowed, announced": (respond(length=10**9), "answers with more than 20000000 bytes", "too_large"),
    "half a picture of a known length": (
        respond(body=JPEG[:200], length=len(JPEG), Connection="close"),
        "broke off within a picture",
        "unreadable",
    ),
    "half a picture of unknown length": (
        respond(body=JPEG[:200], length=-1),
        "broke off within a picture",
        "unreadable",
    ),
    "half a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n400\r\n" + JPEG[:200],
        "broke off within a picture",
        "unreadable",
    ),
    "chunks without sizes": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nx\r\n" + JPEG,
        "broke off within a picture",
        "unreadable",
    ),
    "a broken gzip": (
        respond(body=b"\x1f\x8b" + b"?" * 99, Content_Encoding="gzip"),
        "broke off within a picture",
        "unreadable",
    ),
    "not found": (respond(404), "answers with status 404", None),
    "out of order": (respond(503), "answers with status 503", None),
    "no HTTP": (b"SSH-2.0-dropbear\r\n\r\n", "doesn't answer", None),
    "nothing": (b"", "doesn't answer", None),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "answers with status 204", None),
    "not modified without a question": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answers with status 304", None),
    "a redirect to nowhere": (respond(302), "answers with status 302", None),
    "a redirect to another host": (
        respond(302, Location="http://evil.example/x"),
        "redirects to another host, 'evil.example'",
        None,
    ),
    "a redirect in a circle": (respond(302, Location="/again"), "redirects or asks to log in more than 6 times", None),
    "a question who is there": (
        respond(401, WWW_Authenticate='Basic realm="cam"'),
        "asks to log in; there is no user name in its credentials",
        None,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_waited_out_with_one_reason(name: str) -> None:
    """The reason is the same each time, so that it is logged once; the camera's recovery is seen by itself."""
    wrong, reason, cause = WRONG[name]
    with open_camera(lambda _: wrong) as camera, polling(camera.url) as context:
        told = wait_for_state(context, re.escape(reason))
        assert told.startswith((f"{camera.url} ", f"{camera.url}/"))
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


HANGS: dict[str, tuple[Callable[[FakeCamera], Iterator[bytes]], str, str | None]] = {
    "before its answer": (lambda camera: camera.hang(), "did not send a picture within 0.6 s", None),
    "within a header": (
        lambda camera: camera.trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        "did not send a picture within 0.6 s",
        None,
    ),
    "within the picture": (
        lambda camera: itertools.chain([respond(body=JPEG[:200], length=len(JPEG))], camera.hang()),
        "did not send a picture within 0.6 s",
        "unreadable",
    ),
    "within the picture, a byte now and then": (
        lambda camera: camera.trickle(respond(body=JPEG[:200], length=10**6), b"x"),
        "did not send a picture within 0.6 s",
        "unreadable",
    ),
    "within the size of a chunk, a byte now and then": (
        lambda camera: camera.trickle(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"0"
        ),
        "did not send a picture within 0.6 s",
        None,
    ),
}


def lazily(camera: FakeCamera, name: str) -> Iterator[bytes]:
    yield from HANGS[name][0](camera)


@pytest.mark.parametrize("name", HANGS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
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


def test_a_source_that_waits_for_a_camera_stops_at_once() -> None:
    with open_camera(lambda _: camera.hang()) as camera, polling(camera.url, timeout_s=100):
        wait_until(lambda: camera.asked, 20)  # `polling` checks how long the end takes


def test_a_camera_that_is_switched_off_is_found_again() -> None:
    port = find_port()
    numbers = itertools.count()
    with polling(f"http://127.0.0.1:{port}/") as context:
        told = wait_for_state(context, "can't be reached")
        assert "0x" not in told
        assert told == f"http://127.0.0.1:{port}/ can't be reached: connection refused"
        with open_camera(lambda _: counting(numbers), port=port):
            wait_for_frames(context, 2)
        wait_until(lambda: context.states[-1][0] == "waiting", 20)
        with open_camera(lambda _: counting(numbers), port=port):
            before = len(context.frames)
            wait_for_frames(context, before + 2)
        assert context.reconnects == 2


def test_a_name_that_nobody_knows_is_one_reason() -> None:
    with polling("http://camera.invalid/") as context:
        told = wait_for_state(context, "can't be reached")
        assert "0x" not in told


def test_a_full_queue_pauses_polling_and_keeps_the_picture() -> None:
    numbers = itertools.count()
    context = RecordingContext()
    context.refuse = SpoolFullError("spool is full (1 GB)")
    with open_camera(lambda _: counting(numbers)) as camera, polling(camera.url, context):
        wait_for_state(context, r"^spool is full \(1 GB\); capture is paused until events are delivered$", "paused")
        wait_until(lambda: context.dropped["spool_full"] >= 10, 20)
        assert len(camera.asked) == 1
        assert context.states[-1][0] == "paused"
        assert len(context.states) <= 2
        context.refuse = None
        wait_for_frames(context, 2)
        assert context.frames[0].data == numbered(0)
        assert context.states[-1] == ("watching", "")


def test_a_queue_that_is_full_for_an_hour_holds_one_picture() -> None:
    numbers, clock = itertools.count(), ManualClock()
    context = RecordingContext(clock=clock)
    context.refuse = SpoolFullError("spool is full (1 GB)")
    with open_camera(lambda _: counting(numbers)) as camera, polling(camera.url, context, every_s=5):
        while clock.monotonic() < 3_600:
            wait_until(lambda: clock.waiting, 20, pause_s=0.0005)
            clock.turn(60)
        wait_until(lambda: clock.waiting, 20)
        assert len(camera.asked) == 1
        assert [state for state, _ in context.states] == ["watching", "paused"]
        assert 3_500 / 5 <= context.dropped["spool_full"] <= 3_720 / 5
        context.refuse = None
        clock.turn(60)
        wait_for_frames(context, 1)
        assert context.frames[0].data == numbered(0)
        wait_until(lambda: context.states[-1][0] == "watching", 20)


def test_faults_without_end_take_no_memory_thread_or_descriptor() -> None:
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
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return resident, threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def answer(asked: Asked) -> bytes | Iterator[bytes]:
        return lazily(camera, "within a header") if asked.target == "/hang" else next(answers)

    threads_before = threading.active_count()
    http = HttpClient(connections=1)
    options: dict[str, Any] = {"http": http, "authentication": Authentication("u", "p"), "max_bytes": 10**6}
    with open_camera(answer) as camera:
        wrong = SnapshotClient(camera.url, timeout_s=5, **options)
        hanging = SnapshotClient(f"{camera.url}/hang", timeout_s=0.02, **options)
        sizes = []
        for _ in range(4):
            for client in [wrong] * 60 + [hanging] * 20:
                with pytest.raises(NoSnapshotError):
                    client.fetch({}, time.time())
            wait_until(lambda: threading.active_count() < threads_before + 10, 20, what="the end of threads")
            sizes.append(size())
        http.close()
    (_, threads, descriptors), (last, last_threads, last_descriptors) = sizes[0], sizes[-1]
    assert last - sizes[1][0] < 3_000_000, sizes
    assert last_threads <= threads + 4
    assert last_descriptors <= descriptors + 8


def test_retry_after_is_kept_to() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    with open_camera(lambda _: respond(503, Retry_After="100")) as camera, polling(camera.url, context):
        wait_for_state(context, "503")
        for passed in range(0, 100, 2):
            wait_until(lambda: clock.waiting, 20, pause_s=0.0005)
            assert len(camera.asked) == 1, passed
            clock.turn(2)
        wait_until(lambda: len(camera.asked) == 2, 20)


def check_digest(asked: Asked, nonce: str, password: str = "secret") -> bool:
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', asked.headers.get("authorization", "")))
    if fields.get("nonce") != nonce:
        return False

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    secret, what = digest(f"viewer:cam:{password}"), digest(f"GET:{asked.target}")
    expected = digest(f"{secret}:{nonce}:{fields['nc']}:{fields['cnonce']}:auth:{what}")
    return bool(fields["uri"] == asked.target and fields["response"] == expected)


def write_credentials(folder: Path, password: str = "secret") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "username").write_text("viewer\n")
    (folder / "password").write_text(f"{password}\n")
    return folder


def test_digest_logs_in_once_for_as_long_as_the_nonce_is_good(tmp_path: Path) -> None:
    nonce, numbers = ["first"], itertools.count()

    def answer(asked: Asked) -> bytes:
        if check_digest(asked, nonce[0]):
            return counting(numbers)
        asks = f'Digest realm="cam", qop="auth", algorithm=SHA-256, nonce="{nonce[0]}"'
        return respond(401, b"no", ("WWW-Authenticate", 'Basic realm="cam"'), ("WWW-Authenticate", asks))

    context = RecordingContext()
    context.credentials = write_credentials(tmp_path)
    with open_camera(answer) as camera, polling(f"{camera.url}/a%20b?c=d e".replace(" ", "%20"), context):
        wait_for_frames(context, 3)
        assert [("authorization" in asked.headers) for asked in camera.asked[:4]] == [False, True, True, True]
        assert camera.connections == 1
        nonce[0] = "second"
        wait_for_frames(context, 6)
        assert context.states == [("watching", "")]


def test_a_password_that_is_wrong_is_said_without_it_and_used_once_it_is_changed(tmp_path: Path) -> None:
    expected = "Basic dmlld2VyOnNlY3JldA=="

    def answer(asked: Asked) -> bytes:
        good = asked.headers.get("authorization") == expected
        return respond(body=JPEG) if good else respond(401, WWW_Authenticate='Basic realm="cam"')

    context = RecordingContext()
    context.credentials = write_credentials(tmp_path, "hunter2")
    with open_camera(answer) as camera, polling(camera.url, context):
        told = wait_for_state(context, "refuses the user name or the password")
        assert "hunter2" not in told
        asked = len(camera.asked)
        assert asked == 2  # further tries could have the camera lock the account
        write_credentials(tmp_path)
        wait_for_frames(context, 1)


def test_credentials_that_are_not_there_yet_are_waited_for(tmp_path: Path) -> None:
    context = RecordingContext()
    context.credentials = tmp_path / "secret"
    with open_camera(lambda _: respond(body=JPEG)) as camera, polling(camera.url, context):
        wait_for_state(context, "is not a folder")
        write_credentials(tmp_path / "secret")
        wait_for_frames(context, 1)


def test_a_password_in_the_address_works_and_is_never_shown() -> None:
    def answer(asked: Asked) -> bytes:
        good = asked.headers.get("authorization") == "Basic dmlld2VyOnMvY3JldA=="
        return respond(503) if good else respond(401, WWW_Authenticate='Basic realm="cam"')

    with (
        open_camera(answer) as camera,
        polling(camera.url.replace("//", "//viewer:s%2Fcret@") + "/?token=t0p") as context,
    ):
        told = wait_for_state(context, "503")
        assert told == f"{camera.url}/?token=*** answers with status 503"


def test_a_redirect_within_the_host_is_followed_and_logged_in_at() -> None:
    def answer(asked: Asked) -> bytes:
        if asked.target == "/":
            return respond(301, Location="/real.jpg")
        return respond(body=JPEG)

    with open_camera(answer) as camera, polling(camera.url) as context:
        wait_for_frames(context, 1)
        assert [asked.target for asked in camera.asked[:2]] == ["/", "/real.jpg"]


def test_tls_trusts_the_authority_in_the_credentials_and_shows_the_client_certificate(tmp_path: Path) -> None:
    server, client = make_certificate(tmp_path / "server"), make_certificate(tmp_path / "client", "viewer")
    tls = build_server_context(server)
    tls.load_verify_locations(client[0])
    tls.verify_mode = tls.verify_mode.CERT_REQUIRED
    context = RecordingContext()
    context.credentials = tmp_path / "credentials"
    context.credentials.mkdir()
    with open_camera(lambda _: respond(body=JPEG), context=tls) as camera, polling(camera.url, context):
        wait_for_state(context, "certificate is not trusted")
        (context.credentials / "tls.crt").write_bytes(client[0].read_bytes())
        (context.credentials / "tls.key").write_bytes(client[1].read_bytes())
        (context.credentials / "ca.crt").write_bytes(server[0].read_bytes())
        wait_for_frames(context, 1)


def test_a_key_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("nothing")
    (tmp_path / "tls.key").write_text("nothing")
    context = RecordingContext()
    context.credentials = tmp_path
    with polling("https://127.0.0.1:1/", context):
        wait_for_state(context, r"tls\.crt and its key can't be used")


def test_a_camera_is_reached_through_the_proxy_of_the_process() -> None:
    context = RecordingContext()
    with open_proxy() as proxy, open_camera(lambda _: respond(body=JPEG)) as camera:
        proxy.routes["cam.test:80"] = int(camera.url.rpartition(":")[2])
        context.proxies = parse_proxies({"http_proxy": f"http://{proxy.host}"})
        with polling("http://cam.test/snap.jpg", context):
            wait_for_frames(context, 1)
        assert "GET http://cam.test/snap.jpg" in proxy.targets()


def test_a_hundred_pictures_leave_one_connection_and_no_thread() -> None:
    numbers = itertools.count()
    threads = threading.active_count()
    with open_camera(lambda _: counting(numbers)) as camera, polling(camera.url) as context:
        wait_for_frames(context, 100)
        assert camera.connections == 1
        assert threading.active_count() <= threads + 5
