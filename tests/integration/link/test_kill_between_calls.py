"""SIGKILL before system calls of put, peek, ack, retry, dead letter and salvage: a step is done whole or not at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jepsen.killing import Forks, forking
from tests.jepsen.steps import Model, make_steps, read_state
from tests.syscalls import needs_strace

pytestmark = needs_strace
SAMPLE = 25
"""Kills of one seed in the short form; the long one makes all."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with forking() as process:
        yield process


def list_kills(forks: Forks, function: str, argument: dict[str, Any], log: Path) -> list[tuple[str, int]]:
    calls = forks.count_calls(function, argument, log)
    return [(call, number) for call, most in sorted(calls.items()) for number in range(1, most + 1)]


def check_kill(forks: Forks, folder: Path, seed: int, count: int, kill: tuple[str, int]) -> None:
    """Kill a client; look at what is left; let the next client finish the steps; look again."""
    folder.mkdir()
    path, journal = folder / "spool.db", folder / "journal"
    steps = make_steps(seed, count)
    argument = {"path": str(path), "journal": str(journal), "steps": steps}
    assert forks.kill_before(*kill, "do_steps", argument)
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    before, after = Model(), Model()
    for step in steps[:done]:
        before.apply(step)
    for step in steps[: done + 1]:
        after.apply(step)
    found = read_state(path)
    assert found in {before.state(), after.state()}, f"{kill} in step {done}: {steps[done : done + 1]}"
    if found == after.state() and done < len(steps):
        with journal.open("a") as stream:
            stream.write("it was done and not acknowledged\n")
    assert forks.run("do_steps", argument, ["-e", "trace=none", "-o", "/dev/null"]) == 0
    whole = Model()
    for step in steps:
        whole.apply(step)
    assert read_state(path) == whole.state()


def kill_at_each(forks: Forks, folder: Path, seed: int, count: int, most: int | None) -> int:
    argument = {"path": str(folder / "whole.db"), "journal": str(folder / "whole"), "steps": make_steps(seed, count)}
    kills = list_kills(forks, "do_steps", argument, folder / "log")
    chosen = kills if most is None else random.Random(seed).sample(kills, most)
    for number, kill in enumerate(chosen):
        check_kill(forks, folder / str(number), seed, count, kill)
    return len(chosen)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_step_is_done_or_not_whatever_call_the_client_is_killed_before(
    forks: Forks, memory_folder: Path, seed: int
) -> None:
    kill_at_each(forks, memory_folder, seed, 12, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_step_is_done_or_not_before_every_call(forks: Forks, memory_folder: Path, seed: int) -> None:
    assert kill_at_each(forks, memory_folder, seed, 20, None) > 100
