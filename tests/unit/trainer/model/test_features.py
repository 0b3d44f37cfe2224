"""The cache of features, on a folder, with a network that is a sum; batches are loaded while it computes."""

import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.model.feature_cache import SHARD_IMAGES, compute_cached, prefetch
from trainer.progress import SilentProgress
from trainer.storage import FileStore, open_store
from trainer.tensorflow_notices import build_environment


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
def test_a_damaged_shard_is_computed_again(store: FileStore, damage: Any, caplog: pytest.LogCaptureFixture):
    rows = range(SHARD_IMAGES + 20)
    run(store, rows)
    name = max(store.list(), key=lambda name: len(store.read(name)))
    store.write(name, damage(store.read(name)))
    assert run(store, rows)[0] == SHARD_IMAGES
    assert "damaged" in caplog.text
    assert run(store, rows)[0] == 0


def test_a_killed_pass_loses_at_most_one_shard(store: FileStore):
    rows = range(3 * SHARD_IMAGES)
    with pytest.raises(KeyboardInterrupt):
        run(store, rows, model=Sum(limit=2 * SHARD_IMAGES + 5))
    assert run(store, rows)[0] == SHARD_IMAGES


WORKERS = 2


def test_the_number_of_batches_in_memory_is_bounded():
    taken: list[int] = []

    def keys() -> Iterator[int]:
        for key in itertools.count():
            taken.append(key)
            yield key

    with closing(prefetch(lambda key: key, keys(), workers=WORKERS)) as batches:
        for number in range(5):
            assert next(batches) == number
            assert len(taken) - (number + 1) == WORKERS + 1


def test_an_error_comes_at_the_place_of_its_batch_and_no_thread_is_left():
    batches = prefetch(lambda key: 6 // (2 - key), range(100), workers=WORKERS)
    assert [next(batches), next(batches)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_tensorflow_gets_as_many_threads_as_there_are_usable_cpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5})
    threads = {key: value for key, value in build_environment().items() if key.startswith("TF_NUM")}
    assert threads == {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
