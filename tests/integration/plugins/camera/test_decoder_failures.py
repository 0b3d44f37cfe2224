"""How a decoder says that a stream can't be read, and what it must never do while it tries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eaves.plugins.camera.messages import Ended, StreamFrame, StreamRequest, build_request, read_message
from tests.fakes.http.camera import open_camera, respond
from tests.fakes.sources.camera.rtsp import RtspRequest, RtspSession, open_rtsp_camera
from tests.inputs.certificates import build_server_context, make_certificate
from tests.inputs.videos import make_video, need_av
from tests.processes.decoder import ROOT, run_decoder
from tests.processes.rtsp_server import run_rtsp_server

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device

LOGIN = "user:secret"


@pytest.fixture(autouse=True)
def _av() -> None:
    need_av()


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_login_by_rtsp(tmp_path: Path, method: str):
    mounts = {"/stream": make_video()}
    with run_rtsp_server(tmp_path, mounts, user="user", password="p@ss word", method=method) as server:
        with run_decoder(StreamRequest(url=server.url(login="user:p%40ss%20word"))) as decoder:
            assert decoder.frames(1)
        with run_decoder(StreamRequest(url=server.url(login="user:wrong"))) as decoder:
            failed = decoder.end()
    assert failed == Ended(code="refused_login", message="the camera refused the user name or password")


def test_a_refused_password_is_sent_once():
    refused = respond(401, WWW_Authenticate='Digest realm="camera", nonce="1", qop="auth"')
    with open_camera(lambda _: refused) as camera:
        with run_decoder(StreamRequest(url=camera.url.replace("//", f"//{LOGIN}@") + "/video")) as decoder:
            assert decoder.end().code == "refused_login"
        assert sum("authorization" in asked.headers for asked in camera.asked) == 1


@pytest.mark.parametrize("scheme", ["rtsps", "https"])
def test_a_strangers_certificate_gets_no_credentials(tmp_path: Path, scheme: str):
    mine, strangers = make_certificate(tmp_path / "mine"), make_certificate(tmp_path / "stranger")
    video = make_video()
    context = build_server_context(strangers)
    with (
        open_rtsp_camera(video, context=context) as rtsp,
        open_camera(lambda _: respond(404), context=context) as web,
    ):
        port = rtsp.port if scheme.startswith("rt") else int(web.url.rpartition(":")[2])
        url = f"{scheme}://{LOGIN}@127.0.0.1:{port}/stream"
        for authorities in (str(mine[0]), ""):
            with run_decoder(StreamRequest(url=url, authorities=authorities)) as decoder:
                assert decoder.end().code == "untrusted"
        assert rtsp.requests == []
        assert web.asked == []


def test_a_playlist_opens_no_file(tmp_path: Path):
    video = make_video().write(tmp_path / "0.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{video}\n#EXT-X-ENDLIST\n".encode()
    with (
        open_camera(lambda _: respond(body=playlist)) as camera,
        run_decoder(StreamRequest(url=f"{camera.url}/video", connect_timeout_s=1)) as decoder,
    ):
        decoder.end()
        assert not any(isinstance(message, StreamFrame) for message in decoder.messages)


def test_a_stream_that_has_only_audio_has_no_video():
    sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:track1\r\n"

    def describe(session: RtspSession, request: RtspRequest) -> None:
        session.respond(request, sdp.encode(), Content_Type="application/sdp", Content_Base=f"{request.url}/")

    with (
        open_rtsp_camera(make_video(), answers={"DESCRIBE": describe}) as camera,
        run_decoder(StreamRequest(url=camera.url())) as decoder,
    ):
        assert decoder.end() == Ended(code="no_video", message="the stream has no video")


def test_no_stream_by_http():
    for answer, code in (
        (respond(body=b"<html>Log in</html>", Content_Type="text/html"), "unsupported"),
        (respond(404), "not_found"),
        (respond(500), "unreachable"),
        (respond(302, Location="file:///etc/passwd"), "unreachable"),
    ):
        with (
            open_camera(lambda _, answer=answer: answer) as camera,  # type: ignore[misc]
            run_decoder(StreamRequest(url=f"{camera.url}/video")) as decoder,
        ):
            assert decoder.end().code == code


def test_a_redirect_by_http_is_not_followed():
    with (
        open_camera(lambda _: respond(body=b"", Content_Type="image/jpeg")) as other,
        open_camera(lambda _: respond(302, Location=f"{other.url}/video")) as camera,
        run_decoder(StreamRequest(url=f"{camera.url}/video")) as decoder,
    ):
        assert "refers to another address, which is not asked" in decoder.end().message
        assert other.asked == []


@pytest.mark.parametrize(("broken", "reason"), [("", "is not installed"), ("libz.so.1: no such file", "libz.so.1")])
def test_without_pyav(broken: str, reason: str, tmp_path: Path):
    """Python without its site-packages has the standard library and Eaves only, or a PyAV that lacks a library."""
    if broken:
        (tmp_path / "av.py").write_text(f"raise ImportError({broken!r})")
    command = (sys.executable, "-S", "-P", "-m", "eaves.plugins.camera.decoder")
    request = build_request(StreamRequest(url="rtsp://127.0.0.1/stream"))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(request)
        child.stdin.flush()
        message = read_message(child.stdout, 1000)
    assert isinstance(message, Ended)
    assert message.code == "missing_library"
    assert reason in message.message
