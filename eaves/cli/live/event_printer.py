"""Prints predictions in a thread of its own, so that a slow or closed terminal delays no delivery."""

from __future__ import annotations

import os
import select
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from eaves.cli.display.event_view import find_best
from eaves.cli.live.event_lines import format_prediction, parse_data
from eaves.events import IMAGE_REJECTED, Event

MAX_WAITING = 1_000
"""Maximum number of predictions that wait to be printed; later ones are only counted."""
MAX_DATA = 16_000
"""Maximum size of a prediction's data in bytes for which label and score are printed. Larger data, such as an
embedding, are not parsed."""
BATCH = 100
"""Maximum number of predictions that are printed with one write."""
STOP_S = 1.0
"""Maximum time that `PredictionPrinter.stop` waits for unprinted lines, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prediction:
    at: float
    source: str
    type: str
    subject: str
    extensions: Mapping[str, str]
    data: bytes


class PredictionPrinter:
    """Writes one line for each prediction to a file descriptor.

    Args:
        number: File descriptor. It is written to directly: a thread that is blocked in Python's own stdout would keep
            the process from ending.
        is_terminal: Whether lines are cut to the width of the terminal.
    """

    def __init__(self, number: int, *, is_terminal: bool) -> None:
        self._number = number
        self._is_terminal = is_terminal
        self._waiting: SimpleQueue[_Prediction | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._left_out = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="print-predictions", daemon=True)

    def start(self) -> None:
        """Start the thread that prints."""
        self._thread.start()

    def add(self, event: Event) -> None:
        """Queue an event for printing if it is a prediction; any thread may call this, and it doesn't wait."""
        if self._is_closed or "causeid" not in event.extensions or event.type == IMAGE_REJECTED:
            return
        if self._waiting.qsize() >= MAX_WAITING:
            with self._lock:
                self._left_out += 1
            return
        self._waiting.put(
            _Prediction(
                at=time.time(),
                source=event.source,
                type=event.type,
                subject=event.subject or "",
                extensions=event.extensions,
                data=event.data if len(event.data) <= MAX_DATA else b"",
            )
        )

    def stop(self) -> None:
        """Print the waiting predictions, for at most `STOP_S` seconds, and end the thread."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def is_alive(self) -> bool:
        """Return whether the thread that prints is running."""
        return self._thread.is_alive()

    def waiting(self) -> int:
        """Return the number of predictions that wait to be printed."""
        return self._waiting.qsize()

    def _run(self) -> None:
        try:
            with suppress(OSError):  # the terminal or the reader of the pipe has gone
                is_last = False
                while not is_last:
                    lines, is_last = self._take()
                    self._write("".join(f"{line}\n" for line in lines).encode(errors="replace"))
        finally:
            self._is_closed = True

    def _take(self) -> tuple[list[str], bool]:
        """Wait for queued predictions; return their lines, and whether the printer was asked to stop."""
        width = shutil.get_terminal_size().columns if self._is_terminal else None
        found = self._waiting.get()
        lines: list[str] = []
        while found is not None:
            lines.append(_format(found, width))
            if len(lines) >= BATCH:
                break
            try:
                found = self._waiting.get_nowait()
            except Empty:
                break
        with self._lock:
            left_out, self._left_out = self._left_out, 0
        if left_out:
            lines.append(f"({left_out:,} predictions are not shown, because they come faster than they can be printed)")
        return lines, found is None

    def _write(self, content: bytes) -> None:
        """Write all of the content, at the speed of the terminal.

        Raises:
            OSError: When the terminal is closed or the pipe has no reader.
        """
        while content:
            try:
                content = content[os.write(self._number, content) :]
            except BlockingIOError:  # another program has made the terminal non-blocking
                select.select([], [self._number], [])


def _format(found: _Prediction, width: int | None) -> str:
    best = find_best(parse_data(found.data.decode(errors="replace")), found.extensions)
    return format_prediction(found.at, found.source, found.type, found.subject, best, width)
