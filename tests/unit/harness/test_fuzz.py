"""The fuzzer finds what is wrong, and a few thousand inputs of it find nothing."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.run import Fuzzer
from tests.fuzz.targets import Attempt, build_makers

COUNT = 4_000


def test_a_few_thousand_inputs_find_nothing(tmp_path: Path):
    fuzzer = Fuzzer(2, tmp_path / "findings", build_makers(tmp_path))
    assert [finding for finding in map(fuzzer.attempt, range(COUNT)) if finding] == []


def fail() -> None:
    raise ZeroDivisionError("oh")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spend() -> None:
    assert b"x" * 150_000_000


@pytest.mark.parametrize(
    ("run", "reason", "kept"),
    [(fail, "ZeroDivisionError: oh", True), (die, "ended the process with -9", False), (spend, " MB", False)],
)
def test_what_is_wrong_is_found(run: Callable[[], object], reason: str, kept: bool, tmp_path: Path):
    fuzzer = Fuzzer(0, tmp_path, [lambda chance: Attempt(b"input", run)])
    (finding,) = fuzzer.batch(5, 1)
    assert reason in finding.reason
    assert finding.number == 5
    if kept:
        assert (tmp_path / finding.file).read_bytes() == b"input"
