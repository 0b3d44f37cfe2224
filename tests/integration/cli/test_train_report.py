"""`eaves train` prints the name of the run's folder beside the model's version."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.cli.commands.train import report_run
from trainer.run.run import open_run


def test_the_folder_and_the_version_are_both_named(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = open_run(tiny_run)
    report_run(run)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"run {tiny_run.name}, version {run.version}: ")
    assert printed.out == f"{tiny_run}\n"
