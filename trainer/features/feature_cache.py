"""What a frozen network makes of each image, computed once and kept: N epochs of what is above it then cost seconds.

    KEY/SHARD.npz    up to 64 images: `digests` (N,) and `values` (N, ...)

KEY says what made the values (`cache_key`), a shard's name which images it holds. A shard is written as soon as it is
full, so that a killed pass loses at most one; one that can't be read is computed again. Shards are looked up by image,
never by position: more images, fewer, or another order compute only what is missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.base.disk_errors import reserve
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

SHARD = 64
"""Images in one: 28 MB of Inception's activations at `mixed7`, half a megabyte of its features."""

Array = npt.NDArray[Any]
Read = Callable[[Sequence[int]], Array]
"""Row numbers > the network's input for them."""

_LARGEST = np.finfo(np.float16).max
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)
"""What numpy raises on a file that isn't as it was written."""
_log = logging.getLogger(__name__)


def cache_key(
    *, recipe: str, scale: str, backbone: str, layer: str, augmentation: str = "", dtype: str = "float32"
) -> str:
    """What values depend on beside the image; another key, other values.

    Args:
        recipe: Its digest.
        scale: Name of the scale; recipes don't tell all of them apart.
        backbone: Digest of its weights.
        layer: Whose output is kept.
        augmentation: `Augmentation.key` of the variant.
        dtype: As stored.
    """
    parts = {"recipe": recipe, "scale": scale, "backbone": backbone, "layer": layer}
    parts |= {"augmentation": augmentation, "dtype": dtype}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def map_array(shape: tuple[int, ...], dtype: str) -> Iterator[Array]:
    """An array in a temporary file that is unlinked already: the system drops its pages from memory when it must."""
    with tempfile.TemporaryFile(prefix="eaves-features-") as file:
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        reserve(file.fileno(), max(1, size_bytes), Path(tempfile.gettempdir()))
        yield np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def cast_clipped(values: Array, dtype: npt.DTypeLike) -> Array:
    """Values in another float type; those beyond float16's range become its largest instead of infinite."""
    if dtype == np.float16:
        values = np.clip(values, -_LARGEST, _LARGEST)
    return values.astype(dtype)


class FeatureCache:
    """Values by image digest, in the shards of one key.

    Args:
        store: Where the shards are.
        key: From `cache_key`.
    """

    def __init__(self, store: FileStore, key: str) -> None:
        self._store = store.at(key)

    def load(self, digests: Sequence[str], out: Array, *, seen: set[str] | None = None) -> list[int]:
        """Read what is there.

        Args:
            digests: sha256 of each image, hex.
            out: (len(digests), ...), filled where a shard holds the image.
            seen: Names of shards read before into the same `out`, which are skipped; those read now are added.

        Returns:
            missing: Rows that no shard filled now.
        """
        rows = {digest: row for row, digest in enumerate(digests)}
        for name in sorted(self._store.list()):
            if not name.endswith(".npz") or (seen is not None and name in seen):
                continue
            held = self._read(name, out)
            if held is None:
                continue
            if seen is not None:
                seen.add(name)
            for index, digest in enumerate(held[0]):
                row = rows.pop(digest, None)
                if row is not None:
                    out[row] = held[1][index]
        return sorted(rows.values())

    def save(self, digests: Sequence[str], values: Array) -> None:
        """Write one shard."""
        buffer = io.BytesIO()
        np.savez(buffer, digests=np.array(digests, dtype="U64"), values=values)
        name = hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
        self._store.write(f"{name}.npz", buffer.getvalue())

    def compute(
        self,
        model: Any,
        read: Read,
        digests: Sequence[str],
        out: Array,
        *,
        batch_size: int,
        progress: TrainingProgress,
        title: str,
    ) -> int:
        """Fill `out`: from the shards where they hold the image, else through the model, shard by shard.

        Args:
            model: A Keras model.
            read: Row numbers > the model's input.
            digests: sha256 of each image, hex.
            out: (len(digests), ...) of the stored type.
            batch_size: Images at once.
            progress: Told of every batch computed.
            title: What it is told.

        Returns:
            computed: How many went through the model.
        """
        missing = self.load(digests, out)
        if not missing:
            return 0
        with progress.phase(title, len(missing)) as step:
            for start in range(0, len(missing), SHARD):
                shard = missing[start : start + SHARD]
                for first in range(0, len(shard), batch_size):
                    rows = shard[first : first + batch_size]
                    values = np.asarray(model.predict_on_batch(read(rows)))
                    out[rows] = cast_clipped(values, out.dtype)
                    step(len(rows))
                self.save([digests[row] for row in shard], out[shard])
        return len(missing)

    def _read(self, name: str, out: Array) -> tuple[list[str], Array] | None:
        """A shard's digests and values; one that is not as it was written is removed."""
        data = self._store.read(name)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as shard:
                digests, values = shard["digests"].tolist(), shard["values"]
            if values.shape != (len(digests), *out.shape[1:]) or values.dtype != out.dtype:
                raise ValueError(f"it holds {values.dtype} {values.shape}")
        except _DAMAGED as error:
            _log.warning("cached features %s are damaged and computed again: %s", name, str(error)[:200])
            self._store.delete(name)
            return None
        return digests, values
