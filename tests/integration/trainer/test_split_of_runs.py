"""A split is decided once: later runs keep it, also with another seed and after images came and went."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eaves.config import SettingsLayer, build
from trainer.data.listing import Split
from trainer.data.splitting import SPLIT_FILE, load_split
from trainer.run.run import Run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train


def fill(root: Path, count: int, start: int = 0) -> None:
    for index, label in enumerate(("dark", "light")):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            pixels = np.random.default_rng([index, number]).integers(0, 128, (16, 16, 3), dtype=np.uint8) + 127 * index
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number:03d}.png")


def run_of(data: Path, output: Path, **values: object) -> Run:
    quick = {"arch": "small_cnn", "epochs": 1, "image_size": 16, **values}
    return train(DataSettings(path=data), build(TrainSettings, SettingsLayer(origin="test", values=quick)), output)


def sides(run: Run) -> dict[str, Split]:
    return {digest: entry.split for digest, entry in load_split(run.path).items()}


def test_a_later_run_keeps_the_split_and_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "photos"
    fill(data, 10)
    monkeypatch.chdir(tmp_path)
    first = run_of(Path("photos"), tmp_path / "runs" / "first")
    assert json.loads((first.path / "config.json").read_text())["data"]["path"] == str(data)
    assert list(sides(first).values()).count("val") == 4
    assert first.dataset["split_of"] == ""
    assert SPLIT_FILE in first.files

    (data / "dark" / "000.png").unlink()
    fill(data, 10, start=50)
    with caplog.at_level(logging.INFO):
        second = run_of(data, tmp_path / "runs" / "second", seed=3)
    assert "is kept, and new images are added to it" in caplog.text
    assert second.dataset["split_of"].endswith("runs/first")
    assert len(sides(second)) == 39
    kept = sides(first).items() & sides(second).items()
    assert len(kept) == 19
    assert second.dataset["val"] == {"dark": 4, "light": 4}

    again = run_of(data, tmp_path / "runs" / "second", seed=3)
    assert again.version == second.version, "the run that is there keeps its own split"
