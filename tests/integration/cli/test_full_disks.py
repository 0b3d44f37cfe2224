"""Full disks, really full: a conversion and a training end with 74 and say which disk it is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.disks import run_on_disk
from tests.fakes.models.sensors import write_sensors
from tests.inputs.parts import write_parts

pytestmark = pytest.mark.disk

STARTED_S = 300
"""Importing TensorFlow takes minutes while others train on the same two cores."""


@pytest.mark.parametrize("left_kb", [0, 8, 24])
def test_a_conversion_on_a_full_disk(tmp_path: Path, left_kb: int) -> None:
    model = write_sensors(tmp_path / "model")
    disk = tmp_path / "disk"
    disk.mkdir()
    eaves = shlex.join([sys.executable, "-P", "-m", "eaves.cli"])
    before = (
        f"{eaves} init --name air && dd if=/dev/zero of=left bs=1k count={left_kb} && "
        "(dd if=/dev/zero of=filler bs=1k; rm left)"
    )
    command = ["-m", "eaves.cli", "convert", str(model), "--artifact", "a"]
    done = run_on_disk(command, disk, before=before, timeout_s=100)
    assert done.returncode == 74, done.stderr
    assert "error: the disk that holds" in done.stderr
    assert "is full" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size_kb", [1024, 3300])
def test_a_training_on_a_full_disk(tmp_path: Path, size_kb: int) -> None:
    """The smaller disk has no room for a checkpoint, the larger one none for the model."""
    write_parts(tmp_path / "photos" / "train", 4, side=32)
    write_parts(tmp_path / "photos" / "val", 2, seed=1, side=32)
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["--arch", "small_cnn", "--epochs", "1", "--image-size", "16", "--output", "run"]
    command = ["-m", "trainer", "--path", str(tmp_path / "photos"), *options]
    done = run_on_disk(command, disk, size_kb=size_kb, timeout_s=STARTED_S)
    assert done.returncode == 74, done.stderr
    assert "error: the disk that holds" in done.stderr
    assert "is full" in done.stderr
    assert "Traceback" not in done.stderr
