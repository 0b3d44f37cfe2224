"""A script of commands can run again when nothing has changed, and needs no labelled images."""

import shutil
from pathlib import Path

import pytest

from eaves.errors import ArtifactError, ConfigError
from tests.cli import eaves
from tests.fakes.models.sensors import write_sensors
from trainer.run.run import open_run


def test_convert_and_deploy_work_again_and_tell_what_the_run_is_worth(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("eaves.yaml").write_text("name: digits\nconvert: {precision: fp32}\n")
    shutil.copytree(tiny_run, "runs/one")
    shutil.copytree(tiny_run.parent / "artifact", "artifacts/one")
    shutil.copy(tiny_run.parent / "artifact.settings.json", "artifacts/one.settings.json")
    made = eaves("convert")
    assert (made.exit_code, Path(made.stdout.strip())) == (0, tmp_path / "artifacts/one"), made.output
    assert "already converted: " in made.stderr
    assert "the artifact holds the fp32 model" in made.stderr
    assert made.stderr.splitlines()[-1].partition(": ")[2] == open_run(tiny_run).verdict["text"]
    for _ in range(2):
        assert eaves("deploy").stdout == "digits\n"
    assert eaves("convert", "runs/one", "--artifact", "artifacts/one", "--precision", "fp32").exit_code == 0
    refused = eaves("convert", "--golden", "1")
    assert isinstance(refused.exception, ArtifactError)
    assert "already exists" in str(refused.exception)


def test_an_artifact_is_deployed_by_an_eaves_yaml_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("eaves.yaml").write_text("name: air\n")
    for name in ("one", "two"):
        made = eaves("convert", write_sensors(tmp_path / name), "--artifact", f"artifacts/{name}")
        assert made.exit_code == 0, made.output
        assert Path("artifacts/latest").readlink() == Path(name)
    assert eaves("inspect", "artifacts/latest").exit_code == 0
    assert "10 golden images are reproduced" in eaves("verify", "artifacts/latest").stderr
    assert eaves("deploy", "artifacts/latest").stdout == "air\n"
    assert str(tmp_path / "artifacts" / "two") in next(Path(".eaves/specs").glob("air*.json")).read_text()
    assert eaves("deploy").stdout == "air\n"
    refused = eaves("convert", write_sensors(tmp_path / "three"), "--artifact", "artifacts/latest").exception
    assert isinstance(refused, ConfigError)
    error = eaves("train").exception
    assert isinstance(error, ConfigError)
    assert str(error) == "eaves.yaml: data.path: is required"
