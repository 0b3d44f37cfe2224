"""SIGKILL before any system call of a client of the spool: a step is done as a whole or not at all.

The short forms make some of the kills, chosen by a seed; the long ones, which are `slow`, make all.
"""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from eaves.spool import Spool
from tests.jepsen.clients import read_damaged
from tests.jepsen.damage import zero_page
from tests.jepsen.killing import Forks, Kill
from tests.jepsen.steps import LANES, make_event, make_steps, play, read_state
from tests.syscalls import needs_strace

pytestmark = needs_strace
SAMPLE = 10
"""Kills of one seed in a short form."""
COUNT = 30
EVERY_CALL = [pytest.mark.slow, pytest.mark.timeout(1800)]


def check_kill(forks: Forks, folder: Path, seed: int, count: int, kill: Kill) -> None:
    """Kill a client; look at what is left; let the next client finish the steps; look again."""
    folder.mkdir()
    path, journal, ledger = folder / "spool.db", folder / "journal", seed % 2 == 0
    steps = make_steps(seed, count, ledger=ledger)
    argument = {"path": str(path), "journal": str(journal), "steps": steps, "ledger": ledger}
    assert forks.kill_before(kill, "do_steps", argument)
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    found = read_state(path, ledger=ledger)
    before, after = play(steps[:done], ledger=ledger), play(steps[: done + 1], ledger=ledger)
    assert found in (before, after), f"{kill} in step {done}: {steps[done : done + 1]}"
    if found == after and done < len(steps):
        with journal.open("a") as stream:
            stream.write("it was done and not acknowledged\n")
    assert forks.run("do_steps", argument) == 0
    assert read_state(path, ledger=ledger) == play(steps, ledger=ledger)
    shutil.rmtree(folder)


def kill_clients(forks: Forks, folder: Path, seed: int, count: int, most: int | None) -> int:
    """Kill a client before each of its calls, or before some of them; returns how many."""
    argument = {
        "path": str(folder / "whole.db"),
        "journal": str(folder / "whole"),
        "steps": make_steps(seed, count, ledger=seed % 2 == 0),
        "ledger": seed % 2 == 0,
    }
    kills = forks.list_kills("do_steps", argument, folder / "log")
    chosen = kills if most is None else random.Random(seed).sample(kills, most)
    for number, kill in enumerate(chosen):
        check_kill(forks, folder / str(number), seed, count, kill)
    return len(chosen)


def make_damaged(folder: Path) -> Path:
    """A spool of which the index that finds entries is destroyed."""
    path = folder / "damaged.db"
    with Spool(path) as spool:
        spool.put_many([(make_event(f"e{number}"), LANES) for number in range(COUNT)])
        root = spool.database().read("SELECT rootpage FROM sqlite_master WHERE name = 'by_due'")[0][0]
    zero_page(path, root)
    return path


def copy_spool(path: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    shutil.copyfile(path, folder / "spool.db")
    return {"path": str(folder / "spool.db")}


def check_killed_salvage(forks: Forks, path: Path, folder: Path, kill: Kill) -> None:
    """Kill a process that replaces a damaged file; the next one finds every event."""
    argument = copy_spool(path, folder)
    assert forks.kill_before(kill, "open_damaged", argument)
    with Spool(folder / "spool.db") as spool:
        read_damaged(spool)
        for lane in LANES:
            assert [entry.event for entry in spool.peek(lane, limit=99)] == [
                make_event(f"e{number}") for number in range(COUNT)
            ]
    names = {file.name for file in folder.iterdir() if file.suffix != ".lease" and "damaged" not in file.name}
    assert names == {"spool.db"}, "nothing of the salvage is left behind"
    shutil.rmtree(folder)


@pytest.mark.long("a process for each call")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("count", "most"), [(12, SAMPLE), pytest.param(20, None, marks=EVERY_CALL)])
def test_a_step_is_done_or_not_whatever_call_the_client_is_killed_before(
    forks: Forks, memory_folder: Path, seed: int, count: int, most: int | None
):
    assert kill_clients(forks, memory_folder, seed, count, most) > (100 if most is None else 0)


@pytest.mark.parametrize("every_call", [False, pytest.param(True, marks=EVERY_CALL)])
def test_a_damaged_file_is_replaced_whatever_call_the_salvage_is_killed_before(
    forks: Forks, memory_folder: Path, every_call: bool
):
    path = make_damaged(memory_folder)
    kills = forks.list_kills("open_damaged", copy_spool(path, memory_folder / "whole"), memory_folder / "log")
    renames = [kill for kill in kills if kill[0] in {"rename", "fsync"}]
    chosen = kills if every_call else [*renames, *random.Random(0).sample(kills, SAMPLE // 3)]
    for number, kill in enumerate(chosen):
        check_killed_salvage(forks, path, memory_folder / str(number), kill)
