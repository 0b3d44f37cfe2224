"""Shows the progress of a training: as a bar on a terminal, as log lines elsewhere, and not at all in tests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

LOG_EVERY_S = 10.0
"""Seconds between log lines of one phase, so that a Job's log stays readable over a night."""

Step = Callable[..., None]
"""`step(count=1, note="")` adds finished steps; the note (`loss 0.31`) replaces the previous one."""

_logger = logging.getLogger(__name__)


class TrainingProgress(Protocol):
    """Receives the phases of a training and their steps."""

    def phase(self, title: str, total: int) -> AbstractContextManager[Step]:
        """Enter a phase of `total` steps."""
        ...


class SilentProgress:
    """Implementation of TrainingProgress that shows nothing."""

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase of `total` steps."""
        yield lambda count=1, note="": None


SILENT = SilentProgress()


class LoggedProgress:
    """Implementation of TrainingProgress that logs each phase: at its start, at its end and every `LOG_EVERY_S`.

    In JSON, the log lines have the fields `phase`, `done`, `total` and `note`, from which a command that follows a
    Job's log draws a bar.
    """

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase of `total` steps."""
        started = logged = time.monotonic()
        done, last = 0, ""

        def about(done: int, note: str = "") -> dict[str, object]:
            return {"phase": title, "done": done, "total": total, "note": note}

        _logger.info("%s: 0 of %d", title, total, extra=about(0))

        def step(count: int = 1, note: str = "") -> None:
            nonlocal done, last, logged
            done, last = done + count, note
            if time.monotonic() - logged >= LOG_EVERY_S:
                logged = time.monotonic()
                _logger.info("%s: %d of %d %s", title, done, total, note or "done", extra=about(done, note))

        yield step
        passed_s = time.monotonic() - started
        _logger.info("%s: all %d in %.1f s%s", title, total, passed_s, last and f", {last}", extra=about(total, last))


class ProgressBars:
    """Implementation of TrainingProgress that shows a bar for each phase on a terminal, with the library rich."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase of `total` steps."""
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description:<16}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[note]}"),
        )
        with progress.Progress(*columns, console=Console(file=self._stream)) as bars:
            task = bars.add_task(title, total=total, note="")
            yield lambda count=1, note="": bars.update(task, advance=count, note=note)


def build_progress(stream: TextIO) -> TrainingProgress:
    """Return progress bars when `stream` is a terminal, else log lines."""
    return ProgressBars(stream) if stream.isatty() else LoggedProgress()
