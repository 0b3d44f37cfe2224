"""`eaves evaluate`, typed: on a real run and its artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import DatasetError
from tests.inputs.artifacts import build_tiny_dataset
from tests.page import assert_self_contained
from trainer.run.run import load_trained_on, open_run


def eaves(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_dataset(tmp_path_factory.mktemp("digits"))


def test_a_run_is_measured_on_what_it_was_not_trained_on(tiny_run: Path, digits: Path) -> None:
    reported = read(eaves("evaluate", tiny_run, digits, "-o", "json"))
    (model,) = reported["models"]
    run = open_run(tiny_run)
    assert reported["trained_on_left_out"] == len(load_trained_on(tiny_run)) > 0
    assert model["images"] == run.metrics()["val_images"]
    assert model["accuracy"] == run.val_accuracy
    assert model["confusion"] == run.metrics()["confusion"]
    assert model["time_ms"]["median"] > 0


def test_an_artifact_answers_as_its_run(tiny_run: Path, tiny_artifact: Path, digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    reported = read(eaves("evaluate", tiny_run, tiny_artifact, digits, "-o", "json", "--page", page))
    assert [model["kind"] for model in reported["models"]] == ["run", "artifact"]
    assert reported["pairing"]["differing"] == []
    assert reported["pairing"]["mcnemar_p"] == 1.0
    assert reported["pairing"]["images"] == reported["models"][0]["images"]
    assert_self_contained(page.read_text())


def test_an_artifact_alone_sees_all_images_unless_a_run_is_named(
    tiny_run: Path, tiny_artifact: Path, digits: Path
) -> None:
    everything = read(eaves("evaluate", tiny_artifact, digits, "-o", "json"))
    assert everything["models"][0]["images"] == 72
    held_out = read(eaves("evaluate", tiny_artifact, digits, "--held-out-of", tiny_run, "-o", "json"))
    assert held_out["models"][0]["images"] == open_run(tiny_run).metrics()["val_images"]


def test_an_artifact_does_not_tell_what_it_was_trained_on_unless_a_run_is_named(
    tiny_run: Path, tiny_artifact: Path, digits: Path
) -> None:
    (line,) = read(eaves("evaluate", tiny_artifact, digits, "-o", "json"))["trained_on_notes"]
    assert "only a run lists them" in line
    assert "name the model's run (--held-out-of RUN)" in line
    for quiet in ((tiny_run, digits), (tiny_artifact, digits, "--held-out-of", tiny_run)):
        assert read(eaves("evaluate", *quiet, "-o", "json"))["trained_on_notes"] == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "can't read the folder nowhere"),
        ("ftp://host/photos", "data can't be read from ftp://host/photos"),
    ],
)
def test_data_that_are_not_there_are_an_error_with_a_hint(tiny_run: Path, place: str, message: str) -> None:
    result = CliRunner().invoke(cli, ["evaluate", str(tiny_run), place])
    assert isinstance(result.exception, DatasetError)
    assert result.exception.message.startswith(message)
    assert result.exception.hint


def test_the_table_names_the_figures(tiny_artifact: Path, digits: Path) -> None:
    result = eaves("evaluate", tiny_artifact, digits)
    assert result.exit_code == 0
    headline = "accuracy 1.000 (0.949 to 1.000 with 95 % confidence) on 72 images"
    worth = "this model is usable: 1.00 on 72 labelled images (95 % interval 0.94-1.00), guessing gives "
    for part in (headline, "calibration error", "time for one image: median", "RECALL", worth):
        assert part in result.stdout
    assert result.stdout.splitlines()[-1].endswith("too favourable if it was trained on some of these images")


def test_what_is_reported_two_models_fits_a_terminal_of_80_columns(
    tiny_run: Path, tiny_artifact: Path, digits: Path
) -> None:
    result = eaves("evaluate", tiny_run, tiny_artifact, digits)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert "the second model's accuracy differs by +0.0 points" in result.stdout
    long = [line for line in lines if len(line) > 80]  # sentences, which a terminal wraps between words
    assert [line.split(":")[:2] for line in long[2:]] == [
        ["MODEL 1", " this model is usable"],
        ["MODEL 2", " this model is usable"],
    ]
    assert long[0].startswith("the second model's accuracy differs by +0.0 points (")
    assert long[1].startswith("of 16 images, both models are right on ")
    heading = next(line for line in lines if line.lstrip().startswith("CLASS"))
    assert len(heading.rstrip()) <= 68, "names of classes as long as `sunflowers` would not fit"


def test_min_accuracy_decides_by_the_lower_end(tiny_artifact: Path, digits: Path) -> None:
    accuracy, low = (
        read(eaves("evaluate", tiny_artifact, digits, "-o", "json"))["models"][0][name]
        for name in ("accuracy", "accuracy_interval_95")
    )
    assert eaves("evaluate", tiny_artifact, digits, "--min-accuracy", low[0] - 0.001).exit_code == 0
    failed = eaves("evaluate", tiny_artifact, digits, "--min-accuracy", (low[0] + accuracy) / 2)
    assert failed.exit_code == 1
    assert "below --min-accuracy" in failed.stderr


def test_three_models_and_no_model_are_refused(tiny_artifact: Path, digits: Path, tmp_path: Path) -> None:
    for arguments in ([tiny_artifact] * 3, [tmp_path]):
        result = CliRunner().invoke(cli, ["evaluate", *map(str, arguments), str(digits)])
        assert result.exit_code != 0
