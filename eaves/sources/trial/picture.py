"""Brightness and contrast of an image, in numbers and in words, so that a black or grey picture is recognised."""

from __future__ import annotations

from PIL import Image

from eaves.images.decoder import load
from eaves.sources.trial.findings import PictureFigures

SIDE = 160
"""Minimum length of a side to which a JPEG may be reduced while it is decoded, pixels."""
DARK, BRIGHT = 24.0, 235.0
"""Mean grey levels below and above which an image is called dark or overexposed."""
FLAT = 4.0
"""Standard deviation of the grey levels below which an image counts as one colour. The noise of a camera behind a lens
cap has 1 to 3; a street at night has more than 10."""


def read_picture(data: bytes) -> tuple[PictureFigures, Image.Image]:
    """Return the figures of an encoded image, and the image at a reduced size.

    Raises:
        ImageError: When the function couldn't decode the image either.
    """
    image = load(data, at_least=(SIDE, SIDE))
    width, height = _read_size(data, image)
    image.thumbnail((4 * SIDE, 4 * SIDE))
    counts = image.convert("L").histogram()
    total = sum(counts)
    mean = sum(level * count for level, count in enumerate(counts)) / total
    variance = sum((level - mean) ** 2 * count for level, count in enumerate(counts)) / total
    figures = PictureFigures(
        width=width, height=height, brightness=mean, contrast=variance**0.5, remark=describe_light(mean, variance**0.5)
    )
    return figures, image


def describe_light(brightness: float, contrast: float) -> str:
    """Return what an image's figures may mean; empty for a usual image.

    Args:
        brightness: Mean of the grey levels, 0 to 255.
        contrast: Standard deviation of the grey levels.
    """
    if contrast < FLAT:
        if brightness < DARK:
            return "the image is black: check the light, the lens cap, and the privacy mode of the camera"
        if brightness > BRIGHT:
            return "the image is white: check the exposure of the camera"
        return "the image is of one colour: check the lens and the cable, or take a second image"
    if brightness < DARK:
        return "the image is very dark"
    return "the image is very bright" if brightness > BRIGHT else ""


def _read_size(data: bytes, image: Image.Image) -> tuple[int, int]:
    """Return width and height of the upright image, pixels; `image` may have been decoded at a fraction of its size."""
    from eaves.images.envelope import open_envelope

    envelope = open_envelope(data)
    width, height = envelope.size or image.size
    return (height, width) if envelope.orientation >= 5 else (width, height)
