"""Figures about held-out images, the samples that travel with a run, and the progress lines."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from eaves.media_type import SUFFIXES
from trainer.data.dataset import scan
from trainer.run.run_records import MAX_SAMPLES, choose_samples, copy_samples


@pytest.mark.parametrize("classes", [2, 30, MAX_SAMPLES + 40])
def test_samples_cover_every_class_and_are_held_out(tmp_path: Path, classes: int) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    for label in range(classes):
        (data / f"{label:03d}").mkdir(parents=True)
        for number in range(20):
            (data / f"{label:03d}" / f"{number}{SUFFIXES[number % 2].upper()}").write_bytes(
                f"{label} {number}".encode()
            )
    dataset = scan(data, val_fraction=0.3)
    chosen = choose_samples(dataset)
    assert {item.label for item in chosen} == set(dataset.labels)
    assert {item.split for item in chosen} == {"val"}
    assert len(chosen) <= max(MAX_SAMPLES, classes)
    work.mkdir()
    for name, item in copy_samples(dataset, work).items():
        assert hashlib.sha256((work / name).read_bytes()).hexdigest() == item["sha256"]
