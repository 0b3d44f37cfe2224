"""A flapping link, and SIGKILL of relay and receiver at random moments: nothing is lost, doubled or out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jepsen.flapping import run

FAULTS = ("clocks", "relay", "receiver", "call", "silent kill")


@pytest.mark.timeout(280)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_300_events_all_arrive_once_and_both_ledgers_say_so(tmp_path: Path, seed: int) -> None:
    outcome = run(tmp_path, 300, seed, faults=FAULTS, pause_s=0.02)
    assert outcome.is_clean, outcome.line()
    assert outcome.kills == 5
