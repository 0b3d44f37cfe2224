"""Decodes examples to pixels with the recipe that serving uses; rows are read on demand, never all at once.

Every image is decoded once at the beginning, so that undecodable images are known before training starts. Up to
`KEPT_BYTES` of decoded pixels are kept in a temporary file; any further image is decoded again whenever it is read.
Memory does not grow with the number of images, and disk use does not exceed that file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from eaves.errors import DatasetError, ImageError
from eaves.images.pixels import Pixels
from eaves.recipe import Recipe
from eaves.resource_limits import count_usable_cpus
from trainer.data.dataset import Dataset, Example
from trainer.data.listing import DataFault, Split
from trainer.progress import TrainingProgress

KEPT_BYTES = 2 * 2**30
"""Maximum size of the decoded pixels on disk in bytes: 8,000 images of 299x299 pixels, or 43,000 of 128x128. Reading
the pixels of an image from disk takes tens of microseconds; decoding a photo takes some milliseconds."""
LEFT_FREE_BYTES = 2**30
"""Bytes of the disk that the pixels leave free for features, checkpoints and the run, which a training needs."""

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedDataset:
    """A dataset and the pixels of its examples; each row holds the pixels of one example.

    Attributes:
        dataset: The dataset without the images that can't be decoded.
        pixels: Rows of (H, W, 3) uint8, RGB.
        labels: (N,) int64, index of each example's class.
    """

    dataset: Dataset
    pixels: PixelRows | npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the row numbers of one side's examples."""
        return np.array([row for row, item in enumerate(self.dataset.examples) if item.split == split], dtype=np.int64)

    def groups(self, split: Split) -> list[str]:
        """Return the name of the group of each of one side's examples; an example without a group is one of its own."""
        return [item.group_name for item in self.dataset.examples if item.split == split]


@contextmanager
def decode(
    dataset: Dataset,
    recipe: Recipe,
    progress: TrainingProgress,
    *,
    folder: Path | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> Iterator[DecodedDataset]:
    """Decode every image once.

    Args:
        dataset: The images to decode.
        recipe: Recipe that turns an image's bytes into pixels.
        progress: Receives one step for each image.
        folder: Folder of the temporary file; None means the system's temporary folder, which is in memory on many
            systems.
        kept_bytes: Maximum size of the decoded pixels on disk in bytes.

    Raises:
        DatasetError: A class or the validation side has no image that can be decoded.
    """
    with (
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
        tempfile.TemporaryFile(prefix="eaves-pixels-", dir=folder) as file,  # a killed process leaves no file
    ):
        kept = _KeptRows(file, (recipe.height, recipe.width, 3), kept_bytes)
        faults: list[DataFault] = []
        with progress.phase("Decoding images", len(dataset.examples)) as step:
            for example, result in zip(dataset.examples, _decode_all(dataset.examples, recipe, pool), strict=True):
                step()
                if isinstance(result, str):
                    faults.append(DataFault(file=str(example.path.relative_to(dataset.root)), reason=result))
                else:
                    kept.append(result)
        file.flush()
        left = dataset.without(faults)
        labels = np.array([item.label for item in left.examples], dtype=np.int64)
        yield DecodedDataset(dataset=left, pixels=PixelRows(left.examples, recipe, kept, pool), labels=labels)


class PixelRows:
    """Pixels of the examples, read on demand; safe to use from several threads.

    Args:
        examples: The examples in the order of the rows.
        recipe: Recipe that turns an image's bytes into pixels.
        kept: Temporary file that holds the first rows.
        pool: Thread pool that decodes the other rows.
    """

    def __init__(self, examples: Sequence[Example], recipe: Recipe, kept: _KeptRows, pool: ThreadPoolExecutor) -> None:
        self._examples, self._recipe, self._kept, self._pool = examples, recipe, kept, pool

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._examples)

    def __getitem__(self, rows: Any, /) -> Pixels:
        """Return the images of several rows, (N, H, W, 3).

        Raises:
            DatasetError: An image's file is missing, or its content has changed since it was decoded first.
        """
        wanted = [int(row) for row in rows]
        found = np.empty((len(wanted), *self._kept.shape), dtype=np.uint8)
        again = []
        for place, row in enumerate(wanted):
            if row < len(self._kept):
                self._kept.read(row, found[place])
            else:
                again.append(place)
        for place, image in zip(again, self._pool.map(lambda place: self._decode(wanted[place]), again), strict=True):
            found[place] = image
        return found

    def _decode(self, row: int) -> Pixels:
        """Decode an image again, and check that its file has not changed since it was decoded first."""
        example = self._examples[row]
        hint = "don't change images during a training; run the same command again"
        try:
            data = example.path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{example.path} can no longer be read: {error.strerror}", hint=hint) from error
        if hashlib.sha256(data).hexdigest() != example.digest:
            raise DatasetError(f"{example.path} was changed during the training", hint=hint)
        return self._recipe.tensor(data)


class _KeptRows:
    """The first rows of pixels in an open file; it is read and written but never mapped, so that it uses no memory.

    Args:
        file: The open file.
        shape: Shape of one row.
        max_bytes: Maximum size of the file in bytes; less where the disk has less than that and `LEFT_FREE_BYTES`.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, int, int], max_bytes: int) -> None:
        self._file, self.shape, self._count = file, shape, 0
        self._row_bytes = int(np.prod(shape, dtype=np.int64))
        disk = os.fstatvfs(file.fileno())
        free_bytes = max(0, disk.f_bavail * disk.f_frsize - LEFT_FREE_BYTES)
        self._max_rows = min(max_bytes, free_bytes) // self._row_bytes

    def __len__(self) -> int:
        """Return the number of rows that the file holds."""
        return self._count

    def append(self, row: Pixels) -> None:
        """Keep the next row, unless the file is full."""
        if self._count < self._max_rows:
            self._file.write(np.ascontiguousarray(row).data)
            self._count += 1

    def read(self, row: int, out: Pixels) -> None:
        """Read one row into an array."""
        os.preadv(self._file.fileno(), [out.data.cast("B")], row * self._row_bytes)


def _decode_all(examples: Sequence[Example], recipe: Recipe, pool: ThreadPoolExecutor) -> Iterator[Pixels | str]:
    """Yield for each example, in order, its pixels or the reason why it can't be decoded; use every CPU.

    Threads suffice, because Pillow releases Python's global interpreter lock while it decodes.
    """

    def one(example: Example) -> Pixels | str:
        try:
            return recipe.tensor(example.path.read_bytes())
        except ImageError as error:
            return error.message
        except OSError as error:
            return f"the file can't be read: {error.strerror}"

    for start in range(0, len(examples), _CHUNK):
        yield from pool.map(one, examples[start : start + _CHUNK])
