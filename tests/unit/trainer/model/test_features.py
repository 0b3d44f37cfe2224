"""The cache of features, on a folder, with a network that is a sum."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.model.feature_cache import SHARD_IMAGES, compute_cached
from trainer.progress import SilentProgress
from trainer.storage import FileStore, open_store

PARTS = {"recipe": "r", "scale": "s", "backbone": "b"}


class Sum:
    """A network that adds up; counts what it is given, and may stop."""

    def __init__(self, limit: int | None = None) -> None:
        self.images, self.limit = 0, limit

    def __call__(self, batch: Any) -> Any:
        self.images += len(batch)
        if self.limit is not None and self.images > self.limit:
            raise KeyboardInterrupt
        return np.stack([batch.sum(axis=1), batch.max(axis=1)], axis=1)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return open_store(tmp_path)


def digests(rows: Sequence[int]) -> list[str]:
    return [hashlib.sha256(str(row).encode()).hexdigest() for row in rows]


def run(store: FileStore, rows: Sequence[int], *, model: Sum | None = None, key: str = "k") -> tuple[int, Any]:
    model = model or Sum()
    inputs = np.array([[row, row + 1.0] for row in rows])
    out = np.zeros((len(rows), 2), np.float32)
    computed = compute_cached(
        store.at(key),
        model,
        lambda wanted: inputs[wanted],
        digests(rows),
        out,
        batch_size=10,
        progress=SilentProgress(),
        title="Pass",
    )
    assert computed == model.images
    assert out.tolist() == [[2 * row + 1, row + 1] for row in rows]
    return computed, out


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b""])
def test_a_damaged_shard_is_computed_again(store: FileStore, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = range(SHARD_IMAGES + 20)
    run(store, rows)
    name = max(store.list(), key=lambda name: len(store.read(name)))
    store.write(name, damage(store.read(name)))
    assert run(store, rows)[0] == SHARD_IMAGES
    assert "damaged" in caplog.text
    assert run(store, rows)[0] == 0


def test_a_killed_pass_loses_at_most_one_shard(store: FileStore) -> None:
    rows = range(3 * SHARD_IMAGES)
    with pytest.raises(KeyboardInterrupt):
        run(store, rows, model=Sum(limit=2 * SHARD_IMAGES + 5))
    assert run(store, rows)[0] == SHARD_IMAGES
