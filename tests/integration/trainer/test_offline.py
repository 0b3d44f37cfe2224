"""The default architecture is trained where every connection is refused, and its features know what photos show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inputs.parts import write_parts
from trainer.model.efficientnet_lite import LITE0_WEIGHTS
from trainer.run.run import open_run
from trainer.tensorflow_notices import ENVIRONMENT

ROOT = Path(__file__).parents[3]

OFFLINE = """
import runpy, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"no network here: {event} {arguments[1:]}")

sys.addaudithook(refuse)
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    assert "no network here" in str(error), error
runpy.run_module("trainer", run_name="__main__", alter_sys=True)
"""
"""Program that runs the trainer in a process whose connections and look-ups of names fail."""


@pytest.mark.timeout(600)
def test_training_needs_no_network(tmp_path: Path) -> None:
    photos = write_parts(tmp_path / "photos", 10, classes=("ok", "dent"), side=96)
    words = ["--path", str(photos), "--output", str(tmp_path / "run"), "--epochs", "20"]
    environ = {**os.environ, **ENVIRONMENT, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", OFFLINE, *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "run")
    assert (run.arch, run.mode, run.selection["scale"]) == (
        "efficientnet_lite0",
        "frozen",
        "lite",
    )
    assert "accuracy (95 % interval)" in done.stderr, "the table of what was selected"
    assert (run.recipe.multiply, run.recipe.add) == (1 / 128, -127 / 128)
    assert run.weights["file_sha256"] == LITE0_WEIGHTS.sha256
    assert run.weights["licence"] == "Apache-2.0"
    assert not (tmp_path / ".keras/models").exists()
