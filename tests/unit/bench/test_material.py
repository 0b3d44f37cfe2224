"""The models that the benchmarks measure: the commands that make them exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.material import ARCHITECTURES, build_training_words
from trainer.__main__ import main


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_trainer_takes_the_options_of_the_training(arch: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "weights.h5").touch()
    weights = tmp_path / "weights.h5" if ARCHITECTURES[arch] else None
    words = build_training_words(tmp_path / "data", arch, weights, tmp_path / "run")
    context = main.make_context("trainer", [*words, "--seed", "7"])
    assert context.params["arch"] == arch
    assert context.params["output"] == str(tmp_path / "run")
