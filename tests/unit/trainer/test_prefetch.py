"""Batches are loaded while the caller computes: in order, a bounded number of them, and errors at their place."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from trainer.model.feature_cache import prefetch
from trainer.tensorflow_notices import build_environment

DEADLINE_S = 30
WORKERS = 2


def test_the_number_of_batches_in_memory_is_bounded() -> None:
    taken: list[int] = []

    def keys() -> Iterator[int]:
        for key in itertools.count():
            taken.append(key)
            yield key

    with closing(prefetch(lambda key: key, keys(), workers=WORKERS)) as batches:
        for number in range(5):
            assert next(batches) == number
            assert len(taken) - (number + 1) == WORKERS + 1


def test_an_error_comes_at_the_place_of_its_batch_and_no_thread_is_left() -> None:
    batches = prefetch(lambda key: 6 // (2 - key), range(100), workers=WORKERS)
    assert [next(batches), next(batches)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_tensorflow_gets_as_many_threads_as_there_are_usable_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5})
    threads = {key: value for key, value in build_environment().items() if key.startswith("TF_NUM")}
    assert threads == {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
