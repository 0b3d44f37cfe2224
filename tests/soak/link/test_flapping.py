"""20 runs of 5,000 events over a flapping link, with SIGKILL of relay and receiver."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.jepsen.flapping import FAULTS, run


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_5000_events_all_arrive_once_and_both_ledgers_say_so(tmp_path: Path, seed: int) -> None:
    outcome = run(tmp_path, 5_000, seed, faults=FAULTS * 2)
    assert outcome.is_clean, outcome.line()
    shutil.rmtree(tmp_path / "relay")
    shutil.rmtree(tmp_path / "receiver")
