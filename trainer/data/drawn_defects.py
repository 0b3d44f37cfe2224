"""Draws defects on photos of good parts: a scratch, a stain, or a piece of the photo in a wrong place.

Photos of real defects are rare, so methods are compared on drawn ones, and a model is judged by them if there are no
others. They say whether a change of this size is noticed, not whether a real defect is.

Source: Li et al. 2021, CutPaste (arXiv:2104.04015), section 2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from eaves.artifact.manifest import ANOMALOUS
from eaves.images.pixels import Pixels
from eaves.recipe import Recipe
from trainer.data.listing import DRAWN, LabelledImage
from trainer.data.pixels import read_tensor
from trainer.data.splitting import SplitEntry

MIN_SIDE, MAX_SIDE = 0.06, 0.2
"""Size of a defect, as a share of the photo's side."""
MARGIN = 0.2
"""Share of the photo's side at each border that defects keep away from; parts are rarely there."""


def draw_defects(images: Iterable[LabelledImage], recipe: Recipe, folder: Path) -> list[LabelledImage]:
    """Write a copy of each image with a drawn defect to a new folder, and return the copies.

    The same image always gets the same defect. A copy is in the group of its image.

    Raises:
        DatasetError: An image can't be read any more.
    """
    folder.mkdir(parents=True)
    made = []
    for image in images:
        pixels = _draw(read_tensor(image, recipe), np.random.default_rng(int(image.digest[:16], 16)))
        path = folder / f"{image.digest[:16]}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        made.append(_load_copy(path, image.group_name))
    return made


def load_drawn(run: Path, split: Mapping[str, SplitEntry]) -> list[LabelledImage]:
    """Load the drawn defects that a run was judged by; none if it was judged by real ones.

    Args:
        run: Directory of the run.
        split: Its images, by digest; a copy is in the group of its image.
    """
    groups = {digest[:16]: entry.group or digest for digest, entry in split.items()}
    return [_load_copy(path, groups.get(path.stem, "")) for path in sorted((run / DRAWN).glob("*.png"))]


def _load_copy(path: Path, group: str) -> LabelledImage:
    return LabelledImage(
        path=path,
        label=ANOMALOUS,
        kind=DRAWN,
        below=PurePosixPath(path.name),
        name=f"{DRAWN}/{path.name}",
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        group=group,
        split="val",
    )


def _draw(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    centre = np.array([rng.uniform(MARGIN, 1 - MARGIN) * width, rng.uniform(MARGIN, 1 - MARGIN) * height])
    length, direction = rng.uniform(MIN_SIDE, MAX_SIDE) * side, rng.uniform(0, math.pi)
    kind = rng.integers(3)
    if kind == 2:
        return _move_piece(pixels, centre, int(length), rng)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    around = pixels[int(centre[1]), int(centre[0])].astype(np.int64)
    shift = rng.uniform(60, 110) * (1 if around.mean() < 128 else -1)
    colour = tuple(np.clip(around + shift, 0, 255).astype(int).tolist())
    if kind == 0:
        reach = length / 2 * np.array([math.cos(direction), math.sin(direction)])
        pen.line([*(centre - reach), *(centre + reach)], fill=colour, width=max(2, side // 100))
    else:
        radius = length / 4
        pen.ellipse([*(centre - radius), *(centre + radius)], fill=colour)
    return np.asarray(picture)


def _move_piece(pixels: Pixels, centre: npt.NDArray[np.float64], length: int, rng: np.random.Generator) -> Pixels:
    """Copy a piece of the photo from another place, at least one and a half lengths away, turned by 90 degrees."""
    moved, half = pixels.copy(), max(2, length // 2)
    (x, y), angle = centre.astype(int), rng.uniform(0, 2 * math.pi)
    height, width = pixels.shape[:2]
    left = int(np.clip(x + 3 * half * math.cos(angle), half, width - half))
    top = int(np.clip(y + 3 * half * math.sin(angle), half, height - half))
    piece = np.rot90(pixels[top - half : top + half, left - half : left + half])
    moved[y - half : y + half, x - half : x + half] = piece
    return moved
