"""Commands after a conversion of a model that others made; tests/docs/blocks runs those of docs/model.md#convert."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks.foreign_models import FOREIGN_MODELS
from tests.docs.blocks.pages import all_blocks

COMMAND = "eaves convert leaves.onnx --declare leaves.yaml"


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done


@pytest.mark.timeout(400)
def test_what_follows_a_conversion_asks_for_no_samples_and_no_training(tmp_path: Path) -> None:
    """`eaves init` before the conversion names `convert`; after it, `deploy`, which wants the function at once."""
    (declaration,) = [block for block in all_blocks() if block.marks.get("file") == "leaves.yaml"]
    FOREIGN_MODELS["leaves"](tmp_path)
    (tmp_path / "leaves.yaml").write_text(declaration.text)
    before = run("eaves init --name leaves", tmp_path)
    assert "describe leaves.onnx in a model.yaml, then `eaves convert leaves.onnx`" in before.stderr
    (tmp_path / "eaves.yaml").unlink()
    converted = run(COMMAND, tmp_path)
    unknown = "its accuracy is not known; eaves evaluate ARTIFACT DATA measures it on labelled images"
    assert converted.stderr.splitlines()[-1].endswith(unknown)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    after = run("eaves init --name leaves", tmp_path)
    assert after.stderr.strip() == "next: `eaves deploy`"
    run("eaves verify artifacts/leaves", tmp_path)
    deployed = run("eaves deploy", tmp_path)
    assert deployed.stdout.strip() == "leaves"
    assert "deployed; `eaves up` is not running here, so start it to run the function" in deployed.stderr
