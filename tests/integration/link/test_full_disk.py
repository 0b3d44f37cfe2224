"""A disk that is full, or that fails, at any write or sync of a client: what raised is done again, and nothing else."""

import random
import shutil
from pathlib import Path

import pytest

from tests.jepsen.killing import Forks, Kill
from tests.jepsen.steps import make_steps, play, read_state
from tests.syscalls import needs_strace

pytestmark = needs_strace
FAILURES = {"pwrite64": ("ENOSPC", "EIO", "EDQUOT"), "fdatasync": ("EIO", "ENOSPC"), "ftruncate": ("EIO", "ENOSPC")}
SAMPLE = 8


def check_failures(forks: Forks, folder: Path, seed: int, count: int, kill: Kill, chance: random.Random) -> bool:
    """Let some calls of a client fail and check the files that it made; return whether it got an error."""
    folder.mkdir()
    ledger = seed % 2 == 0
    steps = make_steps(seed, count, ledger=ledger)
    path, journal = folder / "spool.db", folder / "journal"
    argument = {"path": str(path), "journal": str(journal), "steps": steps, "ledger": ledger}
    error, most = chance.choice(FAILURES[kill[0]]), chance.choice((1, 2, 7))
    forks.fail_calls(kill, most, error, "do_steps_again", argument)
    assert read_state(path, ledger=ledger) == play(steps, ledger=ledger), f"{most} x {error} from {kill}"
    failed = bool(journal.read_text())
    shutil.rmtree(folder)
    return failed


def fail_clients(forks: Forks, folder: Path, seed: int, count: int, most: int | None) -> int:
    """Let calls of clients fail, at each write or at some of them; return how many clients got an error."""
    ledger, chance = seed % 2 == 0, random.Random(seed)
    steps = make_steps(seed, count, ledger=ledger)
    argument = {"path": str(folder / "whole.db"), "journal": str(folder / "j"), "steps": steps, "ledger": ledger}
    kills = [kill for kill in forks.list_kills("do_steps_again", argument, folder / "log") if kill[0] in FAILURES]
    chosen = kills if most is None else chance.sample(kills, most)
    return sum(check_failures(forks, folder / str(at), seed, count, kill, chance) for at, kill in enumerate(chosen))


@pytest.mark.long("a process for each failing call")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("count", "most"),
    [(12, SAMPLE), pytest.param(20, None, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
    ids=["some calls", "every call"],
)
def test_what_a_failing_disk_refused_is_done_again_and_nothing_twice(
    forks: Forks, memory_folder: Path, seed: int, count: int, most: int | None
):
    assert fail_clients(forks, memory_folder, seed, count, most) > (most or 200) // 2
