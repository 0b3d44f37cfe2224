"""Without labelled images: an artifact is converted, named by `artifacts/latest`, inspected, verified and deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import ConfigError
from tests.fakes.models.sensors import write_sensors


def eaves(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="eaves")


def test_an_artifact_is_deployed_by_an_eaves_yaml_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
