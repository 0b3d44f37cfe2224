"""Decodes examples to pixels with the recipe that serving uses, and makes variants of them (augmentation).

A training on pixels decodes every image once at the beginning. Up to `MAX_KEPT_BYTES` of decoded pixels are kept in a
temporary file; any further image is decoded again whenever it is read. Memory does not grow with the number of images,
and disk use does not exceed that file. Variants are the same on every machine and in every training: only the seed, the
image's digest and the variant's number decide. They are made of the recipe's tensor, and never in serving.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from eaves.errors import DatasetError, ImageError
from eaves.images.pixels import Pixels
from eaves.recipe import Recipe
from eaves.resource_limits import count_usable_cpus
from trainer.data.listing import LabelledImage
from trainer.progress import Step, TrainingProgress

MAX_KEPT_BYTES = 2 * 2**30
"""Maximum size of the decoded pixels on disk in bytes: 8,000 images of 299x299 pixels, or 43,000 of 128x128. Reading
the pixels of an image from disk takes tens of microseconds; decoding a photo takes some milliseconds."""
MIN_FREE_BYTES = 2**30
"""Bytes of the disk that the pixels leave free for features, checkpoints and the run, which a training needs."""
_CHUNK = 64


def read_tensor(example: LabelledImage, recipe: Recipe) -> Pixels:
    """Decode an image, (H, W, 3), whose file must have the bytes that it had when the dataset was read.

    Raises:
        DatasetError: The file is missing, has changed, or can't be decoded.
    """
    hint = "don't change images during a training; run the same command again"
    try:
        data = example.path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{example.path} can no longer be read: {error.strerror}", hint=hint) from error
    if hashlib.sha256(data).hexdigest() != example.digest:
        raise DatasetError(f"{example.path} was changed during the training", hint=hint)
    try:
        return recipe.tensor(data)
    except ImageError as error:
        message = f"{example.path} can't be read at {recipe.height} pixels: {error.message}"
        raise DatasetError(message, hint="remove the image") from error


@contextmanager
def open_pixels(
    examples: Sequence[LabelledImage],
    recipe: Recipe,
    progress: TrainingProgress,
    *,
    folder: Path | None = None,
    kept_bytes: int = MAX_KEPT_BYTES,
) -> Iterator[PixelRows]:
    """Decode every image once, and yield the pixels.

    Args:
        examples: The examples in the order of the rows.
        recipe: Recipe that turns an image's bytes into pixels.
        progress: Receives one step for each image.
        folder: Folder of the temporary file; None means the system's temporary folder, which is in memory on many
            systems.
        kept_bytes: Maximum size of the decoded pixels on disk in bytes.

    Raises:
        DatasetError: An image can't be decoded.
    """
    with (
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
        tempfile.TemporaryFile(prefix="eaves-pixels-", dir=folder) as file,  # a killed process leaves no file
    ):
        rows = PixelRows(examples, recipe, pool, file, kept_bytes)
        with progress.phase("Decoding images", len(examples)) as step:
            rows.keep(step)
        yield rows


class PixelRows:
    """Pixels of the examples, read on demand; safe to use from several threads.

    The file is read and written but never mapped, so that it uses no memory.

    Args:
        examples: The examples in the order of the rows.
        recipe: Recipe that turns an image's bytes into pixels.
        pool: Thread pool that decodes images.
        file: Temporary file for the first rows.
        max_bytes: Maximum size of the file; less where the disk has less than that and `MIN_FREE_BYTES`.
    """

    def __init__(
        self,
        examples: Sequence[LabelledImage],
        recipe: Recipe,
        pool: ThreadPoolExecutor,
        file: IO[bytes],
        max_bytes: int,
    ) -> None:
        self._examples, self._recipe, self._pool, self._file = examples, recipe, pool, file
        self._shape = (recipe.height, recipe.width, 3)
        self._row_bytes = int(np.prod(self._shape, dtype=np.int64))
        disk = os.fstatvfs(file.fileno())
        free_bytes = max(0, disk.f_bavail * disk.f_frsize - MIN_FREE_BYTES)
        self._kept = min(max_bytes, free_bytes) // self._row_bytes

    def keep(self, step: Step) -> None:
        """Decode every image, and keep the first rows in the file."""
        for start in range(0, len(self._examples), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(self._examples)))
            for row, image in zip(rows, self._pool.map(self._decode, rows), strict=True):
                if row < self._kept:
                    self._file.write(np.ascontiguousarray(image).data)
                step()
        self._file.flush()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._examples)

    def __getitem__(self, rows: Any, /) -> Pixels:
        """Return the images of several rows, (N, H, W, 3).

        Raises:
            DatasetError: An image's file is missing, or its content has changed since the dataset was read.
        """
        wanted = [int(row) for row in rows]
        found = np.empty((len(wanted), *self._shape), dtype=np.uint8)
        again = [place for place, row in enumerate(wanted) if row >= self._kept]
        for place, row in enumerate(wanted):
            if row < self._kept:
                os.preadv(self._file.fileno(), [found[place].data.cast("B")], row * self._row_bytes)
        decoded = self._pool.map(self._decode, [wanted[place] for place in again])
        for place, image in zip(again, decoded, strict=True):
            found[place] = image
        return found

    def _decode(self, row: int) -> Pixels:
        return read_tensor(self._examples[row], self._recipe)


CROP = 0.1
"""Largest share of each side that is cut away. The mean accuracy of `small_cnn` was 0.831 with 0.1 and 0.813 with 0.25
on five sets: four of a drawn part, with 30 and 120 photos a class, and one of flowers."""
BRIGHTNESS = 0.2
"""Largest change of brightness, as a share of the image's brightness."""


def augment(pixels: Pixels, digest: str, variant: int, *, seed: int = 0, mirror: bool = True) -> Pixels:
    """Return one variant of one image; both are (H, W, 3) uint8, RGB.

    Args:
        pixels: The image.
        digest: sha256 of the image's file, hex.
        variant: Number of the variant; 0 is the image itself.
        seed: Seed of the variants; another seed gives other variants.
        mirror: Whether variants with odd numbers are mirrored, left to right.
    """
    if variant == 0:
        return pixels
    number = hashlib.sha256(f"{seed}:{digest}:{variant}".encode()).digest()
    side, left, top, light = (int.from_bytes(number[start : start + 8], "big") / 2**64 for start in (0, 8, 16, 24))
    height, width = pixels.shape[:2]
    size = 1 - CROP * side
    left, top = left * (1 - size), top * (1 - size)
    box = (left * width, top * height, min(1.0, left + size) * width, min(1.0, top + size) * height)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
    if mirror and variant % 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    brightness = 1 + BRIGHTNESS * (2 * light - 1)
    return np.asarray(image.point(lambda value: value * brightness), dtype=np.uint8)


def variant_in_epoch(digest: str, epoch: int) -> int:
    """Return the variant of an image that one epoch, from 0, uses.

    In each epoch half of the images are unchanged, and the others are a variant that no earlier epoch has used. When
    every image was a variant, a small network did not learn photos of one part under a fixed camera within its epochs.
    """
    number = epoch + int(digest, 16) % 2
    return 1 + number // 2 if number % 2 else 0
