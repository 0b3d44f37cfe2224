"""Cameras that do wrong over HTTP, with MJPEG: whole images only, bounded memory, a short log, and frames come back."""

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.http.camera import Asked, FakeCamera, open_camera
from tests.fakes.sources.camera.mjpeg import (
    stream_cut,
    stream_endless_image,
    stream_half,
    stream_live,
    stream_lying_lengths,
)
from tests.inputs.videos import Video, make_video
from tests.integration.plugins.camera.watched_source import LOGIN, MAX_BYTES, watch

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
    "an image without end": stream_endless_image,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_camera_does_wrong_and_then_right(video: Video, fault: str):
    camera = Camera(video, FAULTS[fault])
    peak_bytes = MAX_BYTES + 50_000_000 if "without end" in fault else 150_000_000
    with (
        open_camera(camera.answer) as camera.fake,
        watch(build_url(camera.fake), peak_bytes=peak_bytes, warnings=4, repeats=3) as watched,
    ):
        watched.wait_for_warning("is waiting")
        numbers = watched.numbers  # each picture is whole
        camera.stream = live
        watched.wait_for_frames(3)
        assert watched.numbers[: len(numbers)] == numbers


def build_url(camera: FakeCamera) -> str:
    return f"{camera.url.replace('://', f'://{LOGIN}@')}/video.mjpg"
