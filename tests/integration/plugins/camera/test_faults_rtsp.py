"""Cameras that do wrong over RTSP: memory is bounded, the log has one line for each reason, and frames come back.

Each test runs a whole source with its real decoder, and `watch` checks in each what holds for every camera: bounded
memory, a short log without repetitions, different ids, and no password in the log, in processes and in events.
"""

import io
import time

import pytest
from PIL import Image

from tests.fakes.clock import ManualClock
from tests.fakes.sources.camera.rtsp import (
    Answer,
    RtspRequest,
    RtspSession,
    Script,
    open_rtsp_camera,
    play_live,
)
from tests.fakes.sources.camera.rtsp_faults import (
    build_change,
    build_description,
    build_flood,
    build_login,
    build_redirect,
    hang,
    play_half_a_frame,
    refuse_login,
    respond_garbage,
)
from tests.inputs.videos import Video, make_video
from tests.integration.plugins.camera.watched_source import LOGIN, watch

HOUR_S, HOURS_S = 3600.0, 5 * 3600
SILENT_S, STEP_S = 250.0, 100.0
"""The largest value of `silent_s`, so that a step of the clock may be long; and such a step."""


@pytest.fixture(scope="module")
def video() -> Video:
    return make_video(key_every=5)


def test_a_camera_accepts_and_says_nothing(video: Video):
    with open_rtsp_camera(video, answers={"OPTIONS": hang}) as camera, watch(camera.url(login=LOGIN)) as watched:
        watched.wait_for_state("waiting", "can't be reached")
        camera.answers = {}
        watched.wait_for_frames()
        watched.wait_for_state("watching")


@pytest.mark.parametrize("script", [hang, play_half_a_frame])
def test_a_stream_falls_silent(video: Video, script: Script):
    """No data after PLAY, and half of a frame."""
    with open_rtsp_camera(video, script) as camera, watch(camera.url(login=LOGIN)) as watched:
        watched.wait_for_state("waiting", "no data from the camera for 1 s")
        camera.script = play_live
        watched.wait_for_frames()
        watched.wait_for_state("watching")
        assert watched.context.counters.reconnects >= 1


def test_500_frames_a_second(video: Video):
    """A hundred of them are key frames; `every_s` thins them."""
    with open_rtsp_camera(video, build_flood(500)) as camera, watch(camera.url(login=LOGIN), warnings=0) as watched:
        watched.wait_for_frames(100)
    with (
        open_rtsp_camera(video, build_flood(500)) as camera,
        watch(camera.url(login=LOGIN), warnings=0, every_s=0.5) as watched,
    ):
        began = time.monotonic()
        watched.wait_for_frames(3)
        assert len(watched.events) <= 2 * (time.monotonic() - began) + 2


def test_a_camera_changes_its_resolution(video: Video):
    other = make_video(size=(640, 360), key_every=5)
    with (
        open_rtsp_camera(video, build_change(other, 10)) as camera,
        watch(camera.url(login=LOGIN), warnings=0) as watched,
    ):
        watched.wait_for_frames(7)
        assert camera.connections == 1
        assert {Image.open(io.BytesIO(event.data)).size for event in watched.events} == {(320, 180), (640, 360)}
        assert len(watched.numbers) >= 7  # each picture is whole


HOSTILE: dict[str, dict[str, Answer]] = {
    "garbage": {"OPTIONS": respond_garbage},
    "a length of 2 GB": {"DESCRIBE": build_description(b"v=0\r\n", length=2_000_000_000)},
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_an_answer_makes_no_sense(video: Video, fault: str):
    with open_rtsp_camera(video, answers=HOSTILE[fault]) as camera, watch(camera.url(login=LOGIN)) as watched:
        watched.wait_for_warning("is waiting")
        camera.answers = {}
        watched.wait_for_frames()


def test_a_camera_sends_the_client_to_another_one(video: Video):
    """The other camera doesn't get the password."""
    refusing: dict[str, Answer] = {"DESCRIBE": refuse_login, "OPTIONS": refuse_login}
    with (
        open_rtsp_camera(video, answers=refusing) as other,
        open_rtsp_camera(video, answers={"DESCRIBE": build_redirect(other.url())}) as camera,
        watch(camera.url(login=LOGIN)) as watched,
    ):
        watched.wait_for_state("waiting", "refers to another server")
        assert other.connections == 0


def test_a_camera_sends_the_client_to_another_path(video: Video):
    """The same server may have the password."""

    def answer(session: RtspSession, request: RtspRequest) -> None:
        if request.url.endswith("/moved"):
            build_login(LOGIN)(session, request)
        else:
            build_redirect(f"{session.camera.url()}/moved")(session, request)

    with open_rtsp_camera(video, answers={"DESCRIBE": answer}) as camera, watch(camera.url(login=LOGIN)) as watched:
        watched.wait_for_frames()


@pytest.mark.long("frames of two hours, or of a day")
@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_a_day_of_frames(video: Video, hours: int):
    """One process, one connection, and nothing to say; as many frames as the camera really sends in that time."""
    clock = ManualClock()
    with (
        open_rtsp_camera(video, build_flood(200)) as camera,
        watch(camera.url(login=LOGIN), clock=clock, warnings=0, silent_s=SILENT_S) as watched,
    ):
        watched.wait_for_frames()
        for _ in range(int(hours * HOUR_S / STEP_S)):
            watched.wait_for_frames(1)
            clock.turn(STEP_S)
        watched.wait_for_frames()
        assert camera.connections == len(watched.decoders.pids) == 1
        assert not watched.context.silent
