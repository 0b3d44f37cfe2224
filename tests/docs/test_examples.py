"""A program of an example whose commands run in `make test-slow`."""

import json
import sys
from pathlib import Path

from tests.docs.blocks.pages import ROOT
from tests.processes.commands import run_command


def run(folder: Path, *words: str) -> str:
    return run_command([sys.executable, *words], cwd=folder, check=True).stdout


def test_nearest_prints_the_most_similar_image_of_each(tmp_path: Path):
    """Similar is what has a small angle between its vectors; their lengths don't matter."""
    vectors = {"a.png": [1.0, 0.1], "b.png": [20.0, 1.0], "c.png": [0.1, 3.0]}
    answers = [{"image": name, "event": {"data": {"embedding": vector}}} for name, vector in vectors.items()]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    printed = run(tmp_path, str(ROOT / "examples/embed/nearest.py"), "answers.json").splitlines()
    assert [line.rpartition(" (")[0] for line in printed] == [
        "a.png is like b.png",
        "b.png is like a.png",
        "c.png is like a.png",
    ]
