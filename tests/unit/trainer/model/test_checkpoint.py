"""Checkpoints: whole or the one before, and refused to another training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eaves.errors import ConfigError, DatasetError
from trainer.model.checkpoint import Checkpoints, TrainingIdentity
from trainer.storage import FileStore, open_store

IDENTITY = TrainingIdentity(config={"epochs": 3}, dataset="00", code="11")


def checkpoints(
    folder: Path | FileStore, identity: TrainingIdentity = IDENTITY, *, interval_s: float = 60
) -> Checkpoints:
    return Checkpoints(folder if isinstance(folder, FileStore) else open_store(folder), identity, interval_s=interval_s)


def save(to: Checkpoints, number: int) -> None:
    to.save({"w": np.full(3, number, np.float32)}, {"step": number})


def loaded(of: Checkpoints) -> tuple[int, float] | None:
    found = of.load()
    return None if found is None else (found[1]["step"], float(found[0]["w"][0]))


def test_the_last_one_counts(tmp_path: Path):
    made = checkpoints(tmp_path)
    assert loaded(made) is None
    for number in range(1, 4):
        save(made, number)
        assert loaded(checkpoints(tmp_path)) == (number, number)
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_the_files_beside_are_written_with_the_first_checkpoint_and_not_before(tmp_path: Path):
    made = Checkpoints(open_store(tmp_path / "c"), IDENTITY, interval_s=0, beside={"split.jsonl": b"one"})
    assert not (tmp_path / "c").exists()
    save(made, 1)
    assert (tmp_path / "c" / "split.jsonl").read_bytes() == b"one"


def test_a_damaged_one_starts_the_training_from_the_beginning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made = checkpoints(tmp_path)
    save(made, 1)
    whole = (tmp_path / "latest.npz").read_bytes()
    for torn in (b"torn", b"", whole[:-30], whole[:100] + b"x" * 9 + whole[109:]):
        (tmp_path / "latest.npz").write_bytes(torn)
        assert loaded(checkpoints(tmp_path)) is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize(
    ("identity", "error", "message"),
    [
        (replace(IDENTITY, dataset="01"), DatasetError, "images, their labels or the split differ"),
        (replace(IDENTITY, config={"epochs": 4}), ConfigError, "epochs: .* started with 3 .*got 4"),
        (replace(IDENTITY, code="12"), ConfigError, "another version of Eaves"),
    ],
)
def test_another_training_may_not_go_on(
    tmp_path: Path, identity: TrainingIdentity, error: type[Exception], message: str
):
    save(checkpoints(tmp_path), 1)
    with pytest.raises(error, match=message):
        checkpoints(tmp_path, identity)
    assert loaded(checkpoints(tmp_path)) == (1, 1.0)
