"""Caches the features that a frozen network computes of each image, and prepares batches while a network computes.

    KEY/SHARD_IMAGES.npz    up to 64 images: `digests` (N,) and `values` (N, ...)

KEY identifies how the values were computed (`cache_key`), and a shard's name identifies its images. A file (here called
a shard) is written as soon as it is full, so that a killed pass loses at most the values of one file. The values of a
damaged file are computed again. Values are found by image, never by position, so more images, fewer, or another order
compute only the missing values.

Other threads read, decode and augment the next batches; NumPy and Pillow release Python's global interpreter lock for
most of that time. The number of batches in memory is bounded, and their order is that of the keys.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from eaves.resource_limits import count_usable_cpus
from trainer.progress import TrainingProgress
from trainer.storage import DAMAGED, FileStore

SHARD_IMAGES = 64
"""Number of images in one file of the cache: 0.5 MB for Inception V3's features."""

Array = npt.NDArray[Any]
Network = Callable[[Array], Array]
"""Function from a batch of a network's input to its output."""
Read = Callable[[Sequence[int]], Array]
"""Function from row numbers to the network's input for these rows."""

_log = logging.getLogger(__name__)


def cache_key(*, recipe: str, scale: str, backbone: str) -> str:
    """Return the digest of everything besides the image that its features depend on.

    Args:
        recipe: Digest of the recipe.
        scale: Name of the scale; some scales have the same recipe.
        backbone: Digest of the backbone's weights.
    """
    parts = {"recipe": recipe, "scale": scale, "backbone": backbone}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def compute_cached(
    store: FileStore,
    network: Network,
    read: Read,
    digests: Sequence[str],
    out: Array,
    *,
    batch_size: int,
    progress: TrainingProgress,
    title: str,
) -> int:
    """Fill `out` from the cache, and compute missing values with the network, `SHARD_IMAGES` images at a time.

    Other threads read the next batches while the network computes one.

    Args:
        store: Storage of one cache key.
        network: The network.
        read: Function from row numbers to the network's input; several threads call it at the same time.
        digests: sha256 of each image, hex.
        out: (len(digests), ...) of the stored type.
        batch_size: Number of images in one batch.
        progress: Receives the images of each computed batch.
        title: Title of the phase in the progress.

    Returns:
        computed: Number of images that the network computed.
    """
    rows_of = {digest: row for row, digest in enumerate(digests)}
    for name in sorted(store.list()):
        known, values = read_shard(store, name, out) if name.endswith(".npz") else ([], out)
        for index, digest in enumerate(known):
            if (row := rows_of.pop(digest, None)) is not None:
                out[row] = values[index]
    missing = sorted(rows_of.values())
    if not missing:
        return 0
    shards = [
        _split(missing[start : start + SHARD_IMAGES], batch_size) for start in range(0, len(missing), SHARD_IMAGES)
    ]
    with (
        progress.phase(title, len(missing)) as step,
        closing(prefetch(read, chain.from_iterable(shards))) as inputs,
    ):
        for shard in shards:
            for rows in shard:
                out[rows] = network(next(inputs))
                step(len(rows))
            whole = list(chain.from_iterable(shard))
            held = [digests[row] for row in whole]
            name = f"{hashlib.sha256(''.join(held).encode()).hexdigest()[:32]}.npz"
            store.write_arrays(name, digests=np.array(held, dtype="U64"), values=out[whole])
    return len(missing)


def _split(rows: list[int], size: int) -> list[list[int]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def read_shard(store: FileStore, name: str, out: Array) -> tuple[list[str], Array]:
    """Return the digests and values in one of the cache's files; remove a damaged file and return none."""
    try:
        shard = store.read_arrays(name)
        digests, values = shard["digests"].tolist(), shard["values"]
        if values.shape != (len(digests), *out.shape[1:]) or values.dtype != out.dtype:
            raise ValueError(f"the file holds an array of {values.dtype} {values.shape}")
    except DAMAGED as error:
        _log.warning("the cached features %s are damaged and are computed again: %s", name, str(error)[:200])
        store.delete(name)
        return [], out
    return digests, values


MAX_WORKERS = 4
"""Maximum number of threads that prepare batches. Augmenting a batch of 32 images of 299x299 pixels takes one thread
about 35 ms, so that four threads prepare 3,600 images/s."""

Key = TypeVar("Key")
Batch = TypeVar("Batch")


def prefetch(
    load: Callable[[Key], Batch], keys: Iterable[Key], *, workers: int | None = None
) -> Generator[Batch, None, None]:
    """Yield `load(key)` for each key, in order, while threads load those of the next keys.

    Each thread has at most one batch that is being loaded or waits, and one more batch waits: `workers` + 1 in total,
    besides the batch that was yielded last. Closing the generator waits for the batches that are being loaded.

    Args:
        load: Function from a key to a batch; several threads call it at the same time.
        keys: Keys of the batches.
        workers: Number of threads; None means one per usable CPU, at most `MAX_WORKERS`.

    Raises:
        Exception: Errors of `load`, at the place of the batch that failed.
    """
    threads, left = workers or _count_workers(), iter(keys)
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="prefetch")
    try:
        waiting: deque[Future[Batch]] = deque(pool.submit(load, key) for key in islice(left, threads + 1))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(load, key) for key in islice(left, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _count_workers() -> int:
    """Return the number of threads; counting CPUs takes a millisecond, as long as a step of a head."""
    return min(MAX_WORKERS, count_usable_cpus())
