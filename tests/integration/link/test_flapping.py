"""A flapping link, and SIGKILL of relay and receiver at random moments: nothing is lost, doubled or out of order."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.jepsen.flapping import FAULTS, run

SOME = ("clocks", "relay", "receiver", "call", "silent kill")


@pytest.mark.long("links are cut again and again")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("seeds", "events", "faults"),
    [
        ((0, 1), 300, SOME),
        pytest.param(range(20), 5_000, FAULTS * 2, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
    ids=["300", "5,000"],
)
def test_events_all_arrive_once_and_both_ledgers_say_so(
    tmp_path: Path, seeds: Sequence[int], events: int, faults: Sequence[str]
):
    for seed in seeds:
        (tmp_path / str(seed)).mkdir()
        outcome = run(tmp_path / str(seed), events, seed, faults=faults)
        assert outcome.is_clean, outcome.line()
        assert outcome.kills == 5 or faults != SOME
        shutil.rmtree(tmp_path / str(seed))
