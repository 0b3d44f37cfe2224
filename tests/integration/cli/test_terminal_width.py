"""Text beside tables on a terminal of 80 columns: each word is whole, as in a pipe, and no line is longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.terminals import run_on_terminal


@pytest.mark.parametrize("words", [("settings",), ("settings", "train")])
def test_every_word_is_whole_and_no_line_is_longer_than_the_terminal(words: tuple[str, ...], tmp_path: Path) -> None:
    shown = run_on_terminal(*words, cwd=tmp_path)
    command = [sys.executable, "-P", "-m", "eaves.cli", *words]
    piped = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if cell_len(line) > 80] == []
    assert max(map(cell_len, piped.splitlines())) > 80, "this would show nothing"
    assert sorted(shown.split()) == sorted(piped.split())
