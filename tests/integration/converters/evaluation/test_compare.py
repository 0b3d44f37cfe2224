"""`eaves compare`, typed: on two real runs of the same images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eaves.cli import cli
from eaves.config import SettingsLayer, build
from tests.inputs.artifacts import build_tiny_dataset, strip_split
from tests.once import build_once_here
from tests.page import Page, assert_self_contained
from trainer.run.run import open_run
from trainer.settings import DataSettings, TrainSettings
from trainer.train import train


def compare(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(cli, ["compare", *map(str, arguments), "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def shorter(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the same images that was trained for one epoch."""
    values = {"arch": "small_cnn", "epochs": 1, "image_size": 16, "batch_size": 8, "augment": False}
    settings = build(TrainSettings, SettingsLayer(origin="test", values=values))
    images = tiny_run.parent / "digits"
    return build_once_here(
        tmp_path_factory,
        "shorter",
        lambda folder: train(DataSettings(path=images), settings, folder / "run", name="digits").path,
        images,
    )


def test_settings_figures_and_answers_are_compared(tiny_run: Path, shorter: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    reported = compare(tiny_run, shorter, "--page", page)
    settings = {item["setting"]: (item["first"], item["second"]) for item in reported["settings"]}
    assert settings == {"train.epochs": (12, 1)}
    first, second = (open_run(path) for path in (tiny_run, shorter))
    assert reported["pairing"]["images"] == first.metrics()["val_images"]
    assert [item["accuracy"] for item in reported["on_the_same_images"]] == [first.val_accuracy, second.val_accuracy]
    assert reported["pairing"]["difference"] == pytest.approx(second.val_accuracy - first.val_accuracy)
    assert reported["pairing"]["difference"] < 0
    assert sum(map(sum, reported["confusion_difference"])) == 0
    assert any(count for row in reported["confusion_difference"] for count in row)
    assert all(run["size_bytes"] > 10_000 for run in reported["runs"])
    html = page.read_text()
    assert_self_contained(html)
    assert "train.epochs" in Page(html).words


def test_a_run_is_no_different_from_itself(tiny_run: Path) -> None:
    reported = compare(tiny_run, tiny_run)
    assert (reported["settings"], reported["pairing"]["differing"]) == ([], [])
    assert not any(count for row in reported["confusion_difference"] for count in row)


def test_images_that_are_gone_leave_the_rest(tiny_run: Path, shorter: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "copy")
    (tmp_path / "other").mkdir()
    reported = compare(tmp_path / "copy", shorter, "--data", tmp_path / "other")
    assert reported["pairing"] is None
    assert reported["not_paired"].endswith("has no labelled images")
    assert reported["settings"]


def test_images_of_an_archive_are_unpacked_as_training_does(tiny_run: Path, shorter: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_run, tmp_path / "runs" / "copy")
    archive = shutil.make_archive(str(tmp_path / "digits"), "zip", build_tiny_dataset(tmp_path / "digits"))
    reported = compare(copy, shorter, "--data", archive)
    assert reported["pairing"]["images"] == open_run(tiny_run).metrics()["val_images"]
    assert (tmp_path / "runs" / ".cache" / "unpacked").is_dir()
    gone = compare(copy, shorter, "--data", f"http://127.0.0.1:1/{Path(archive).name}")
    assert "127.0.0.1" in gone["not_paired"]


def test_a_run_that_does_not_tell_its_split_is_named(tiny_run: Path, shorter: Path, tmp_path: Path) -> None:
    reported = compare(shorter, strip_split(tiny_run, tmp_path / "old"))
    assert reported["not_paired"].startswith(
        "the run old does not list the images that it was trained on: it was made by an earlier"
    )


def test_the_table_tells_both(tiny_run: Path, shorter: Path) -> None:
    result = CliRunner().invoke(cli, ["compare", str(tiny_run), str(shorter)], catch_exceptions=False)
    assert result.exit_code == 0
    for part in ("SETTING THAT DIFFERS", "train.epochs", "images that both runs hold out", "exact McNemar p"):
        assert part in result.stdout
