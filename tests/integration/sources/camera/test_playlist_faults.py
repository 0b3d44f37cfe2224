"""HLS servers that do wrong: playlists and segments without end, playlists that lead nowhere, and other servers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eaves.sources.camera.wire import StreamRequest
from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.fakes.sources.camera.hls import HlsCamera
from tests.fakes.sources.camera.mjpeg import refuse_login
from tests.inputs.videos import make_video, need_av
from tests.integration.sources.camera.watched_source import LOGIN, watch
from tests.processes.decoder import run_decoder
from tests.waiting import wait_until

HEAD = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"


@pytest.fixture(autouse=True)
def _av() -> None:
    need_av()


def _endless(camera: FakeCamera) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + HEAD
    while not camera.released.is_set():
        yield b"#EXTINF:1,\n0.ts\n" * 4_000


def _request(camera: FakeCamera, login: str = "", timeout_s: float = 20.0) -> StreamRequest:
    return StreamRequest(url=camera.url.replace("//", f"//{login}") + "/live.m3u8", connect_timeout_s=timeout_s)


def test_a_playlist_without_end() -> None:
    with open_camera(lambda _: _endless(camera)) as camera, run_decoder(_request(camera)) as decoder:
        assert "a playlist of the stream has more than 4000000 bytes" in decoder.fail(40).message
        assert len(camera.asked) == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"#EXT-X-STREAM-INF:BANDWIDTH=1\nlive.m3u8?%d\n",
        b"#EXTINF:1,\nlive.m3u8?%d\n",
        b"#EXTINF:0,\nlive.m3u8?%d\n",
    ],
)
def test_a_playlist_that_leads_to_itself(lines: bytes) -> None:
    """It ends within the time limit of a connection, and asks the camera for little until then."""

    def answer(_: Asked) -> bytes:
        return respond(body=HEAD + lines % len(camera.asked))

    with open_camera(answer) as camera, run_decoder(_request(camera, timeout_s=3)) as decoder:
        decoder.fail(40)
        assert len(camera.asked) <= 41


@pytest.mark.slow
def test_a_segment_that_has_nothing_to_be_decoded_ends_in_time() -> None:
    def answer(asked: Asked) -> bytes | Iterator[bytes]:
        if asked.target.endswith(".ts"):
            return camera.trickle(b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 188)
        return respond(body=HEAD + b"#EXTINF:1,\n0.ts\n")

    with open_camera(answer) as camera, run_decoder(_request(camera, timeout_s=1)) as decoder:
        decoder.fail(40)


@pytest.mark.parametrize("path", ["live.m3u8", "video.mjpg"])
@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_another_server_that_asks_for_the_password_does_not_get_it(path: str, scheme: str) -> None:
    challenge = f'{scheme} realm="camera", nonce="1", qop="auth"'

    def ask(asked: Asked) -> bytes:
        return respond(401, WWW_Authenticate=challenge)

    def lead(asked: Asked) -> bytes:
        return respond(302, Location=f"{other.url}/other") if "authorization" in asked.headers else ask(asked)

    with open_camera(ask) as other, open_camera(lead) as camera:
        url = camera.url.replace("//", f"//{LOGIN}@") + f"/{path}"
        with run_decoder(StreamRequest(url=url, connect_timeout_s=20)) as decoder:
            assert decoder.fail(40).code == "refused_login"
        assert any("authorization" in asked.headers for asked in camera.asked)
        assert other.asked
        assert not [asked for asked in other.asked if "authorization" in asked.headers]


def test_a_playlist_whose_segments_are_at_another_server() -> None:
    """The other server asks for a password, too, and doesn't get it."""
    video = make_video(key_every=5)

    def answer(asked: Asked) -> bytes:
        if "authorization" not in asked.headers:
            return respond(401, WWW_Authenticate='Basic realm="camera"')
        return respond(body=HEAD + f"#EXTINF:1,\n{other.url}/0.ts\n".encode())

    hls = HlsCamera(video)
    with (
        open_camera(refuse_login) as other,
        open_camera(answer) as camera,
        watch(f"{camera.url.replace('//', f'//{LOGIN}@')}/live.m3u8", warnings=4, repeats=3) as watched,
    ):
        wait_until(lambda: other.asked, 40, what="a request of the other server")
        camera.answer = hls.answer
        watched.wait_for_frames(1, timeout_s=60)
        assert not [asked for asked in other.asked if "authorization" in asked.headers]


def test_a_redirect_of_a_playlist_that_never_ends() -> None:
    def answer(asked: Asked) -> bytes:
        return respond(302, Location=f"/{len(camera.asked)}.m3u8")

    with open_camera(answer) as camera, run_decoder(_request(camera)) as decoder:
        began = time.monotonic()
        decoder.fail(40)
        assert len(camera.asked) <= 5
        assert time.monotonic() - began < 30
