"""Augmentation as data: fixed variants of an image, the same on every machine and in every run.

Variant 0 is the image itself. Every other one is mirrored or not, cropped a little and made brighter or darker by
numbers that only the seed, the image's digest and the variant's number decide, so what a network makes of a variant
can be cached. It works on the recipe's tensor: what is served is never augmented.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from eaves.images.pixels import Pixels

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedView:
    """How one variant sees one image.

    Attributes:
        flip: Mirrored, left to right.
        box: What of it is kept, (left, top, right, bottom), shares of its sides.
        brightness: Factor on the pixels.
    """

    flip: bool
    box: tuple[float, float, float, float]
    brightness: float


IDENTITY = AugmentedView(flip=False, box=(0.0, 0.0, 1.0, 1.0), brightness=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What the variants of an image may be.

    Attributes:
        variants: How many there are, the image itself included; training everything (`full`) sees a new one in every
            second epoch when this is above 1.
        crop: Largest share of each side that is cut away.
        brightness: Largest change of brightness, a share of it.
        mirror: Whether the odd ones are mirrored, left to right.
        seed: Another seed, other variants.
        version: Of this meaning of these fields.
    """

    variants: int
    crop: float = 0.25
    brightness: float = 0.2
    mirror: bool = True
    seed: int = 0
    version: int = VERSION

    def view(self, digest: str, variant: int) -> AugmentedView:
        """How a variant sees an image; the odd ones are mirrored, unless none is.

        Args:
            digest: sha256 of the image's bytes, hex.
            variant: Its number, from 0.
        """
        if variant == 0:
            return IDENTITY
        number = hashlib.sha256(f"{self.seed}:{digest}:{variant}".encode()).digest()
        side, left, top, light = (int.from_bytes(number[start : start + 8], "big") / 2**64 for start in (0, 8, 16, 24))
        size = 1 - self.crop * side
        left, top = left * (1 - size), top * (1 - size)
        return AugmentedView(
            flip=self.mirror and variant % 2 == 1,
            box=(left, top, min(1.0, left + size), min(1.0, top + size)),
            brightness=1 + self.brightness * (2 * light - 1),
        )

    def variant_in_epoch(self, digest: str, epoch: int) -> int:
        """The variant of an image that an epoch of training everything sees.

        In each epoch half of the images are themselves, and the others a variant that no epoch before has seen. With
        variants alone a small network did not learn photos of one part under a fixed camera within its epochs.

        Args:
            digest: sha256 of the image's bytes, hex.
            epoch: Its number, from 0.
        """
        number = epoch + int(digest, 16) % 2
        return 1 + number // 2 if number % 2 and self.variants > 1 else 0

    def apply(self, pixels: Pixels, digest: str, variant: int) -> Pixels:
        """One variant of one image.

        Args:
            pixels: (H, W, 3) uint8, RGB: the recipe's tensor.
            digest: sha256 of the image's bytes, hex.
            variant: Its number, from 0.

        Returns:
            variant: As `pixels`.
        """
        view = self.view(digest, variant)
        if view == IDENTITY:
            return pixels
        height, width = pixels.shape[:2]
        left, top, right, bottom = view.box
        box = (left * width, top * height, right * width, bottom * height)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
        if view.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image.point(lambda value: value * view.brightness), dtype=np.uint8)

    def key(self, variant: int) -> str:
        """What a cache of this variant depends on: nothing but its number for the image itself."""
        return "" if variant == 0 else f"{variant}:{self.digest()}"

    def digest(self) -> str:
        """sha256 of what decides a view (how many there are doesn't), hex."""
        decides = {name: value for name, value in self.to_dict().items() if name != "variants"}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; `Augmentation(**values)` reads it."""
        return asdict(self)
