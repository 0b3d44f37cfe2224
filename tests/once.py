"""What is too expensive to build twice, built once for all worker processes of one run of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Path]) -> Path:
    """Build something that tests only read; workers that need it meanwhile wait for it.

    Args:
        factory: That of pytest.
        name: Names the thing among all that are built so.
        build: Builds it below the folder that it is given, which is empty, and returns its path.

    Returns:
        What `build` returned, in this process or in another.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # the folder of a worker lies in the one of the whole run
    folder, result = run / name, run / f"{name}.path"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a build that failed
            folder.mkdir()
            result.write_text(str(build(folder)), encoding="utf-8")
    return Path(result.read_text(encoding="utf-8"))
