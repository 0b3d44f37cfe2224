"""A spool in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.spool import Spool
from tests.fakes.clock import FrozenClock
from tests.unit.spool.entries import NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with Spool(path, clock=FrozenClock(NOW)) as opened:
        yield opened
