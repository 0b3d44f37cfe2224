"""Decodes examples to pixels with the recipe that serving uses; rows are read on demand, never all at once.

Every image is decoded once at the beginning, so that undecodable images are known before training starts. Up to
`KEPT_BYTES` of decoded pixels are kept in a temporary file; any further image is decoded again whenever it is read.
Memory does not grow with the number of images, and disk use does not exceed that file.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
"""Bytes of the disk that are left free for features, checkpoints and the run, which a training needs."""

_CHUNK = 64
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)


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
    left_free_bytes: int = LEFT_FREE_BYTES,
) -> Iterator[DecodedDataset]:
    """Decode every image once.

    Args:
        dataset: The images to decode.
        recipe: Recipe that turns an image's bytes into pixels.
        progress: Receives one step for each image.
        folder: Folder of the temporary file; None means the system's temporary folder, which is in memory on many
            systems.
        kept_bytes: Maximum size of the decoded pixels on disk in bytes.
        left_free_bytes: Bytes that the file leaves free on its disk.

    Raises:
        DatasetError: A class or the validation side has no image that can be decoded.
    """
    with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool, _open_nameless(folder) as file:
        kept = _KeptRows(file.fileno(), (recipe.height, recipe.width, 3), kept_bytes, left_free_bytes)
        faults: list[DataFault] = []
        with progress.phase("Decoding images", len(dataset.examples)) as step:
            for example, result in zip(dataset.examples, _decode_all(dataset.examples, recipe, pool), strict=True):
                step()
                if isinstance(result, str):
                    faults.append(DataFault(file=str(example.path.relative_to(dataset.root)), reason=result))
                else:
                    kept.append(result)
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
        """Return one image (H, W, 3), or the images of several rows (N, H, W, 3).

        Raises:
            IndexError: There is no such row.
            DatasetError: An image's file is missing, or its content has changed since it was decoded first.
        """
        if isinstance(rows, (int, np.integer)):
            image: Pixels = self[np.array([rows])][0]
            return image
        wanted = [int(row) for row in rows]
        if any(not 0 <= row < len(self) for row in wanted):
            raise IndexError(f"rows are 0 to {len(self) - 1} (got {min(wanted)} to {max(wanted)})")
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
        descriptor: File descriptor of the open file.
        shape: Shape of one row.
        max_bytes: Maximum size of the file in bytes.
        left_free_bytes: Bytes that the file leaves free on its disk.
    """

    def __init__(self, descriptor: int, shape: tuple[int, int, int], max_bytes: int, left_free_bytes: int) -> None:
        self._descriptor, self.shape, self._count = descriptor, shape, 0
        self._row_bytes = int(np.prod(shape, dtype=np.int64))
        disk = os.fstatvfs(descriptor)
        free_bytes = max(0, disk.f_bavail * disk.f_frsize - left_free_bytes)
        self._max_rows, self._is_short = min(max_bytes, free_bytes) // self._row_bytes, free_bytes < max_bytes

    def __len__(self) -> int:
        """Return the number of rows that the file holds."""
        return self._count

    def append(self, row: Pixels) -> None:
        """Keep the next row, unless the file was full at an earlier row."""
        if self._count >= self._max_rows:
            if self._is_short:
                self._end_full()
            return
        data = np.ascontiguousarray(row).data.cast("B")
        try:
            while data:
                data = data[os.pwrite(self._descriptor, data, (self._count + 1) * self._row_bytes - len(data)) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._end_full()
            return
        self._count += 1

    def read(self, row: int, out: Pixels) -> None:
        """Read one row into an array."""
        if os.preadv(self._descriptor, [out.data.cast("B")], row * self._row_bytes) != self._row_bytes:
            raise OSError(errno.EIO, "the temporary file of decoded pixels was changed by another process")

    def _end_full(self) -> None:
        self._max_rows, self._is_short = self._count, False
        _log.info(
            "the disk is full after the decoded pixels of %d images; the other images are decoded again "
            "whenever they are needed",
            self._count,
        )


def _open_nameless(folder: Path | None) -> IO[bytes]:
    """Open a temporary file without a name, so that a killed process leaves no file and no folder made for it."""
    made = folder is not None and not folder.exists()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(prefix="eaves-pixels-", dir=folder)  # noqa: SIM115 - the caller closes it
    if made and folder is not None:
        with suppress(OSError):  # another process has put something there
            folder.rmdir()
    return file


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
