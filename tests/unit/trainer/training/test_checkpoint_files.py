"""Files that a checkpoint keeps beside its arrays for a resumed training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.storage import open_store
from trainer.training.checkpoint import IDENTITY, Checkpoints, TrainingIdentity


def test_the_files_beside_are_written_with_the_first_checkpoint_and_not_before(tmp_path: Path) -> None:
    store = open_store(tmp_path / "checkpoints")
    identity = TrainingIdentity(config={}, labels=("a", "b"), dataset="1", code="2")
    checkpoints = Checkpoints(store, identity, interval_s=0, beside={"split.jsonl": b"one\n"})
    assert not (tmp_path / "checkpoints").exists()
    checkpoints.save({"x": np.zeros(1)}, {})
    assert (tmp_path / "checkpoints" / "split.jsonl").read_bytes() == b"one\n"
    assert store.exists(IDENTITY)
