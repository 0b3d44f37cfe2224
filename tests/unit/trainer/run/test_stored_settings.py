"""The settings of a run continue it, and a flag may not differ from them without a word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import RunError
from trainer.data.splitting import CONFIG
from trainer.run.run import checkpoints_beside
from trainer.run.run_location import continue_settings, save_settings
from trainer.settings import DataSettings, TrainSettings

STARTED = {"arch": "small_cnn", "epochs": 200, "weights": "none"}
DATA = DataSettings(path="/data/parts")


def settings(**values: object) -> TrainSettings:
    return build(TrainSettings, SettingsLayer(origin="test", values=values))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A run that was stopped."""
    save_settings(tmp_path / "run", DATA, settings(**STARTED))
    return tmp_path / "run"


def test_a_run_is_continued_with_its_own_settings(output: Path) -> None:
    assert continue_settings(output, DataSettings(path="/other"), settings(), given=()) == (DATA, settings(**STARTED))


def test_what_changes_no_weight_may_differ(output: Path) -> None:
    _, found = continue_settings(output, DATA, settings(checkpoint_s=5.0), given={"train.checkpoint_s"})
    assert found == replace(settings(**STARTED), checkpoint_s=5.0)


def test_a_secret_that_is_not_stored_comes_from_the_project(tmp_path: Path) -> None:
    secret = "https://user:word@data.example/parts.zip?signature=1"
    save_settings(tmp_path / "run", DataSettings(path=secret), settings(**STARTED))
    kept = json.loads((checkpoints_beside(tmp_path / "run") / CONFIG).read_text())
    assert kept["data"]["path"] == "https://data.example/parts.zip"
    images, _ = continue_settings(tmp_path / "run", DataSettings(path=secret), settings(), given=())
    assert images.path == secret


def test_there_may_be_no_run_or_a_damaged_one(output: Path, tmp_path: Path) -> None:
    assert continue_settings(tmp_path / "other", DATA, settings(), given=()) == (DATA, settings())
    file = checkpoints_beside(output) / CONFIG
    file.write_text(json.dumps({"data": {}}))
    with pytest.raises(RunError, match=r"config\.json can't be read"):
        continue_settings(output, DATA, settings(), given=())
