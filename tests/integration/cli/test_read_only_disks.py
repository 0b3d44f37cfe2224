"""Commands on disks that are read-only or full: a message, exit code 74, no traceback, and nothing half-written."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli import EAVES
from tests.disks import FILL, run_on_disk
from tests.fakes.models.graph import write_graph_artifact
from tests.fakes.models.sensors import write_sensors
from tests.inputs.parts import write_parts

pytestmark = pytest.mark.disk

STARTED_S = 250
"""Importing TensorFlow takes minutes while others train on the same two cores."""
COMMAND = shlex.join(EAVES)
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


def run(disk: Path, cause: str, words: tuple[str, ...], *, before: str = "true") -> subprocess.CompletedProcess[str]:
    """Run an `eaves` command on a disk that is full or read-only after `before`; then list what is there."""
    before = f"{before}; {FILL}" if cause == "full" else before
    command = ["-m", "eaves.cli", *words]
    return run_on_disk(command, disk, before=before, read_only=cause == "read-only", after=LIST, timeout_s=STARTED_S)


def expect(done: subprocess.CompletedProcess[str], cause: str, *left: str) -> None:
    """The command ended as the documentation says, and left these files."""
    assert done.returncode == 74, done.stderr
    assert "error: the disk that holds" in done.stderr
    assert f"is {cause}" in done.stderr
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-max(len(left), 1) :] == [*left], done.stdout


@pytest.mark.parametrize("cause", ["full", "read-only"])
def test_init(disk: Path, cause: str):
    expect(run(disk, cause, ("init",)), cause)


@pytest.mark.long("a training begins on each disk")
def test_train_on_a_full_disk(photos: Path, disk: Path):
    before = f"{COMMAND} init --name parts --data {shlex.quote(str(photos))}; mkdir -p runs/mine"
    expect(run(disk, "full", TRAIN, before=before), "full", "./eaves.yaml")


def test_convert_on_a_read_only_disk(tmp_path: Path, disk: Path):
    words = ("convert", str(write_sensors(tmp_path / "model")), "--artifact", "artifacts/a")
    expect(run(disk, "read-only", words, before=f"{COMMAND} init --name air"), "read-only", "./eaves.yaml")


@pytest.mark.parametrize("cause", ["full", "read-only"])
def test_deploy(tmp_path: Path, disk: Path, cause: str):
    artifact = write_graph_artifact(tmp_path / "colours").path
    done = run(disk, cause, ("deploy", str(artifact)), before=f"{COMMAND} init --name colours; {FILL}")
    expect(done, cause, "./eaves.yaml")


UP = ["-m", "eaves.cli", "up", "--port", "0", "--state"]


@pytest.mark.parametrize("left_kb", [0, 40])
def test_up_on_a_full_disk(disk: Path, left_kb: int):
    before = f"dd if=/dev/zero of=left bs=1k count={left_kb}; {FILL}; rm left"
    expect(run_on_disk([*UP, ".eaves"], disk, before=before), "full")


@pytest.mark.parametrize("before", ["true", "mkdir -m 700 .eaves"])
def test_up_on_a_read_only_disk(disk: Path, before: str):
    expect(run_on_disk([*UP, ".eaves"], disk, before=before, read_only=True), "read-only")


def test_the_disk_that_is_named_is_the_state_directorys(tmp_path: Path, disk: Path):
    command = ["-c", "import os, sys; os.chdir('/'); from eaves.cli import main; main()", *UP[2:]]
    done = run_on_disk([*command, str(disk / "state")], disk, before=FILL)
    expect(done, "full")
    assert f"the disk that holds {disk}/state" in done.stderr


@pytest.mark.long("a training for each size of disk")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size_kb", [1024, 3300])
def test_a_trainer_on_a_full_disk(photos: Path, disk: Path, size_kb: int):
    """The smaller disk has no room for a checkpoint, the larger one none for the model."""
    command = ["-m", "trainer", "--path", str(photos), *TRAIN[1:], "--output", "run"]
    done = run_on_disk(command, disk, size_kb=size_kb, timeout_s=STARTED_S)
    assert done.returncode == 74, done.stderr
    assert "error: the disk that holds" in done.stderr
    assert "Traceback" not in done.stderr
