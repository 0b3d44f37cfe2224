"""`eaves sources try` with video streams, over real RTSP and HTTP servers and with the agent's own decoder."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from eaves.cli.project import load_workspace
from tests.cli import EAVES, eaves
from tests.fakes.http.camera import open_camera
from tests.fakes.sources.camera.mjpeg import stream_live
from tests.fakes.sources.camera.rtsp import RtspSession, live_numbers, open_rtsp_camera
from tests.inputs.videos import make_video, need_av
from tests.integration.cli.test_sources_try import (
    fail,
    in_a_folder_of_its_own,
    names,
    show,
    size_of,
    write_project,
)
from tests.proc import child_pids
from tests.processes.rtsp_server import RtspServer, run_rtsp_server
from tests.waiting import wait_until

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device

__all__ = ["in_a_folder_of_its_own"]


@pytest.fixture(scope="module", autouse=True)
def pyav() -> None:
    need_av()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    mounts = {"/stream": make_video("h264")}
    with run_rtsp_server(tmp_path_factory.mktemp("rtsp"), mounts, user="eaves", password="hunter2") as running:
        yield running


def test_a_stream_is_shown_with_what_it_costs(server: RtspServer, tmp_path: Path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "username").write_text("eaves")
    (credentials / "password").write_text("hunter2")
    write_project(kind="camera", url=server.url(), credentials=str(credentials), max_side=160)
    result = eaves("sources", "try", "gate")
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output
    text = re.sub(r" +", " ", result.stdout)
    assert f"source gate, kind camera: {server.url()}\n" in text
    assert re.search(r"stream h264, 320x180, 10 frames/s\n", text)
    assert "decoding key frames only, which costs least\n" in text
    assert size_of("gate.jpg") == (160, 90)


def test_every_frame_is_decoded_where_key_frames_are_too_few(server: RtspServer):
    url = server.url(login="eaves:hunter2")
    found = show(f"{{kind: camera, url: '{url}', every_s: 0.2}}")
    assert found["stream"]["decoding"] == "all"


def test_a_stream_that_is_refused(server: RtspServer):
    for login, path, code, step, message, hint in (
        ("eaves:hunter2", "/none", 66, "path", "has no stream at this address", "/Streaming/Channels/101 (Hikvision)"),
        ("eaves:hunter22", "/stream", 77, "login", "refused the user name or password", "--credentials"),
        ("", "/stream", 77, "login", "asks for a login, and there is no user name", "username and password"),
    ):
        found, error = fail(server.url(path, login=login))
        assert error.exit_code == code
        assert [(one["name"], one["passed"]) for one in found["steps"]][-1] == (step, False)
        assert message in error.message
        assert hint in (error.hint or "")
    assert names() == []


def send_no_key_frames(session: RtspSession) -> None:
    for number in live_numbers(session):
        if not session.video.packets[number % len(session.video.packets)].key:
            session.send_frame(number)


def test_a_stream_without_key_frames():
    with open_rtsp_camera(make_video(), send_no_key_frames) as camera:
        found, error = fail(camera.url(), "--timeout", "3")
    assert error.exit_code == 69
    assert found["stream"]["codec"] == "h264"
    assert error.message == "the stream is open (h264), and no key frame came within 3 s"
    assert "GOP" in (error.hint or "")


def test_a_camera_that_accepts_and_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"rtsp://u:hunter2@127.0.0.1:{deaf.getsockname()[1]}/1"
        found, error = fail(f"{{kind: camera, url: '{url}', connect_timeout_s: 1}}")
    assert error.exit_code == 69
    assert [one["name"] for one in found["steps"]] == ["address", "connection", "connection"]


def test_a_snapshot_address_that_is_a_stream_is_named_as_one():
    video = make_video("mjpeg")
    with open_camera(lambda _: stream_live(camera, video)) as camera:
        _, refused = fail(f"{camera.url}/video")
        found = show(f"{camera.url}/video.mjpg")
    assert "which the kind `camera` reads" in str(refused)
    assert (found["kind"], found["stream"]["decoding"]) == ("camera", "none")


def test_files_and_devices(tmp_path: Path):
    film = make_video().write(tmp_path / "film.mp4")
    found = show(film)
    assert (found["kind"], found["stream"]["codec"]) == ("camera", "h264")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film" * 1_000)
    found, error = fail(broken)
    assert (error.exit_code, found["steps"][-1]["name"]) == (65, "format")
    _, error = fail("/dev/video99")
    assert error.exit_code == 66
    assert "there is no device /dev/video99" in error.message
    assert "v4l2-ctl" in (error.hint or "")


def test_ctrl_c_leaves_no_decoder():
    with open_rtsp_camera(make_video(), lambda session: session.hang()) as camera:
        url = camera.url(login="eaves:hunter2")
        command = [*EAVES, "sources", "try", url, "--timeout", "60"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: any(request.method == "PLAY" for request in camera.requests), 60)
            children = child_pids(process.pid)
            process.send_signal(signal.SIGINT)
            _, reported = process.communicate(timeout=30)
        finally:
            process.kill()
    assert len(children) == 1
    assert process.returncode == 130, reported
    assert "hunter2" not in reported
    wait_until(lambda: not Path(f"/proc/{children[0]}/exe").exists(), 10)


def test_training_images_are_collected_from_a_stream(server: RtspServer, tmp_path: Path):
    """`eaves init --from-source`, with an address and with a source that a project has."""
    project = tmp_path / "project"
    url = server.url(login="eaves:hunter2")
    result = eaves("init", project, "--name", "gate", "--from-source", url, "--images", "2", "--every", "0.3")
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.stderr
    (source,) = load_workspace(project / "eaves.yaml").project.sources
    assert (source.kind, source.options["every_s"]) == ("camera", "0.3")
    images = sorted((project / "photos-unsorted").glob("*.jpg"))
    assert len(images) == 2
    with Image.open(images[0]) as image:
        assert image.size == (320, 180)
