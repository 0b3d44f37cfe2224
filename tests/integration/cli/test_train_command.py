"""`eaves train` in a terminal's terms: what it prints when it is interrupted, and that this continues the run."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.inputs.parts import write_parts
from tests.waiting import wait_until
from trainer.run.run import checkpoints_beside

EAVES = (sys.executable, "-P", "-m", "eaves.cli")
STARTED_S = 240
"""Importing TensorFlow takes minutes while others train on the same two cores."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_parts(tmp_path / "photos" / "train", 8, side=32)
    write_parts(tmp_path / "photos" / "val", 4, seed=1, side=32)
    subprocess.run(
        [*EAVES, "init", "--name", "parts"], cwd=tmp_path, check=True, timeout=STARTED_S, capture_output=True
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_hint_of_an_interrupted_training_continues_it_as_printed(project: Path) -> None:
    flags = ("--arch", "small_cnn", "--epochs", "100", "--image-size", "16", "--checkpoint-s", "0.05")
    process = subprocess.Popen(
        [*EAVES, "train", *flags], cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: list((project / "runs").glob(".*.unfinished/checkpoints/latest.npz")) != [], timeout_s=STARTED_S)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=STARTED_S)
    assert process.returncode == 128 + signal.SIGINT, stderr
    hint = re.search(r"^try: eaves (train .*) continues the training$", stderr, re.MULTILINE)
    assert hint is not None, stderr
    typed = shlex.split(hint[1])
    run = project / typed[-1]
    with np.load(checkpoints_beside(run) / "latest.npz") as arrays:
        assert json.loads(arrays["meta"].tobytes())["epoch"] < 100
    # Another setting is refused by name, and leaves the run as it is.
    other = [*EAVES, *typed, "--epochs", "2"]
    refused = subprocess.run(other, cwd=project, capture_output=True, text=True, timeout=STARTED_S, check=False)
    assert refused.returncode == 78
    assert "train.epochs:" in refused.stderr
    assert "was started with 100 (got 2)" in refused.stderr
    done = subprocess.run([*EAVES, *typed], cwd=project, capture_output=True, text=True, timeout=STARTED_S, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^run parts-\S+, version \S+: this model .* on 9 held-out images \(95 % interval ", done.stderr, re.MULTILINE
    )
    assert (project / "runs" / "latest").readlink() == Path(run.name)
    config = json.loads((run / "config.json").read_text())["train"]
    assert (config["arch"], config["epochs"], config["image_size"]) == ("small_cnn", 100, 16)
    assert len(json.loads((run / "history.json").read_text())) == 100
