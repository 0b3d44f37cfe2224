"""Temporary files of tests: in memory where this machine has room for them, and on a disk for tests marked `disk`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.disks import MEMORY, find_fault, run_on_disk


def find_fault_on_disk(folder: Path, size_mb: int, options: str = "rw") -> str:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from tests.disks import find_fault\n"
    code += "print(find_fault(Path.cwd()))"
    command = ["-c", code, str(Path(__file__).parents[3])]
    done = run_on_disk(command, folder, size_kb=size_mb * 1000, before=f"mount -o remount,{options} .")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_folder_that_is_missing_is_not_used(tmp_path: Path) -> None:
    assert find_fault(tmp_path / "shm") == f"there is no {tmp_path}/shm"


@pytest.mark.parametrize(
    ("size_mb", "options", "fault"),
    [
        (64, "rw", "has room for 0.1 GB only, less than 4"),
        (5000, "noexec", "no programs can be started from"),
        (5000, "rw", ""),
    ],
)
def test_room_and_options_of_the_mount_decide(tmp_path: Path, size_mb: int, options: str, fault: str) -> None:
    found = find_fault_on_disk(tmp_path, size_mb, options)
    if not fault and "this machine has a memory" in found:
        pytest.skip(found)
    assert (fault in found, bool(found)) == (True, bool(fault)), found


def test_temporary_files_of_child_processes_are_where_those_of_pytest_are(tmp_path: Path) -> None:
    if MEMORY not in tmp_path.parents:
        pytest.skip("temporary files aren't in memory; the first lines of pytest's output say why")
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(MEMORY)


@pytest.mark.disk
def test_a_test_of_what_a_disk_holds_has_its_files_on_one(tmp_path: Path) -> None:
    assert MEMORY not in tmp_path.parents
    assert list(tmp_path.iterdir()) == []
