"""Examples whose commands run in `make test-slow`: their settings and programs, without a training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.cli import cli
from tests.docs.blocks.pages import ROOT


def run(folder: Path, *words: str) -> str:
    return subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("name", "labels"), [("classify", ["0", "1", "2", "3"]), ("embed", ["disc", "square", "stripes"])]
)
def test_its_photos_can_be_trained_on(
    name: str, labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(ROOT / "examples" / name, tmp_path / name))
    run(folder, "make_photos.py")
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(cli, ["data", "check", "-o", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found["classes"]) == labels
    assert int(found["judgement"].partition("%")[0]) > 95, "percent of the labels that the other images predict"


def test_nearest_prints_the_most_similar_image_of_each(tmp_path: Path) -> None:
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
