"""What the tests of injected faults share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jepsen.killing import Forks, forking

MEMORY = Path("/dev/shm")


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the machine has one: what SIGKILL leaves is the same there, and it is faster."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="eaves-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with forking() as process:
        yield process
