"""Figures about held-out images, the samples that travel with a run, and the progress lines."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from eaves.media_type import SUFFIXES
from trainer.data.dataset import scan
from trainer.evaluation.metrics import measure_quality
from trainer.progress import LoggedProgress
from trainer.run.run_records import AT_MOST, choose_samples, copy_samples


def test_what_is_measured_is_accuracy_and_calibration() -> None:
    measured = measure_quality(np.array([0, 1]), np.array([[2, 1], [2, 1]], np.float32), ("a", "b"))
    assert measured["val_accuracy"] == 0.5
    assert measured["temperature"] == measured["calibration"]["temperature"] == 1.0
    assert measured["calibration"]["images"] == 2
    assert json.loads(json.dumps(measured)) == measured


@pytest.mark.parametrize("classes", [2, 30, AT_MOST + 40])
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
    assert {item.label for item in chosen} == set(range(classes))
    assert {item.split for item in chosen} == {"val"}
    assert len(chosen) <= max(AT_MOST, classes)
    work.mkdir()
    for name, item in copy_samples(dataset, work).items():
        assert hashlib.sha256((work / name).read_bytes()).hexdigest() == item["sha256"]


def test_progress_lines_say_start_and_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), LoggedProgress().phase("Epochs", 2) as step:
        step(1, "loss 2")
        step(1, "loss 1")
    assert caplog.messages[0] == "Epochs: 0 of 2"
    assert caplog.messages[1].startswith("Epochs: all 2 in ")
    assert caplog.messages[1].endswith("loss 1")
