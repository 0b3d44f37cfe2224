"""The options that need an image's pixels: crop, unchanged, longest side, encoding.

The module is only imported when one of these options is set. The measure of how much two pictures differ is the mean
difference over the whole picture, so that meaningless changes count little: a sensor's noise, or a clock that the
camera writes into the picture. Measured with JPEG pictures of 1280x720, in grey levels: noise of a standard deviation
of 5 to 20 makes 0.1 to 0.4, a clock in a corner 0.05, an object of 2 % of the picture that differs from it by 60 levels
0.9, light that changes by 1 % 1.2, a camera that shakes by 2 pixels 1.0.
"""

from __future__ import annotations

import io
import threading
from dataclasses import replace

from PIL import Image, ImageChops

from eaves.images.decoder import load
from eaves.sources.context import Frame
from eaves.sources.options import MAX_CAMERAS, Box, FrameOptions, RecentValues, find_box

SIDE = 32
"""Width and height to which pictures are reduced for a comparison, pixels. Each pixel is then the mean of about 900
pixels of a 1280x720 picture."""
DECODED_SIDE = 4 * SIDE
"""Minimum length of a side to which a JPEG may be reduced while it is decoded for a comparison, pixels."""


def shrink(image: Image.Image) -> Image.Image:
    """Return an image in grey with `SIDE` x `SIDE` pixels, each the mean of its area, for use by `difference`."""
    return image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference of two pictures that `shrink` returned, in grey levels of 0 to 255."""
    counts = ImageChops.difference(one, other).histogram()
    return sum(level * count for level, count in enumerate(counts)) / SIDE**2


MAX_PIXELS = 24_000_000
"""Maximum number of pixels of an image; larger images are dropped. To decode and crop an image of this size takes an
agent up to 250 MB (measured), of the 512Mi that its pod may use."""
QUALITY = 90
"""JPEG quality of images that an option has changed, when none is set. It is so high that the second encoding doesn't
change predictions."""

_one_at_a_time = threading.Lock()
"""Lock that a thread holds while it decodes a frame, so that memory doesn't grow with the number of sources."""


class PixelEditor:
    """Crops, compares, shrinks and encodes frames. Safe to use from many threads.

    Args:
        options: Options of the source.
    """

    def __init__(self, options: FrameOptions) -> None:
        self._options = options
        self._kept: RecentValues[Image.Image] = RecentValues(MAX_CAMERAS)

    def edit(self, frame: Frame, *, compare: bool) -> Frame | None:
        """Return the edited frame; None when it hardly differs from the last kept frame of its camera.

        Args:
            frame: Frame to edit.
            compare: Whether the option `unchanged` may drop the frame.

        Raises:
            ImageError: When the image can't be decoded, is too large, or doesn't contain its region.
        """
        with _one_at_a_time:
            image = load(frame.data, at_least=self._at_least(), max_pixels=MAX_PIXELS)
            done: dict[str, str] = {}
            if self._options.crop:
                image = _crop(image, find_box(self._options.crop, image.size), done)
            if self._options.unchanged and not self._differs(frame.camera, image) and compare:
                return None
            if self._options.max_side and max(image.size) > self._options.max_side:
                image = _scale(image, self._options.max_side, done)
            if not done and not self._options.jpeg_quality:
                return frame
            quality = self._options.jpeg_quality or QUALITY
            done["reencoded"] = f"image/jpeg;quality={quality}"
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality)
        extensions = {**frame.extensions, **done}
        return replace(frame, data=stream.getvalue(), content_type="image/jpeg", extensions=extensions)

    def _differs(self, camera: str, image: Image.Image) -> bool:
        """Return whether an image differs enough from the last kept one of its camera, which it then replaces."""
        small, last = shrink(image), self._kept.get(camera)
        differs = last is None or difference(small, last) >= self._options.unchanged
        if differs:
            self._kept.put(camera, small)
        return differs

    def _at_least(self) -> tuple[int, int] | None:
        """Return the minimum height and width to which a JPEG may be reduced while it is decoded.

        None when the full size is needed. The side is one more than `max_side`, so that an image that must be shrunk is
        still recognised as too large after it was decoded at a reduced size.
        """
        if self._options.crop or (self._options.jpeg_quality and not self._options.max_side):
            return None
        side = max(self._options.max_side + 1, DECODED_SIDE)
        return side, side


def _crop(image: Image.Image, box: Box, done: dict[str, str]) -> Image.Image:
    left, top, right, bottom = box
    if box == (0, 0, *image.size):
        return image
    done["crop"] = f"{left},{top},{right - left},{bottom - top}"
    return image.crop(box)


def _scale(image: Image.Image, max_side: int, done: dict[str, str]) -> Image.Image:
    share = max_side / max(image.size)
    width, height = (max(1, round(side * share)) for side in image.size)
    done["scaledto"] = f"{width}x{height}"
    return image.resize((width, height), Image.Resampling.LANCZOS)
