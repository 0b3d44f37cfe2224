"""Cameras that do wrong over HTTP, with MJPEG: whole images only, bounded memory, a short log, and frames come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.fakes.sources.camera.mjpeg import (
    build_part,
    refuse_login,
    stream_cut,
    stream_endless_head,
    stream_endless_image,
    stream_flood,
    stream_half,
    stream_live,
    stream_lying_lengths,
)
from tests.inputs.certificates import build_server_context, make_certificate
from tests.inputs.videos import Video, make_video
from tests.integration.sources.camera.watched_source import LOGIN, MAX_BYTES, watch
from tests.waiting import wait_until

Stream = Callable[[FakeCamera, Video], bytes | Iterator[bytes]]


@pytest.fixture(scope="module")
def video() -> Video:
    return make_video("mjpeg")


class Camera:
    """A camera whose behaviour may change while it runs."""

    def __init__(self, video: Video, stream: Stream) -> None:
        self.stream = stream
        self.video = video
        self.fake: FakeCamera | None = None

    def answer(self, _: Asked) -> bytes | Iterator[bytes]:
        assert self.fake is not None
        return self.stream(self.fake, self.video)


def live(camera: FakeCamera, video: Video) -> Iterator[bytes]:
    return stream_live(camera, video)


FAULTS: dict[str, Stream] = {
    "half an image, and silence": stream_half,
    "images that end in their middle": lambda _, video: stream_cut(video),
    "lengths that are too short": lambda camera, video: stream_lying_lengths(camera, video, 10),
    "lengths that are too long": lambda camera, video: stream_lying_lengths(camera, video, 1_000_000),
    "lengths of 2 GB": lambda camera, video: stream_lying_lengths(camera, video, 2_000_000_000),
    "a header without end": lambda camera, _: stream_endless_head(camera),
    "an image without end": stream_endless_image,
    "a page": lambda _, __: respond(200, b"<html>" * 100, Content_Type="text/html"),
    "a password that is always wrong": lambda _, __: refuse_login(Asked(target="", headers={})),
    "no such stream": lambda _, __: respond(404),
    "nothing": lambda camera, _: camera.hang(),
}


SLOW = ("lengths of 2 GB", "lengths that are too long", "a header without end", "a page", "no such stream", "nothing")
"""Faults for `make test-slow`, because others show nearly the same."""


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in SLOW else fault for fault in FAULTS]
)
def test_the_camera_does_wrong_and_then_right(video: Video, fault: str) -> None:
    camera = Camera(video, FAULTS[fault])
    peak_bytes = MAX_BYTES + 50_000_000 if "without end" in fault else 150_000_000
    with (
        open_camera(camera.answer) as camera.fake,
        watch(build_url(camera.fake), peak_bytes=peak_bytes, warnings=4, repeats=3) as watched,
    ):
        watched.wait_for_warning("is waiting")
        numbers = watched.numbers  # each picture is whole
        camera.stream = live
        if "password" in fault:
            watched.wait_for_state("waiting", "refused the user name or password")
        else:
            watched.wait_for_frames(3)
        assert watched.numbers[: len(numbers)] == numbers


def test_lengths_that_are_no_numbers_are_passed_over(video: Video) -> None:
    camera = Camera(video, lambda fake, video: stream_lying_lengths(fake, video, -7))
    with open_camera(camera.answer) as camera.fake, watch(build_url(camera.fake), warnings=0) as watched:
        watched.wait_for_frames(5)
        assert camera.fake.connections == 1


@pytest.mark.parametrize("every_s", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_500_images_a_second(every_s: float) -> None:
    """What the agent can't store in time is counted as late; `every_s` thins a flood before it is passed on."""
    video = make_video("mjpeg", (1280, 720), seconds=1)
    camera = Camera(video, stream_flood)
    with (
        open_camera(camera.answer) as camera.fake,
        watch(build_url(camera.fake), warnings=0, every_s=every_s) as watched,
    ):
        watched.wait_for_frames(4)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began >= 1, 10, what="a second of flood")
        if every_s:
            assert len(watched.events) <= 4 + 1 / every_s + 2
        else:
            assert len(watched.events) > 50
        assert max(map(len, (event.data for event in watched.events))) < 500_000


def test_the_size_of_images_changes(video: Video) -> None:
    """A camera that is set to another resolution while it sends."""
    other = make_video("mjpeg", (640, 360))

    def stream(camera: FakeCamera, video: Video) -> Iterator[bytes]:
        own, others = stream_live(camera, video), stream_live(camera, other)
        next(others)
        yield next(own)
        while True:
            yield next(own)
            yield next(others)

    camera = Camera(video, stream)
    with open_camera(camera.answer) as camera.fake, watch(build_url(camera.fake), warnings=0) as watched:
        watched.wait_for_frames(8)
        assert len(watched.numbers) >= 8
        wait_until(
            lambda: {len(event.data) > 15_000 for event in watched.events} == {True, False},
            10,
            what="images of both sizes",
        )


def test_an_image_that_is_too_large_is_dropped(video: Video) -> None:
    large = make_video("mjpeg", (1280, 720), seconds=1).packets[0].data

    def stream(camera: FakeCamera, video: Video) -> Iterator[bytes]:
        for piece in stream_live(camera, video):
            yield piece
            yield build_part(large)

    camera = Camera(video, stream)
    with (
        open_camera(camera.answer) as camera.fake,
        watch(build_url(camera.fake), warnings=1, max_bytes=len(large) - 1) as watched,
    ):
        watched.wait_for_frames(4)
        assert watched.context.counters.dropped["too_large"] >= 2
        assert all(len(event.data) < len(large) for event in watched.events)


def test_a_camera_sends_the_client_to_another_one(video: Video) -> None:
    """The other server doesn't get the password."""
    other = Camera(video, live)
    with open_camera(other.answer) as other.fake:
        address = f"{other.fake.url}/other"
        camera = Camera(video, lambda _, __: respond(302, b"", Location=address))
        with open_camera(camera.answer) as camera.fake, watch(build_url(camera.fake)) as watched:
            wait_until(lambda: other.fake is not None and other.fake.asked, 10, what="a request of the other server")
            assert not [asked for asked in other.fake.asked if "authorization" in asked.headers]
            camera.stream = live
            watched.wait_for_frames()


def test_a_stranger_has_the_address(video: Video, tmp_path: Path) -> None:
    """A server whose certificate isn't trusted is asked for nothing, until it is trusted."""
    certificate = make_certificate(tmp_path / "server")
    (tmp_path / "credentials").mkdir()
    camera = Camera(video, live)
    with (
        open_camera(camera.answer, context=build_server_context(certificate)) as camera.fake,
        watch(build_url(camera.fake), credentials=tmp_path / "credentials", warnings=1) as watched,
    ):
        watched.wait_for_state("waiting", "certificate")
        assert camera.fake.asked == []
        (tmp_path / "credentials" / "ca.crt").write_bytes(certificate[0].read_bytes())
        watched.wait_for_frames()


def build_url(camera: FakeCamera) -> str:
    return f"{camera.url.replace('://', f'://{LOGIN}@')}/video.mjpg"
