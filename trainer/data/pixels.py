"""Examples > pixels, through the recipe that will serve; read row by row, never all of them at once.

Every image is decoded once at the beginning, so that those that can't be are known before anything is trained. What
was decoded is kept in a temporary file up to `KEPT_BYTES`; an image beyond is decoded again whenever it is read. Memory
does not grow with the number of images, nor does the disk beyond that file.
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
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from eaves.errors import DatasetError, ImageError
from eaves.images.pixels import Pixels
from eaves.recipe import Recipe
from trainer.data.dataset import Dataset, Example
from trainer.data.listing import DataFault, Split
from trainer.progress import TrainingProgress

KEPT_BYTES = 2 * 2**30
"""Most of decoded pixels on the disk: 8,000 images at 299 pixels, 43,000 at 128. Reading one back takes tens of
microseconds, decoding a photo some milliseconds."""
LEFT_FREE_BYTES = 2**30
"""Of the disk, what is left to the features, checkpoints and the run, which a training can't do without."""

_CHUNK = 64
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)


class NetworkInputs(Protocol):
    """What a network takes, example by example: an array, or something that is read like one."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        """The inputs of one example (an integer), or of several, one below the other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedDataset:
    """A dataset and its pixels, row by row the same examples.

    Attributes:
        dataset: Without the images that can't be decoded.
        pixels: Rows of (H, W, 3) uint8, RGB.
        labels: (N,) int64.
    """

    dataset: Dataset
    pixels: NetworkInputs
    labels: npt.NDArray[np.int64]

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Row numbers of one side's examples."""
        return np.array([row for row, item in enumerate(self.dataset.examples) if item.split == split], dtype=np.int64)


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
        dataset: The images.
        recipe: How bytes become pixels.
        progress: Told of every image.
        folder: Where the temporary file is; None: the system's own folder for such files, which is memory on many.
        kept_bytes: Most of decoded pixels on the disk.
        left_free_bytes: What the file leaves free of its disk.

    Raises:
        DatasetError: When a class or the validation side has no image left that can be decoded.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool, _open_nameless(folder) as file:
        kept = _KeptRows(file.fileno(), (recipe.height, recipe.width, 3), kept_bytes, left_free_bytes)
        faults: list[DataFault] = []
        with progress.phase("Reading images", len(dataset.examples)) as step:
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
    """The pixels of examples, read when they are asked for; safe to use from several threads.

    Args:
        examples: In the order of the rows.
        recipe: How bytes become pixels.
        kept: Holds the first rows.
        pool: Decodes the others.
    """

    def __init__(self, examples: Sequence[Example], recipe: Recipe, kept: _KeptRows, pool: ThreadPoolExecutor) -> None:
        self._examples, self._recipe, self._kept, self._pool = examples, recipe, kept, pool

    def __len__(self) -> int:
        """Number of images."""
        return len(self._examples)

    def __getitem__(self, rows: Any, /) -> Pixels:
        """One image (H, W, 3), or those of several rows (N, H, W, 3).

        Raises:
            IndexError: There is no such row.
            DatasetError: An image's file is gone, or is no longer the one that was decoded first.
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
        """An image once more, and never another one than at first."""
        example = self._examples[row]
        hint = "leave the images as they are while a training goes on; then run the same command again"
        try:
            data = example.path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{example.path} can't be read any more: {error.strerror}", hint=hint) from error
        if hashlib.sha256(data).hexdigest() != example.digest:
            raise DatasetError(f"{example.path} was changed while it was trained on", hint=hint)
        return self._recipe.tensor(data)


class _KeptRows:
    """The first rows of pixels, in an open file; it is read and written, never mapped, so that memory stays free of it.

    Args:
        descriptor: Of the file.
        shape: Of one row.
        most_bytes: Most that it holds.
        left_free_bytes: What it leaves free of its disk.
    """

    def __init__(self, descriptor: int, shape: tuple[int, int, int], most_bytes: int, left_free_bytes: int) -> None:
        self._descriptor, self.shape = descriptor, shape
        self._most_bytes, self._left_free_bytes = most_bytes, left_free_bytes
        self._row_bytes = int(np.prod(shape, dtype=np.int64))
        self._count, self._open = 0, True

    def __len__(self) -> int:
        """Number of rows that it holds."""
        return self._count

    def append(self, row: Pixels) -> None:
        """Keep the next row, as long as there was room for all before it."""
        start = self._count * self._row_bytes
        if not self._open or start + self._row_bytes > self._most_bytes:
            self._open = False
            return
        if self._free_bytes() < self._left_free_bytes + self._row_bytes:
            self._end_full()
            return
        try:
            self._write(np.ascontiguousarray(row).data.cast("B"), start)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._end_full()
            return
        self._count += 1

    def read(self, row: int, out: Pixels) -> None:
        """Read one row into an array."""
        target, start, done = out.data.cast("B"), row * self._row_bytes, 0
        while done < self._row_bytes:
            size = os.preadv(self._descriptor, [target[done:]], start + done)
            if not size:
                raise OSError(errno.EIO, "the temporary file of decoded pixels is shorter than it was written")
            done += size

    def _free_bytes(self) -> int:
        disk = os.fstatvfs(self._descriptor)
        return disk.f_bavail * disk.f_frsize

    def _end_full(self) -> None:
        self._open = False
        _log.info("the disk is full after the pixels of %d images: the others are decoded again", self._count)

    def _write(self, content: memoryview, start: int) -> None:
        done = 0
        while done < len(content):
            done += os.pwrite(self._descriptor, content[done:], start + done)


def _open_nameless(folder: Path | None) -> IO[bytes]:
    """A temporary file without a name: whoever is killed leaves nothing, not even a folder that was made for it."""
    made = folder is not None and not folder.exists()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(prefix="eaves-pixels-", dir=folder)  # noqa: SIM115 - whoever asked closes it
    if made and folder is not None:
        with suppress(OSError):  # somebody else has put something there
            folder.rmdir()
    return file


def _decode_all(examples: Sequence[Example], recipe: Recipe, pool: ThreadPoolExecutor) -> Iterator[Pixels | str]:
    """Pixels, or why not, in order; on every CPU, as Pillow lets go of the interpreter's lock."""

    def one(example: Example) -> Pixels | str:
        try:
            return recipe.tensor(example.path.read_bytes())
        except ImageError as error:
            return error.message
        except OSError as error:
            return f"can't be read: {error.strerror}"

    for start in range(0, len(examples), _CHUNK):
        yield from pool.map(one, examples[start : start + _CHUNK])
