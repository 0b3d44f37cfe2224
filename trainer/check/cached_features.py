"""Loads the feature vectors that an earlier training has cached, and finds each image's vector by its digest."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

LEAST_SHARE = 0.98
"""Minimum share of the images that a cache of features must hold; with fewer, the cache is not used."""
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)


def load_cached_features(cache: Path, digests: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[int]] | None:
    """Load the cached feature vectors of images; return None when the cache holds too few of the images.

    A cache has a folder for each network, layer and augmentation. The folder that holds most of the images is used.
    Only the folder for images without augmentation has both training and held-out images.

    Args:
        cache: Folder of the feature caches, `runs/.cache/features` in `trainer.run.run_location`.
        digests: sha256 of each image, hex.

    Returns:
        vectors: (M, any) float32.
        rows: Position of each vector in `digests`.
    """
    best: dict[str, npt.NDArray[np.float32]] = {}
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        found = _load_folder(folder, frozenset(digests))
        if len(found) > len(best):
            best = found
    rows = [row for row, digest in enumerate(digests) if digest in best]
    if not rows or len(rows) < LEAST_SHARE * len(digests):
        return None
    return np.stack([best[digests[row]] for row in rows]), rows


def _load_folder(folder: Path, wanted: frozenset[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the vector of each wanted image by digest; empty when the folder's arrays are no vectors."""
    found: dict[str, npt.NDArray[np.float32]] = {}
    for file in sorted(folder.glob("*.npz")):
        try:
            with np.load(file, allow_pickle=False) as shard:
                digests, values = shard["digests"].tolist(), shard["values"]
        except _DAMAGED:  # training computes these features again
            continue
        if values.ndim != 2:
            return {}
        found |= {digest: value.astype(np.float32) for digest, value in zip(digests, values, strict=True)}
    return {digest: value for digest, value in found.items() if digest in wanted}
