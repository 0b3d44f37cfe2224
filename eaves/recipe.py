"""The recipe: data that defines how an image's bytes become the model's input.

Training and conversion call `Recipe.tensor`, and serving the two calls of which it consists, so serving prepares images
exactly as training did. A recipe is stored in the run and in the artifact's manifest, and its digest is part of the key
of every feature cache. The module imports Pillow and NumPy only to prepare an image: a function reads its manifest and
opens its session before that, and the console, which prepares none, keeps NumPy's 6 MB out of its memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from eaves.errors import ArtifactError
from eaves.images import MAX_PIXELS

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    from eaves.images.pixels import Pixels

Tensor: TypeAlias = "npt.NDArray[Any]"
VERSION = 1
MAX_SIDE = 4096
_FILTERS = ("bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Definition of how an image is decoded, resized, scaled and laid out.

    Attributes:
        height: Rows of the model's input, pixels.
        width: Columns of the model's input, pixels.
        resize: `stretch` both sides; `crop` the centre to the input's shape first; `pad` the rest with grey 128.
        filter: Resampling, antialiased: `bilinear`, `bicubic` or `lanczos`.
        dtype: Type of the input; only `uint8`, so that the model's graph multiplies and adds.
        multiply: Factor for pixels 0..255.
        add: Number added after multiplying.
        layout: Order of axes; only `NHWC` so far.
        version: Version of the definition of these fields.
    """

    height: int
    width: int
    resize: Literal["stretch", "crop", "pad"] = "stretch"
    filter: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"
    dtype: Literal["uint8"] = "uint8"
    multiply: float = 1 / 255
    add: float = 0.0
    layout: Literal["NHWC"] = "NHWC"
    version: int = VERSION

    def tensor(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Tensor:
        """Convert encoded bytes into one example.

        Returns:
            (height, width, 3) uint8, RGB.

        Raises:
            ImageError: When the image can't be decoded, see `eaves.images.pixels.decode`.
        """
        from eaves.images.decoder import load

        return self.prepare(load(data, at_least=(self.height, self.width), max_pixels=max_pixels))

    def apply(self, image: Pixels) -> Tensor:
        """Convert decoded pixels into one example.

        Args:
            image: (H, W, 3) uint8, RGB.

        Returns:
            (height, width, 3) uint8, RGB.
        """
        from PIL import Image

        return self.prepare(Image.fromarray(image))

    def prepare(self, image: Image.Image) -> Tensor:
        """Convert an image from `decoder.load` into one example, without copying it into an array and back."""
        import numpy as np

        return np.asarray(self._resized(image))

    def _resized(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        size, method = (self.width, self.height), Image.Resampling[self.filter.upper()]
        if image.size == size:
            return image
        if self.resize == "stretch":
            return image.resize(size, method)
        scale = (max if self.resize == "crop" else min)(self.width / image.width, self.height / image.height)
        if self.resize == "crop":
            # Rounding may make one side slightly larger than the image, which Pillow refuses.
            wide, high = min(self.width / scale, image.width), min(self.height / scale, image.height)
            left, top = (image.width - wide) / 2, (image.height - high) / 2
            return image.resize(
                size, method, box=(left, top, min(left + wide, image.width), min(top + high, image.height))
            )
        inner = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), method)
        canvas = Image.new("RGB", size, (128, 128, 128))
        canvas.paste(inner, ((self.width - inner.width) // 2, (self.height - inner.height) // 2))
        return canvas

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height of the model's input as shares of an image's width and height.

        The input of a cropped image is a part of it; that of a padded image is larger, and begins outside.
        """
        across, down = self.width / width, self.height / height
        scale = max(across, down) if self.resize == "crop" else min(across, down)
        wide, high = (1.0, 1.0) if self.resize == "stretch" else (across / scale, down / scale)
        return (1 - wide) / 2, (1 - high) / 2, wide, high

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data for JSON."""
        return asdict(self)

    def digest(self) -> str:
        """Return the sha256 of the recipe's canonical JSON, hex."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """Parse a recipe from a manifest.

    Raises:
        ArtifactError: When it holds a field or value that this version doesn't know; serving it could give wrong
            results.
    """
    if not isinstance(values, Mapping):
        raise ArtifactError(f"the recipe must be a mapping, not a {type(values).__name__}")
    known = {field.name for field in fields(Recipe)}
    unknown = set(values) - known
    if unknown:
        raise ArtifactError(
            f"the recipe has unknown fields: {', '.join(sorted(map(str, unknown)))}", hint="update Eaves"
        )
    try:
        recipe = Recipe(**values)
        good = (
            all(type(number) is int for number in (recipe.version, recipe.height, recipe.width))
            and recipe.version == VERSION
            and recipe.layout == "NHWC"
            and recipe.resize in ("stretch", "crop", "pad")
            and recipe.filter in _FILTERS
            and recipe.dtype == "uint8"
            and 1 <= recipe.height <= MAX_SIDE
            and 1 <= recipe.width <= MAX_SIDE
            and math.isfinite(recipe.multiply)
            and math.isfinite(recipe.add)
        )
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the recipe can't be read: {error}") from error
    if not good:
        raise ArtifactError(
            f"this version of Eaves doesn't know this kind of recipe: {dict(values)!r}", hint="update Eaves"
        )
    return recipe
