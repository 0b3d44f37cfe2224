"""Photos of a fixed camera: one background, a little noise and light, and a small part that decides the class.

Written after the sets on which every training used to end, as all the pictures look alike.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]
COLOURS = ((30, 160, 30), (200, 30, 30), (30, 60, 200))
"""Colours of the parts of each class, if colour decides."""
PART = (140, 90, 60)
"""Colour of every part where texture decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCamera:
    """A set of photos.

    Attributes:
        part: Diameter of the part, of 640 pixels of width.
        width: Width of the photos in pixels; the height is three quarters of it.
        classes: Number of classes, at most 3.
        texture: Whether the part's texture decides (plain, stripes, dots) instead of its colour.
        cameras: Number of backgrounds.
        seed: Another seed, another set.
    """

    part: int
    width: int = 640
    classes: int = 2
    texture: bool = False
    cameras: int = 1
    seed: int = 0

    def photos(self, count: int, *, separate: bool = False) -> list[tuple[int, Pixels]]:
        """Class and pixels of `count` photos of each class; with `separate`, others of the same set."""
        chance = np.random.default_rng([self.seed, self.part])
        size = (self.width, self.width * 3 // 4)
        backgrounds = [
            Image.fromarray(chance.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
            for _ in range(self.cameras)
        ]
        chance = np.random.default_rng([self.seed, self.part, 1 + separate])
        return [
            (label, self._photo(backgrounds[number % self.cameras], label, chance))
            for label in range(self.classes)
            for number in range(count)
        ]

    def write(self, root: Path, count: int) -> Path:
        """`count` photos of each class as JPEGs, in a folder per class."""
        for number, (label, pixels) in enumerate(self.photos(count)):
            folder = root / "abc"[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:04d}.jpg").write_bytes(encode(pixels))
        return root

    def _photo(self, background: Image.Image, label: int, chance: np.random.Generator) -> Pixels:
        image, scale = background.copy(), self.width / 640
        x, y = (int(chance.integers(50, most) * scale) for most in (550, 400))
        side = max(3, round(self.part * scale))
        image.paste(self._part(label, side), (x, y), _disc(side))
        shape = (*image.size[::-1], 3)
        pixels = np.asarray(image) + 6 * chance.standard_normal(shape, dtype=np.float32)
        return np.asarray(np.clip(pixels * (1 + chance.uniform(-0.1, 0.1)), 0, 255), dtype=np.uint8)

    def _part(self, label: int, side: int) -> Image.Image:
        if not self.texture:
            return Image.new("RGB", (side, side), COLOURS[label])
        rows, columns = np.indices((side, side)) // max(1, side // 6) % 2
        pattern = (np.zeros((side, side)), rows * 2 - 1, (rows ^ columns) * 2 - 1)[label]
        return Image.fromarray(np.clip(np.array(PART) + 60 * pattern[..., None], 0, 255).astype(np.uint8))


def encode(pixels: Pixels) -> bytes:
    """A JPEG as cameras make them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _disc(side: int) -> Image.Image:
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse([0, 0, side - 1, side - 1], fill=255)
    return mask
