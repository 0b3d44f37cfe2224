"""The README's quick start, typed as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.inputs.artifacts import build_tiny_dataset

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.timeout(240)
def test_the_quick_start_ends_with_predictions() -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(block.splitlines()) <= 10
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder:
        photos = build_tiny_dataset(Path(folder) / "digits")
        photos.rename(Path(folder) / "photos")
        first, *_ = sorted(path.name for path in (Path(folder) / "photos").iterdir())
        (Path(folder) / "photos" / first).rename(Path(folder) / "photos" / "daisy")
        script = "set -eu\ntrap 'kill %1; wait' EXIT\n" + block.replace("eaves up &", "eaves up --port 0 &")
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EAVES_TRAIN_EPOCHS": "2",
        }
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"parity: probabilities of the (int8|fp32) model differ .* by at most \S+;", done.stderr)
    assert re.search(r"the artifact holds the (int8|fp32) model: int8 \w+", done.stderr)
    assert "image.captured.v1" in done.stdout
    assert "image.classified.v1" in done.stdout
    assert "removed flowers" in done.stderr
