"""Makes a 1080p H.264 stream with a key frame a second, whose frames carry their number as black and white blocks."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.material import FOLDER
from bench.report.section import UnavailableError

RATE = 25
"""Frames per second; every 25th frame is a key frame."""
SECONDS = 8
BLOCK, BITS = 32, 10
"""Side of one block, pixels, and number of blocks: the bits of the frame's number, the highest first, then their
inverse, so that a damaged number is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """An encoded stream on disk.

    Attributes:
        path: Annex B byte stream; beside it, with the suffix `.json`, is the list of its access units.
        size_bytes: Size of the stream, bytes.
    """

    path: Path
    size_bytes: int


def prepare_video(width: int = 1920, height: int = 1080, bit_rate: int = 4_000_000, codec: str = "libx264") -> Video:
    """Encode the stream, unless an earlier run has encoded it.

    Raises:
        UnavailableError: When PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UnavailableError("PyAV is not installed") from error

    path = FOLDER / f"camera/{codec}-{height}p-{bit_rate // 1000}k.h264"
    index = path.with_suffix(".json")
    if not index.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = f"vbv-maxrate={bit_rate // 1000}:vbv-bufsize={bit_rate // 2000}"  # cameras limit a key frame's size, too
        parameters = f"keyint={RATE}:min-keyint={RATE}:scenecut=0:{rate}"
        options = {"preset": "veryfast", "bf": "0", "x264-params": parameters}
        encoder = av.CodecContext.create(codec, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.bit_rate, encoder.framerate, encoder.options = bit_rate, RATE, options  # type: ignore[assignment]
        units, stream = [], bytearray()
        for picture in [*(draw(number, width, height) for number in range(RATE * SECONDS)), None]:
            frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            for packet in encoder.encode(frame):
                units.append((packet.size, packet.is_keyframe))
                stream += bytes(packet)
        path.write_bytes(stream)
        index.write_text(json.dumps({"rate": RATE, "units": units}))
    return Video(path=path, size_bytes=path.stat().st_size)


def draw(number: int, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw a frame: (H, W, 3) uint8, RGB; a textured background with a camera's noise, a moving square, the number."""
    random = np.random.default_rng(7)
    coarse = Image.fromarray(random.integers(40, 200, (height // 24, width // 24, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    picture += np.random.default_rng(number).integers(-3, 4, (height, width, 1), dtype=np.int16)
    left = number * 8 % (width - 200)
    picture[height // 2 : height // 2 + 160, left : left + 160] = (210, 60, 40)
    for place, bit in enumerate(_bits(number)):
        picture[:BLOCK, place * BLOCK : (place + 1) * BLOCK] = 235 if bit else 16
    return picture.clip(0, 255).astype(np.uint8)


def read_number(jpeg: bytes) -> int | None:
    """Return the number of a frame of the stream; None when it can't be read."""
    picture = Image.open(io.BytesIO(jpeg))
    row = picture.convert("L").crop((0, 0, BLOCK * BITS * 2, BLOCK))
    shades = np.asarray(row.resize((BITS * 2, 1), Image.Resampling.BOX))[0]
    bits = [int(shade > 128) for shade in shades]
    number = int("".join(map(str, bits[:BITS])), 2)
    return number if bits == _bits(number) else None


def _bits(number: int) -> list[int]:
    bits = [number >> place & 1 for place in reversed(range(BITS))]
    return bits + [1 - bit for bit in bits]
