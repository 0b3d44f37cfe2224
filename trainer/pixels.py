"""Examples > one uint8 array, through the recipe that will serve; images that can't be decoded are listed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eaves.disk import reserve
from eaves.errors import ImageError
from eaves.images.pixels import Pixels
from eaves.recipe import Recipe
from trainer.dataset import DataFault, Dataset, Split
from trainer.progress import Progress

IN_MEMORY_BYTES = 2 * 2**30
"""Above, decoded pixels are kept in a temporary file (unlinked, mapped) instead of in memory."""

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A dataset and its pixels, row by row the same examples.

    Attributes:
        dataset: Without the images that can't be decoded.
        pixels: (N, H, W, 3) uint8, RGB; perhaps a mapped file.
        labels: (N,) int64.
    """

    dataset: Dataset
    pixels: Pixels
    labels: npt.NDArray[np.int64]

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Row numbers of one side's examples."""
        return np.array([row for row, item in enumerate(self.dataset.examples) if item.split == split], dtype=np.int64)


@contextmanager
def decode(dataset: Dataset, recipe: Recipe, progress: Progress) -> Iterator[Decoded]:
    """Decode every image once.

    Raises:
        DatasetError: When a class or the validation side has no image left that can be decoded.
    """
    shape = (len(dataset.examples), recipe.height, recipe.width, 3)
    with _array(shape) as pixels:
        good: list[int] = []
        faults: list[DataFault] = []
        with progress.phase("Reading images", len(dataset.examples)) as step:
            for index, result in enumerate(_decoded([item.path for item in dataset.examples], recipe)):
                step()
                if isinstance(result, str):
                    name = str(dataset.examples[index].path.relative_to(dataset.root))
                    faults.append(DataFault(file=name, reason=result))
                else:
                    pixels[len(good)] = result
                    good.append(index)
        left = dataset.without(faults)
        labels = np.array([item.label for item in left.examples], dtype=np.int64)
        yield Decoded(dataset=left, pixels=pixels[: len(good)], labels=labels)


def _decoded(paths: Sequence[Path], recipe: Recipe) -> Iterator[Pixels | str]:
    """Pixels, or why not, in order; on every CPU, as Pillow lets go of the interpreter's lock."""

    def one(path: Path) -> Pixels | str:
        try:
            return recipe.tensor(path.read_bytes())
        except ImageError as error:
            return error.message
        except OSError as error:
            return f"can't be read: {error.strerror}"

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(one, paths[start : start + _CHUNK])


@contextmanager
def _array(shape: tuple[int, ...]) -> Iterator[Pixels]:
    if np.prod(shape, dtype=np.int64) <= IN_MEMORY_BYTES:
        yield np.empty(shape, dtype=np.uint8)
        return
    with tempfile.TemporaryFile(prefix="eaves-pixels-") as file:
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(np.uint8).itemsize
        reserve(file.fileno(), max(1, size_bytes), Path(tempfile.gettempdir()))
        yield np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
