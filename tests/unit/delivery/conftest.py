"""The spool of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.spool import Spool
from tests.unit.delivery.harness import FROZEN


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", clock=FROZEN) as opened:
        yield opened
