"""The models that the benchmarks measure: the commands that make them exist."""

from __future__ import annotations

from pathlib import Path

from bench.material import build_training_words
from trainer.__main__ import main


def test_the_trainer_takes_the_options_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "weights.h5").touch()
    words = build_training_words(tmp_path / "data", tmp_path / "weights.h5", tmp_path / "run")
    context = main.make_context("trainer", [*words, "--head-l2", "10"])
    assert context.params["output"] == str(tmp_path / "run")
