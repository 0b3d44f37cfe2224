"""Text beside tables on a terminal of 80 columns: each word is whole, as in a pipe, and no line is longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from eaves.artifact import Quantisation, write_artifact
from eaves.artifact.store import LABELS
from tests.fakes.models.artifact import build_manifest, fill
from tests.terminals import run_on_terminal

REASON = "int8 lost at most 3.4 points of accuracy on 550 labelled images, and 3 are allowed; " * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an artifact whose reason and labels are long."""
    labels = ("a label of several words", "x" * 60)
    staging = fill(tmp_path / ".staging")
    (staging / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    found = Quantisation(asked="auto", reason=REASON)
    write_artifact(staging, tmp_path / "artifact", build_manifest(staging, labels=labels, quantisation=found))
    return tmp_path


@pytest.mark.parametrize("words", [("inspect", "artifact"), ("settings",), ("settings", "train")])
def test_every_word_is_whole_and_no_line_is_longer_than_the_terminal(words: tuple[str, ...], folder: Path) -> None:
    shown = run_on_terminal(*words, cwd=folder)
    command = [sys.executable, "-P", "-m", "eaves.cli", *words]
    piped = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if cell_len(line) > 80] == []
    assert max(map(cell_len, piped.splitlines())) > 80, "this would show nothing"
    assert sorted(shown.split()) == sorted(piped.split())
