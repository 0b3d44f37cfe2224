"""A day in seconds: the source's clock is turned, while cameras, connections and decoders are real."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.sources.camera.rtsp import open_rtsp_camera
from tests.fakes.sources.camera.rtsp_faults import build_flood
from tests.inputs.videos import Video, make_video
from tests.integration.sources.camera.watched_source import LOGIN, watch
from tests.ports import find_port
from tests.sources.running_camera import find_decoders
from tests.waiting import wait_until

HOUR_S = 3600.0
ATTEMPT_S = 60.0
SILENT_S, STEP_S = 250.0, 100.0
"""The largest value of `silent_s`, so that a step of the clock may be long; and such a step."""


@pytest.fixture(scope="module")
def video() -> Video:
    return make_video(key_every=5)


def test_a_camera_is_away_for_a_day(video: Video) -> None:
    """An attempt a minute, without a process; one line in the log; frames within 65 s of the camera's return."""
    clock = ManualClock()
    port = find_port()
    with (
        ExitStack() as camera,  # it is there longer than the source, which would say that it has gone
        watch(f"rtsp://{LOGIN}@127.0.0.1:{port}/stream", clock=clock, warnings=1) as watched,
    ):
        watched.wait_for_state("waiting", "can't be reached")
        for _ in range(24 * 60):
            wait_until(lambda: clock.waiting, 20, pause_s=0.001, what="the source's pause")
            clock.turn(ATTEMPT_S)
        assert len(watched.decoders.pids) <= 2
        began = clock.monotonic()
        camera.enter_context(open_rtsp_camera(video, port=port))
        while not watched.events:
            wait_until(lambda: watched.events or (clock.waiting and not find_decoders()), 20, what="an attempt")
            clock.turn(0.0 if watched.events else 1.0)
        assert clock.monotonic() - began <= 65.0
        watched.wait_for_state("watching")


@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_a_day_of_frames(video: Video, hours: int) -> None:
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
