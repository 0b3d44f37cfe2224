"""Complete settings: what a Job tells is what its process takes, and nothing of its own."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from converters.__main__ import main as convert
from eaves.config import build
from eaves.config.complete import collect_settings, parse_complete, render_complete
from eaves.errors import ConfigError
from trainer.__main__ import main as train
from trainer.settings import DataSettings, TrainSettings

SECTIONS = {"data": DataSettings, "train": TrainSettings}
DATA = DataSettings(path="s3://photos/flowers", group_by="name:$(part)_", allowed_prefixes=("s3://photos",))
TRAIN = TrainSettings(epochs=7, seed=2, val_fraction=0.25, mirror=False)


def reported(**changes: dict[str, object]) -> str:
    sections = {"data": collect_settings(DATA), "train": collect_settings(TRAIN)}
    return render_complete({**sections, **changes})


def test_what_is_reported_is_what_is_taken():
    layers = parse_complete(reported(), SECTIONS)
    assert build(TrainSettings, *layers["train"]) == TRAIN
    taken = build(DataSettings, *layers["data"])
    assert replace(taken, path=str(taken.path)) == DATA


def test_a_setting_of_another_version_is_refused_with_this_ones_number():
    newer = {**collect_settings(TRAIN), "distil": "teacher"}
    older = {name: value for name, value in newer.items() if name not in ("mirror", "distil")}
    with pytest.raises(ConfigError, match=r"--settings: train\.distil: is not known to Eaves \d+\.\d+\.\d+") as known:
        parse_complete(reported(train=newer), SECTIONS)
    assert "knative.trainer_image" in str(known.value.hint)
    with pytest.raises(ConfigError, match=r"--settings: train\.mirror: is missing for Eaves \d+\.\d+\.\d+"):
        parse_complete(reported(train=older), SECTIONS)
    with pytest.raises(ConfigError, match=r"--settings: distil\.teacher: is not known to"):
        parse_complete(reported(distil={"teacher": "x"}), SECTIONS)


def test_what_an_event_names_may_be_missing():
    by_event = reported(data=collect_settings(DATA, without=("path",)))
    assert "path" not in parse_complete(by_event, SECTIONS, without=("data.path",))["data"][0].values
    with pytest.raises(ConfigError, match=r"data\.path: is missing"):
        parse_complete(by_event, SECTIONS)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_what_is_no_sections_is_refused(text: str):
    with pytest.raises(ConfigError, match="--settings"):
        parse_complete(text, SECTIONS)


def test_the_conversion_refuses_what_it_does_not_know():
    done = CliRunner().invoke(convert, ["run", "--output=artifact", f"--settings={json.dumps({'convert': {'x': 1}})}"])
    assert isinstance(done.exception, ConfigError)
    assert "convert.x" in str(done.exception)


def test_the_trainer_takes_all_of_it_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    """An event's data is allowed by what the Job tells, and a wrong setting is found in either place."""
    monkeypatch.setenv("EAVES_TRAIN_SEED", "many")
    wrong = reported(train={**collect_settings(TRAIN), "epochs": -1})
    done = CliRunner().invoke(train, ["--output=run", f"--settings={wrong}"])
    assert isinstance(done.exception, ConfigError)
    faults = {(fault.origin, fault.path) for fault in done.exception.faults}
    assert faults == {("--settings", "epochs"), ("environment variable EAVES_TRAIN_SEED", "seed")}
