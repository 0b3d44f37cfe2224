"""Videos that tests serve as cameras do: encoded once in a process, with each frame's number drawn into its picture.

The number is drawn as black and white blocks across the top, so that it survives compression and scaling: `read_number`
finds it in a JPEG image. The servers of these videos send frame `n` of a video of `N` frames whenever the number of
frames since 1970 is `n` modulo `N`. So a frame's number is also its own time, see `Video.shown_at_s`.
"""

import functools
import io
import itertools
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BITS = 12
"""Bits of a frame's number; four more blocks are a check sum."""
BLOCKS = BITS + 4
_BLACK, _WHITE = 24, 232


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded frame.

    Attributes:
        data: Its bytes: an access unit with start codes (Annex B of H.264 and H.265), or a JPEG image.
        key: Whether it can be decoded without other frames; parameter sets are in front of each such frame.
    """

    data: bytes
    key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video that can be repeated: its first frame is a key frame.

    Attributes:
        codec: `h264`, `hevc` or `mjpeg`.
        width: Width in pixels.
        height: Height in pixels.
        rate: Frames per second.
        packets: Its frames.
    """

    codec: str
    width: int
    height: int
    rate: int
    packets: tuple[Packet, ...]

    def shown_at_s(self, number: int, seen_s: float) -> float:
        """The last time before `seen_s` at which a server sent frame `number`, Unix seconds.

        Args:
            number: Number of a frame, as `read_number` finds it.
            seen_s: Unix time at which the frame was seen, less than the video's length after it was sent.
        """
        counted = int(seen_s * self.rate)
        return (counted - (counted - number) % len(self.packets)) / self.rate

    def next_key(self, number: int) -> int:
        """The first key frame at or after frame `number`, which may be greater than the video is long."""
        return next(at for at in itertools.count(number) if self.packets[at % len(self.packets)].key)

    def write(self, path: Path, *, repeats: int = 1, first_s: int = 0, interval: int = 1) -> Path:
        """Write it as a file, whose format is that of the suffix: .mp4, .mkv, .flv, .ts, .mjpeg, .h264.

        Args:
            path: Path of the file.
            repeats: How often the frames are repeated.
            first_s: Time of the first frame in the stream, seconds.
            interval: Time from one frame to the next, in frames of the video's rate.
        """
        import av

        with av.open(str(path), "w") as container:
            # Parameters (the size, the extra data) come from a parsed stream, not from an encoder.
            source = av.open(io.BytesIO(b"".join(packet.data for packet in self.packets)), format=self.codec)
            stream = container.add_stream_from_template(source.streams.video[0])
            base = Fraction(1, self.rate)
            for index in range(len(self.packets) * repeats):
                encoded = self.packets[index % len(self.packets)]
                packet = av.Packet(encoded.data)
                packet.stream = stream
                packet.time_base = base
                packet.pts = packet.dts = first_s * self.rate + index * interval
                packet.duration = 1
                packet.is_keyframe = encoded.key
                container.mux(packet)
            source.close()
        return path


@functools.cache
def make_video(
    codec: str = "h264",
    size: tuple[int, int] = (320, 180),
    *,
    rate: int = 10,
    seconds: int = 4,
    key_every: int = 10,
    preset: str = "ultrafast",
) -> Video:
    """Encode a video; the test is skipped where PyAV isn't installed. The same arguments encode once in a process.

    Args:
        codec: `h264`, `hevc` or `mjpeg`.
        size: Width and height in pixels, even numbers.
        rate: Frames per second.
        seconds: Length.
        key_every: Frames from one key frame to the next; `rate * seconds` must be a multiple of it.
        preset: Effort of the encoder; the streams of cameras are like those of `veryfast`, with CABAC.
    """
    av = need_av()
    width, height = size
    count = rate * seconds
    if count > 1 << BITS:
        raise ValueError(f"a video has at most {1 << BITS} frames (got {count})")
    encoder = _open_encoder(av, codec, size, rate=rate, key_every=key_every, preset=preset)
    packets = []
    background = _draw_background(width, height)
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(_draw(background, number, width, height), format="yuv420p")
        frame.pts = number
        packets += encoder.encode(_as_full_range(frame) if codec == "mjpeg" else frame)
    packets += encoder.encode(None)
    encoded = tuple(Packet(data=bytes(packet), key=bool(packet.is_keyframe)) for packet in packets)
    return Video(codec=codec, width=width, height=height, rate=rate, packets=encoded)


def read_number(jpeg: bytes) -> int:
    """The number that is drawn into a frame.

    Raises:
        ValueError: When the picture isn't a whole frame of these videos.
    """
    image = Image.open(io.BytesIO(jpeg)).convert("L")
    block = image.width / BLOCKS
    bits = 0
    for index in range(BLOCKS):
        middle = (int((index + 0.5) * block), int(block / 2))
        level = image.getpixel(middle)
        assert isinstance(level, int | float)
        bits = bits << 1 | (level > (_BLACK + _WHITE) / 2)
    number, check = bits >> 4, bits & 15
    if check != _check_sum(number):
        raise ValueError(f"the picture has no frame number (blocks {bits:016b})")
    return number


def wait_for_frame(video: Video, number: int) -> float:
    """Wait until it is time to send a frame; return that time, Unix seconds. `number` counts from 1970."""
    due = number / video.rate
    time.sleep(max(0.0, due - time.time()))
    return due


def need_av() -> Any:
    """PyAV; the test is skipped where it isn't installed."""
    return pytest.importorskip("av", reason="PyAV is not installed (python -m pip install av)")


def _open_encoder(av: Any, codec: str, size: tuple[int, int], *, rate: int, key_every: int, preset: str) -> Any:
    encoder = av.codec.CodecContext.create({"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}[codec], "w")
    encoder.width, encoder.height = size
    encoder.time_base, encoder.framerate = Fraction(1, rate), Fraction(rate)
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder.thread_count = 1
    encoder.gop_size = key_every
    encoder.max_b_frames = 0
    keys = f"keyint={key_every}:min-keyint={key_every}:scenecut=0:repeat-headers=1"
    own = f"{keys}:log-level=none:bframes=0:pools=1:frame-threads=1:rc-lookahead=0"
    encoder.options = {
        "h264": {"preset": preset, "tune": "zerolatency", "x264-params": keys},
        "hevc": {"preset": preset, "x265-params": own},
        "mjpeg": {"qmin": "4", "qmax": "4", "huffman": "default"},  # RTP needs the standard tables: RFC 2435, 3.1
    }[codec]
    return encoder


def _check_sum(number: int) -> int:
    return (number ^ number >> 4 ^ number >> 8 ^ 0b1010) & 15


def _draw_background(width: int, height: int) -> np.ndarray:
    """A still picture with the detail of a yard or a hall: (height, width) uint8, grey."""
    rough = np.random.default_rng(22).integers(60, 200, (height // 12 + 1, width // 12 + 1), dtype=np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))


def _draw(background: np.ndarray, number: int, width: int, height: int) -> np.ndarray:
    """Frame `number`: (3 * height / 2, width) uint8, planar YUV 4:2:0."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = background
    left = number * width // 40 % (width - width // 8)
    planes[height // 2 : height // 2 + height // 8, left : left + width // 8] = 220
    edges = [round(index * width / BLOCKS) for index in range(BLOCKS + 1)]
    bits = number << 4 | _check_sum(number)
    for index in range(BLOCKS):
        bit = bits >> (BLOCKS - 1 - index) & 1
        planes[: width // BLOCKS, edges[index] : edges[index + 1]] = _WHITE if bit else _BLACK
    return planes


def _as_full_range(frame: Any) -> Any:
    return frame.reformat(format="yuvj420p")
