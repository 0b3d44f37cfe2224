"""A script of commands can run again when nothing has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import ArtifactError
from trainer.run.run import open_run


def eaves(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="eaves")


def test_convert_and_deploy_work_twice_and_tell_what_the_run_is_worth(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eaves.yaml").write_text("name: digits\nconvert: {precision: fp32}\n")
    shutil.copytree(tiny_run, "runs/one")
    worth = open_run(tiny_run).verdict["text"]
    for said in ("", "already converted: "):
        made = eaves("convert")
        assert (made.exit_code, Path(made.stdout.strip())) == (0, tmp_path / "artifacts/one"), made.output
        assert said in made.stderr
        assert "the artifact holds the fp32 model" in made.stderr
        assert made.stderr.splitlines()[-1].partition(": ")[2] == worth
        assert eaves("deploy").stdout == "digits\n"
    assert eaves("convert", "runs/one", "--artifact", "artifacts/one", "--precision", "fp32").exit_code == 0
    refused = eaves("convert", "--golden", "1")
    assert isinstance(refused.exception, ArtifactError)
    assert "already exists" in str(refused.exception)
