"""A power cut at any moment: every acknowledged step is on the disk, and the next one as a whole or not at all."""

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.jepsen.killing import Forks
from tests.jepsen.power import TRACED, Disk, parse_calls
from tests.jepsen.steps import make_steps, play, read_state
from tests.syscalls import needs_strace

pytestmark = needs_strace


def cut_power(forks: Forks, folder: Path, seed: int, count: int, cuts: int) -> None:
    """Run a client once, and look at what the disk may hold at random moments of it."""
    ledger, chance = seed % 2 == 0, random.Random(seed)
    steps = make_steps(seed, count, ledger=ledger)
    made = folder / "made"
    made.mkdir()
    argument = {"path": str(made / "spool.db"), "journal": str(made / "journal"), "steps": steps, "ledger": ledger}
    options = ["-y", "-xx", "-s", "100000", "-e", f"trace={TRACED}", "-o", str(folder / "log")]
    assert forks.run("do_steps", argument, options) == 0
    calls = parse_calls((folder / "log").read_text(), made)
    moments = sorted(chance.randrange(1, len(calls) + 1) for _ in range(cuts))
    disk, made_calls = Disk(journal=str(made / "journal")), 0
    for number, moment in enumerate(moments):
        for call in calls[made_calls:moment]:
            disk.apply(call)
        made_calls = moment
        left = folder / str(number)
        left.mkdir()
        disk.cut(chance, left)
        done = disk.acknowledged
        found = read_state(left / "spool.db", ledger=ledger)
        expected = (play(steps[:done], ledger=ledger), play(steps[: done + 1], ledger=ledger))
        assert found in expected, f"a cut after call {moment}, {done} steps acknowledged"
        assert not list(left.glob("*damaged*")), "a power cut is no damage"
        shutil.rmtree(left)


@pytest.mark.long("a spool for each moment of a cut")
@pytest.mark.parametrize(
    ("seeds", "count", "cuts"),
    [((0, 1, 2), 14, 25), pytest.param(range(10, 30), 40, 500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
    ids=["some cuts", "thousands"],
)
def test_what_was_acknowledged_survives_a_power_cut(
    forks: Forks, memory_folder: Path, seeds: Iterable[int], count: int, cuts: int
):
    for seed in seeds:
        cut_power(forks, memory_folder, seed, count, cuts)
        shutil.rmtree(memory_folder / "made")
