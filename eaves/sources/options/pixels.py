"""Options that look at pixels: crop, unchanged, longest side, encoding. Imported only when one of them is set."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

from PIL import Image

from eaves.images.decoder import load
from eaves.sources.frame import Frame
from eaves.sources.options.difference import DECODED_SIDE, difference, shrink
from eaves.sources.options.lru_cache import RecentValues
from eaves.sources.options.rate import MAX_CAMERAS
from eaves.sources.options.region import Box, Region

MAX_PIXELS = 24_000_000
"""Larger images are dropped: an agent that decodes and crops this one takes up to 250 MB (measured), of the 512Mi that
its pod may use."""
QUALITY = 90
"""Of JPEG, for images that were changed when no quality is set: a second encoding that no model notices."""

_one_at_a_time = threading.Lock()
"""Held while a frame is in memory as pixels, so that memory doesn't grow with the number of sources."""


class PixelEditor:
    """Crops, compares, shrinks and encodes frames; safe to use from many threads.

    Args:
        region: The part that is kept; None: all.
        unchanged: Frames that differ less from the last kept one of their camera, in grey levels, are dropped; 0: none.
        max_side: Longest side, pixels; 0: any.
        quality: Of JPEG; 0: only changed images are encoded, with `QUALITY`.
    """

    def __init__(self, *, region: Region | None, unchanged: float, max_side: int, quality: int) -> None:
        self._region = region
        self._unchanged = unchanged
        self._max_side = max_side
        self._quality = quality
        self._kept: RecentValues[Image.Image] = RecentValues(MAX_CAMERAS)

    def edit(self, frame: Frame, *, compare: bool) -> Frame | None:
        """Return the frame as it is sent; None when it hardly differs from the last one.

        Args:
            frame: The frame.
            compare: Whether it may be dropped.

        Raises:
            ImageError: When the image can't be decoded, is too large, or its region reaches beyond it.
        """
        with _one_at_a_time:
            image = load(frame.data, at_least=self._at_least(), max_pixels=MAX_PIXELS)
            done: dict[str, str] = {}
            if self._region is not None:
                image = _crop(image, self._region.box(image.size), done)
            if self._unchanged and not self._differs(frame.camera, image) and compare:
                return None
            if self._max_side and max(image.size) > self._max_side:
                image = _scale(image, self._max_side, done)
            if not done and not self._quality:
                return frame
            quality = self._quality or QUALITY
            done["reencoded"] = f"image/jpeg;quality={quality}"
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality)
        extensions = {**frame.extensions, **done}
        return replace(frame, data=stream.getvalue(), content_type="image/jpeg", extensions=extensions)

    def _differs(self, camera: str, image: Image.Image) -> bool:
        """Return whether an image differs from the last that was kept; when it does, it is the last one kept."""
        small, last = shrink(image), self._kept.get(camera)
        differs = last is None or difference(small, last) >= self._unchanged
        if differs:
            self._kept.put(camera, small)
        return differs

    def _at_least(self) -> tuple[int, int] | None:
        """Height and width that are needed of a JPEG; None: all of it, as its region or its pixels are.

        One more than `max_side`: a larger image is then still larger when it is decoded at a fraction of its size.
        """
        if self._region is not None or (self._quality and not self._max_side):
            return None
        side = max(self._max_side + 1, DECODED_SIDE)
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
