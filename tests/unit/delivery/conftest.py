"""The spools of these tests: a date that stands still, and one that passes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.spool import Spool
from tests.unit.delivery.harness import FROZEN


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", clock=FROZEN) as opened:
        yield opened


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db") as opened:
        yield opened
