"""Figures about held-out images, the samples that travel with a run, and the progress lines."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from eaves.media import SUFFIXES
from trainer.dataset import scan
from trainer.metrics import summarise, wilson
from trainer.progress import Lines
from trainer.samples import AT_MOST, choose, copy


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Source: Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion, formula (4), worked by hand.
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_wilson_interval(right: int, total: int, low: float, high: float) -> None:
    assert wilson(right, total) == pytest.approx((low, high), abs=1e-4)


def test_a_summary_counts_truth_in_rows() -> None:
    summary = summarise(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "b", "c"))
    assert summary["val_accuracy"] == 0.75
    assert summary["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert summary["per_class"]["a"] == {"images": 3, "precision": 1.0, "recall": pytest.approx(2 / 3)}
    assert summary["per_class"]["b"]["precision"] == 0.5
    assert summary["per_class"]["c"] == {"images": 0, "precision": None, "recall": None}


@pytest.mark.parametrize("classes", [2, 30])
def test_samples_cover_every_class_and_are_held_out(tmp_path: Path, classes: int) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    for label in range(classes):
        (data / f"{label:02d}").mkdir(parents=True)
        for number in range(40):
            (data / f"{label:02d}" / f"{number}{SUFFIXES[number % 2].upper()}").write_bytes(
                f"{label} {number}".encode()
            )
    dataset = scan(data, val_fraction=0.3)
    chosen = choose(dataset)
    assert {item.label for item in chosen} == set(range(classes))
    assert {item.split for item in chosen} == {"val"}
    assert len(chosen) <= AT_MOST
    work.mkdir()
    for name, item in copy(dataset, work).items():
        assert hashlib.sha256((work / name).read_bytes()).hexdigest() == item["sha256"]


def test_progress_lines_say_start_and_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Lines().phase("Epochs", 2) as step:
        step(1, "loss 2")
        step(1, "loss 1")
    assert caplog.messages[0] == "Epochs: 2 to do"
    assert caplog.messages[1].startswith("Epochs: all 2 in ")
    assert caplog.messages[1].endswith("loss 1")
