"""The option `crop`: the rectangle of an image that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eaves.errors import ImageError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a rectangle in pixels; right and bottom are just outside the rectangle."""


class OutsideImageError(ImageError):
    """Error of an image that is too small to contain its region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle of an upright image, with the origin at its top left.

    Source: IIIF Image API 3.0, section 4.1, which gives regions as left, top, width, height as well.

    Attributes:
        left: Left edge, in pixels or as a share of the image's width.
        top: Top edge, in pixels or as a share of the image's height.
        width: Width, in pixels or as a share of the image's width.
        height: Height, in pixels or as a share of the image's height.
        shares: Whether all four numbers are shares of 0 to 1 and not pixels.
    """

    left: float
    top: float
    width: float
    height: float
    shares: bool

    def box(self, size: tuple[int, int]) -> Box:
        """Return the rectangle in pixels.

        Args:
            size: Width and height of the upright image, pixels.

        Raises:
            OutsideImageError: When the rectangle reaches beyond the image. It was measured in larger images then, and
                would show another part of the scene in this one.
        """
        across, down = size if self.shares else (1, 1)
        left, top = round(self.left * across), round(self.top * down)
        right, bottom = round((self.left + self.width) * across), round((self.top + self.height) * down)
        if self.shares:
            left, top = min(left, across - 1), min(top, down - 1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        if right > size[0] or bottom > size[1]:
            raise OutsideImageError(
                f"crop extends to {right},{bottom}, beyond the image of {size[0]}x{size[1]} pixels",
                hint="give crop as shares of the image, or correct the pixels",
            )
        return left, top, right, bottom


def parse_region(numbers: Sequence[float]) -> Region | None:
    """Parse a region from four numbers, which are shares when none is above 1; None for no numbers.

    Raises:
        ValueError: When the numbers are not a valid rectangle.
    """
    if not numbers:
        return None
    given = ",".join(f"{number:g}" for number in numbers)
    if len(numbers) != 4:
        raise ValueError(f"must be left, top, width, height (got {given})")
    left, top, width, height = numbers
    if min(left, top) < 0 or min(width, height) <= 0:
        raise ValueError(f"must lie within the image, with a width and a height above 0 (got {given})")
    shares = max(numbers) <= 1
    if shares and max(left + width, top + height) > 1 + 1e-9:
        raise ValueError(f"must lie within the image: left + width and top + height must be <= 1 (got {given})")
    if not shares and any(number != int(number) for number in numbers):
        raise ValueError(f"must be whole pixels, or shares of at most 1 (got {given})")
    return Region(left=left, top=top, width=width, height=height, shares=shares)
