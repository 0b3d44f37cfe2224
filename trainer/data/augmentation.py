"""Makes fixed variants of an image (augmentation), which are the same on every machine and in every training.

Variant 0 is the image itself. Every other variant may be mirrored, is cropped a little and is made brighter or darker.
Only the seed, the image's digest and the variant's number decide how, so the features of a variant can be cached.
Augmentation is applied to the recipe's tensor, and never in serving.
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
    """Changes that one variant makes to one image.

    Attributes:
        flip: Whether the image is mirrored, left to right.
        box: Part of the image that is kept, (left, top, right, bottom), as shares of its sides.
        brightness: Factor that the pixel values are multiplied by.
    """

    flip: bool
    box: tuple[float, float, float, float]
    brightness: float


IDENTITY = AugmentedView(flip=False, box=(0.0, 0.0, 1.0, 1.0), brightness=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Limits of the variants of an image.

    Attributes:
        variants: Number of variants, the image itself included; when it is above 1, training of the whole network
            (`full`) uses a new variant in every second epoch.
        crop: Largest share of each side that is cut away.
        brightness: Largest change of brightness, as a share of the image's brightness.
        mirror: Whether variants with odd numbers are mirrored, left to right.
        seed: Seed of the variants; another seed gives other variants.
        version: Version of the algorithm that makes variants from these fields.
    """

    variants: int
    crop: float = 0.25
    brightness: float = 0.2
    mirror: bool = True
    seed: int = 0
    version: int = VERSION

    def view(self, digest: str, variant: int) -> AugmentedView:
        """Return the changes of one variant of an image; variants with odd numbers are mirrored if `mirror` is set.

        Args:
            digest: sha256 of the image's bytes, hex.
            variant: Number of the variant, from 0.
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
        """Return the variant of an image that one epoch of training the whole network uses.

        In each epoch half of the images are unchanged, and the others are a variant that no earlier epoch has used.
        When every image was a variant, a small network did not learn photos of one part under a fixed camera within its
        epochs.

        Args:
            digest: sha256 of the image's bytes, hex.
            epoch: Number of the epoch, from 0.
        """
        number = epoch + int(digest, 16) % 2
        return 1 + number // 2 if number % 2 and self.variants > 1 else 0

    def apply(self, pixels: Pixels, digest: str, variant: int) -> Pixels:
        """Return one variant of one image.

        Args:
            pixels: (H, W, 3) uint8, RGB: the recipe's tensor.
            digest: sha256 of the image's bytes, hex.
            variant: Number of the variant, from 0.

        Returns:
            variant: (H, W, 3) uint8, RGB.
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
        """Return the cache key of a variant; it is empty for the image itself."""
        return "" if variant == 0 else f"{variant}:{self.digest()}"

    def digest(self) -> str:
        """Return the sha256 of all fields that decide a view, hex; the number of variants is not one of them."""
        decides = {name: value for name, value in self.to_dict().items() if name != "variants"}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data for JSON; `Augmentation(**values)` reads them."""
        return asdict(self)
