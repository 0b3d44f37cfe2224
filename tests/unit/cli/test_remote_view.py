"""How a training in a cluster looks here: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eaves.cli.cluster.remote_training import JobView
from knative.training.job_follower import LogLine
from trainer.progress import Step


class Recorder:
    """A progress that records its calls."""

    def __init__(self) -> None:
        self.reported: list[str] = []

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        self.reported.append(f"open {title} {total}")
        yield lambda count=1, note="": self.reported.append(f"+{count} {note}".strip())
        self.reported.append(f"close {title}")


LINES = [
    LogLine(text="Reading: 2 to do", phase="Reading", total=2),
    LogLine(text="Reading: all 2", phase="Reading", done=2, total=2),
    LogLine(text="a word"),
    LogLine(text="Training: 3 of 9", phase="Training", done=3, total=9, note="loss 1"),
    LogLine(text="Training: 5 of 9", phase="Training", done=5, total=9),
]


def test_on_a_terminal_phases_are_bars_that_words_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    with JobView(recorder, bars=True) as view:
        for line in LINES:
            view.show(line)
    assert recorder.reported == [
        "open Reading 2", "+0", "+2", "close Reading", "open Training 9", "+3 loss 1", "+2", "close Training",
    ]  # fmt: skip
    assert capsys.readouterr().err == "a word\n"


def test_elsewhere_every_line_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    with JobView(recorder, bars=False) as view:
        for line in LINES:
            view.show(line)
    assert recorder.reported == []
    assert capsys.readouterr().err.splitlines() == [line.text for line in LINES]
