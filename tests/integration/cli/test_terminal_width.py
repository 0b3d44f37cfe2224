"""Text beside tables on a terminal of 80 columns: each word is whole, as in a pipe, and no line is longer."""

import re
import tempfile
from pathlib import Path

import pytest
from PIL import Image
from rich.cells import cell_len

from tests.cli import EAVES
from tests.processes.commands import run_command
from tests.terminals import run_on_terminal


@pytest.mark.long("commands run as processes")
def test_every_word_is_whole_and_no_line_is_longer_than_the_terminal():
    with tempfile.TemporaryDirectory(prefix="eaves-") as name:  # a path that fits a line
        folder = Path(name)
        (folder / "in").mkdir()
        Image.new("RGB", (64, 64), "grey").save(folder / "in" / "1.png")
        words = ("sources", "try", "in", "--timeout", "60")
        shown = run_on_terminal(*words, cwd=folder)
        piped = run_command([*EAVES, *words], cwd=folder, check=True).stdout
    assert [line for line in shown.splitlines() if cell_len(line) > 80] == []
    assert max(map(cell_len, piped.splitlines())) > 80, "this would show nothing"
    assert list_words(shown) == list_words(piped)


def list_words(text: str) -> list[str]:
    """The words of an output in order, without that of the time that a trial took."""
    return re.sub(r"after [0-9.]+ s", "", text).split()
