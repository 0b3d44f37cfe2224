"""Makes a 1080p H.264 stream with 25 frames and one key frame a second, as a camera sends it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from bench.material import FOLDER
from bench.report import UnavailableError

RATE, SECONDS = 25, 8
WIDTH, HEIGHT, BIT_RATE = 1920, 1080, 4_000_000


def prepare_video() -> Path:
    """Return an Annex B byte stream, encoded unless an earlier run has; beside it, `.json` lists its access units.

    Raises:
        UnavailableError: When PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UnavailableError("PyAV is not installed") from error

    path = FOLDER / "camera/stream.h264"
    index = path.with_suffix(".json")
    if not index.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = f"vbv-maxrate={BIT_RATE // 1000}:vbv-bufsize={BIT_RATE // 2000}"  # cameras limit a key frame's size, too
        parameters = f"keyint={RATE}:min-keyint={RATE}:scenecut=0:{rate}"
        options = {"preset": "veryfast", "bf": "0", "x264-params": parameters}
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        encoder.bit_rate, encoder.framerate, encoder.options = BIT_RATE, RATE, options  # type: ignore[assignment]
        units, stream = [], bytearray()
        for picture in [*(draw(number) for number in range(RATE * SECONDS)), None]:
            frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            for packet in encoder.encode(frame):
                units.append(packet.size)
                stream += bytes(packet)
        path.write_bytes(stream)
        index.write_text(json.dumps({"rate": RATE, "units": units}))
    return path


def draw(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw a frame: (H, W, 3) uint8, RGB; a textured background with a camera's noise, and a moving square."""
    random = np.random.default_rng(7)
    coarse = Image.fromarray(random.integers(40, 200, (HEIGHT // 24, WIDTH // 24, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
    picture += np.random.default_rng(number).integers(-3, 4, (HEIGHT, WIDTH, 1), dtype=np.int16)
    left = number * 8 % (WIDTH - 200)
    picture[HEIGHT // 2 : HEIGHT // 2 + 160, left : left + 160] = (210, 60, 40)
    return picture.clip(0, 255).astype(np.uint8)
