"""Photos of a machined ring in a fixture under a fixed camera: good ones, and ones with a thin scratch.

All photos are nearly the same picture, and a scratch is a thousandth of it: the usual set of a factory, whose photos
used to be taken for copies of each other.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]
SIZE = (320, 240)
"""Width and height of a photo in pixels."""


def write_fixture(root: Path, *, good: int, scratch: int = 0, missing: int = 0, seed: int = 0) -> Path:
    """Write photos as JPEGs, in a folder per class.

    Args:
        root: The folder to write into.
        good: Number of photos of a good ring.
        scratch: Number of photos of a scratched ring.
        missing: Number of photos of the fixture without a ring.
        seed: Another seed, other photos.

    Returns:
        root: The given folder.
    """
    for number, (name, count) in enumerate((("good", good), ("scratch", scratch), ("missing", missing))):
        for shot in range(count):
            (root / name).mkdir(parents=True, exist_ok=True)
            pixels = draw_shot(np.random.default_rng([seed, number, shot]), name)
            Image.fromarray(pixels).save(root / name / f"{shot:04d}.jpg", quality=92)
    return root


def draw_shot(chance: np.random.Generator, kind: str = "good") -> Pixels:
    """Draw the ring, shifted by about 2 pixels and turned by up to 3 degrees, with other light and noise each time.

    Args:
        chance: Decides where the ring lies, the light and the noise.
        kind: `good`, `scratch` or `missing`.
    """
    width, height = SIZE
    image = Image.new("RGB", (4 * width, 4 * height), (88, 92, 96))
    pen = ImageDraw.Draw(image)
    for stripe in range(0, 4 * width, 160):
        pen.rectangle((stripe, 0, stripe + 60, 4 * height), fill=(80, 84, 88))
    x, y = (2 * edge + chance.normal(0, 8) for edge in SIZE)
    if kind != "missing":
        _draw_ring(pen, x, y, chance.uniform(-3, 3))
    if kind == "scratch":
        angle, out, turn = chance.uniform(0, 2 * np.pi), chance.uniform(140, 290), chance.uniform(0, np.pi)
        along = chance.uniform(30, 65) * np.array([np.cos(turn), np.sin(turn)])
        middle = np.array([x + out * np.cos(angle), y + out * np.sin(angle)])
        pen.line([*(middle - along), *(middle + along)], fill=(110, 108, 106), width=3)
    pixels = np.asarray(image.resize(SIZE, Image.Resampling.BOX), dtype=float)
    pixels = pixels * chance.uniform(0.93, 1.07) + chance.normal(0, 4, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _draw_ring(pen: ImageDraw.ImageDraw, x: float, y: float, turn: float) -> None:
    for radius, grey in ((330, 152), (318, 188), (120, 152), (112, 70)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(grey, grey, grey))
    for bolt in range(6):
        angle = np.radians(60 * bolt + turn)
        left, top = x + 220 * np.cos(angle) - 26, y + 220 * np.sin(angle) - 26
        pen.ellipse((left, top, left + 52, top + 52), fill=(80, 80, 84), outline=(140, 140, 140), width=3)
