"""The disks of tests: memory for temporary files, and disks that are full or read-only, mounted for one command."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from eaves.resource_limits import read_memory_limit

MEMORY = Path("/dev/shm")
DISK = Path("/var/tmp")
"""Temporary files on a disk; /tmp is in memory on many machines. Source: Filesystem Hierarchy Standard 3.0, 5.15."""
MIN_FREE_BYTES = 4_000_000_000
"""Room that a folder in memory must have; the largest test has 0.3 GB there at a time, and each process runs one."""
MIN_MEMORY_BYTES = 3 * MIN_FREE_BYTES
"""Memory that the machine or the container must have; each process of a run takes a gigabyte, as a training does."""


def find_fault(folder: Path) -> str:
    """Say why temporary files can't be in a folder in memory; empty when they can.

    A container has 64 MB there by default, macOS has no such folder, and tests that write scripts can't run where no
    programs may be started.
    """
    if not folder.is_dir():
        return f"there is no {folder}"
    status = os.statvfs(folder)
    if status.f_flag & os.ST_NOEXEC:
        return f"no programs can be started from {folder}"
    for what, size, least in (
        (f"{folder} has room for", status.f_bavail * status.f_frsize, MIN_FREE_BYTES),
        ("this machine has a memory of", read_memory_limit(), MIN_MEMORY_BYTES),
    ):
        if size < least:
            return f"{what} {size / 1e9:.1f} GB only, less than {least / 1e9:.0f}"
    return "" if os.access(folder, os.W_OK) else f"{folder} can't be written"


@cache
def can_mount() -> bool:
    """Whether this machine lets us mount in a namespace of our own."""
    try:
        done = subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            check=False,
            timeout=30,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def run_on_disk(
    command: Sequence[str], folder: Path, *, size_kb: int = 1024, before: str = "true", read_only: bool = False,
    after: str = "true", timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a command of this Python while a small disk of its own is mounted at a folder.

    Args:
        command: Arguments of the interpreter, `-m eaves.cli init` for instance.
        folder: It exists; its own files are hidden meanwhile.
        size_kb: Size of the disk, KB.
        before: Shell command that is run in the folder first, to put files there.
        after: Shell command that is run in the folder afterwards; its output follows the command's own.
        read_only: Whether the disk is read-only when the command runs.
        timeout_s: Seconds after which the test fails.
    """
    if not can_mount():
        pytest.skip("mounting a tmpfs needs root and unshare(1)")
    place = shlex.quote(str(folder))
    steps = [f"mount -t tmpfs -o size={size_kb}k tmpfs {place}", f"cd {place}", f"( {before} )"]
    if read_only:
        steps.append(f"mount -o remount,ro {place}")
    run = shlex.join([sys.executable, "-P", *command])
    steps.append(f"cd {place} && {{ {run}; code=$?; ( {after} ); exit $code; }}")
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", " && ".join(steps)],
        capture_output=True, text=True, check=False, timeout=timeout_s, cwd=folder.parent,
    )  # fmt: skip


FILL = "dd if=/dev/zero of=filler bs=1k 2>/dev/null; true"
"""Fills the disk to the last block."""
