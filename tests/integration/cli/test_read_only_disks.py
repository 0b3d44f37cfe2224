"""Commands on disks that are read-only or full: a message, exit code 74, no traceback, and nothing half-written."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import FILL, run_on_disk
from tests.fakes.models.graph import write_graph_artifact
from tests.fakes.models.sensors import write_sensors
from tests.inputs.parts import write_parts

pytestmark = pytest.mark.disk

STARTED_S = 250
"""Importing TensorFlow takes minutes while others train on the same two cores."""
EAVES = shlex.join([sys.executable, "-P", "-m", "eaves.cli"])
LIST = "find . -type f ! -name filler | sort"
"""Names what a command has left; FILL's own file is none of it."""
TRAIN = ("train", "--arch", "small_cnn", "--epochs", "1", "--image-size", "16")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Labelled photos on a disk that is neither full nor read-only."""
    write_parts(tmp_path / "photos" / "train", 4, side=32)
    write_parts(tmp_path / "photos" / "val", 2, seed=1, side=32)
    return tmp_path / "photos"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def init(photos: Path) -> str:
    return f"{EAVES} init --name parts --data {shlex.quote(str(photos))}"


def expect(done: subprocess.CompletedProcess[str], cause: str, left: list[str]) -> None:
    """The command ended as the documentation says, and left these files."""
    assert done.returncode == 74, done.stderr
    assert "error: the disk that holds" in done.stderr
    assert f"is {cause}" in done.stderr
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-len(left) :] == left if left else done.stdout == "", done.stdout


def test_init_on_a_read_only_disk(disk: Path) -> None:
    expect(run_on_disk(["-m", "eaves.cli", "init"], disk, read_only=True, after=LIST), "read-only", [])


def test_init_on_a_full_disk(disk: Path) -> None:
    expect(run_on_disk(["-m", "eaves.cli", "init"], disk, before=FILL, after=LIST), "full", [])


def test_train_on_a_read_only_disk(photos: Path, disk: Path) -> None:
    done = run_on_disk(
        ["-m", "eaves.cli", *TRAIN], disk, before=init(photos), read_only=True, after=LIST, timeout_s=STARTED_S
    )
    expect(done, "read-only", ["./eaves.yaml"])


@pytest.mark.parametrize("before", ["true", "mkdir -p runs/mine"])
def test_train_into_a_named_run_on_a_read_only_disk(photos: Path, disk: Path, before: str) -> None:
    done = run_on_disk(
        ["-m", "eaves.cli", *TRAIN, "--run", "runs/mine"], disk, before=f"{init(photos)}; {before}", read_only=True,
        after=LIST, timeout_s=STARTED_S,
    )  # fmt: skip
    expect(done, "read-only", ["./eaves.yaml"])


def test_train_on_a_full_disk(photos: Path, disk: Path) -> None:
    done = run_on_disk(
        ["-m", "eaves.cli", *TRAIN], disk, before=f"{init(photos)}; {FILL}", after=LIST, timeout_s=STARTED_S
    )
    expect(done, "full", ["./eaves.yaml"])


def test_convert_on_a_read_only_disk(tmp_path: Path, disk: Path) -> None:
    model = write_sensors(tmp_path / "model")
    command = ["-m", "eaves.cli", "convert", str(model), "--artifact", "artifacts/a"]
    done = run_on_disk(command, disk, before=f"{EAVES} init --name air", read_only=True, after=LIST, timeout_s=100)
    expect(done, "read-only", ["./eaves.yaml"])


def test_convert_on_a_full_disk(tmp_path: Path, disk: Path) -> None:
    model = write_sensors(tmp_path / "model")
    command = ["-m", "eaves.cli", "convert", str(model), "--artifact", "artifacts/a"]
    done = run_on_disk(command, disk, before=f"{EAVES} init --name air; {FILL}", after=LIST, timeout_s=100)
    expect(done, "full", ["./eaves.yaml"])


@pytest.mark.parametrize("cause", ["full", "read-only"])
def test_deploy_on_a_disk_without_room(tmp_path: Path, disk: Path, cause: str) -> None:
    artifact = write_graph_artifact(tmp_path / "colours").path
    command = ["-m", "eaves.cli", "deploy", str(artifact)]
    before = f"{EAVES} init --name colours; {FILL}"
    done = run_on_disk(command, disk, before=before, read_only=cause == "read-only", after=LIST)
    expect(done, cause, ["./eaves.yaml"])


@pytest.mark.parametrize("left_kb", [0, 4, 16, 40])
def test_up_on_a_full_disk(disk: Path, left_kb: int) -> None:
    before = f"dd if=/dev/zero of=left bs=1k count={left_kb}; {FILL}; rm left"
    expect(run_on_disk(["-m", "eaves.cli", "up", "--port", "0", "--state", ".eaves"], disk, before=before), "full", [])


@pytest.mark.parametrize("before", ["true", "mkdir -m 700 .eaves"])
def test_up_on_a_read_only_disk(disk: Path, before: str) -> None:
    done = run_on_disk(
        ["-m", "eaves.cli", "up", "--port", "0", "--state", ".eaves"], disk, before=before, read_only=True
    )
    expect(done, "read-only", [])


def test_a_state_directory_on_a_full_disk(tmp_path: Path, disk: Path) -> None:
    """The disk that is named is the state directory's, not the current folder's."""
    command = ["-c", "import os, sys; os.chdir('/'); from eaves.cli import main; main()"]
    done = run_on_disk([*command, "up", "--port", "0", "--state", str(disk / "state")], disk, before=FILL)
    expect(done, "full", [])
    assert f"the disk that holds {disk}/state" in done.stderr
