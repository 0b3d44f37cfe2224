"""Commands that run until Ctrl-C: signals, views that print what is new, and the lines of events and logs.

The views keep no state outside their process: `eaves up` may be stopped and started while a view runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from eaves.base.terminal import escape
from eaves.cli.output import ID_DIGITS, say
from eaves.errors import EavesError
from eaves.events import IMAGE_REJECTED, TYPE_PREFIX
from eaves.history import HistoryReader, Record
from eaves.history.record import parse_prediction
from eaves.logs import format_log_line

POLL_S = 1.0
"""Interval at which `StopSignals.wait` checks for a signal that reached another thread, seconds."""
TYPE_WIDTH = 19
"""Width of the column of event types, terminal columns: the length of Eaves' longest type, `image.classified.v1`."""
LABEL_WIDTH = 14
MAX_LABEL = 40
"""Maximum number of characters of a label that are shown, because the sender of an event may choose a long one."""
BATCH = 500
"""Maximum number of events that are read at a time, so that memory stays small however many there are."""
STOP_S = 1.0
"""Maximum time that `eaves up` waits at its end for predictions to be printed, seconds."""
PRINT_S = 0.5
"""Pause between two readings of the events whose predictions are printed, seconds."""


class StopSignals:
    """Takes SIGINT and SIGTERM from its creation on, and passes them to `call` or `wait` instead of ending the process.

    A signal handler runs in the main thread, between any two of its steps. A lock that the handler takes may be held by
    the main thread then, and would never be released. So the handlers only put the signal into a queue, which another
    thread reads.
    Source: the standard library's `queue.SimpleQueue.put`, which is reentrant and so may be called in a handler.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: self._asked.put(number))

    def wait(self) -> None:
        """Wait until a signal has come, in the main thread.

        It also checks once a second, because the kernel may deliver a signal to another thread, which doesn't wake the
        main thread.
        """
        while True:
            with suppress(Empty):
                self._asked.get(timeout=POLL_S)
                return

    def call(self, stop: Callable[[], None]) -> None:
        """Start a thread that calls `stop` when a signal has come."""

        def wait() -> None:
            self._asked.get()
            stop()

        threading.Thread(target=wait, name="signals", daemon=True).start()


def repeat(show: Callable[[], None], *, every_s: float) -> None:
    """Call a function at once and then after each pause of `every_s`, until Ctrl-C or until stdout has no reader.

    Raises:
        EavesError: When the first call fails. A later failure is reported once, and the function is called again.
    """
    problem = ""
    with suppress(KeyboardInterrupt):
        show()
        while True:
            sys.stdout.flush()
            time.sleep(every_s)
            try:
                show()
                problem = ""
            except EavesError as error:
                if problem != error.message:
                    say(f"error: {error.message}; the command tries again")
                problem = error.message


def matches_type(type_: str, wanted: str) -> bool:
    """Return whether an event type is or begins with the wanted one, with or without the prefix `dev.eaves.`."""
    return type_.startswith(wanted) or type_.removeprefix(TYPE_PREFIX).startswith(wanted)


def format_record(record: Record) -> str:
    """Return time, type, label with score, subject and the beginning of the id of a recorded event as one line."""
    best = parse_prediction(record)
    type_ = record.type.removeprefix(TYPE_PREFIX).ljust(TYPE_WIDTH)
    return _join(record.at, type_, best.label, best.score, record.subject, record.id[:ID_DIGITS])


def format_prediction(record: Record) -> str:
    """Return time, function, label with score and subject of a recorded prediction; its type where it has no label."""
    best = parse_prediction(record)
    label = best.label or record.type.removeprefix(TYPE_PREFIX)
    return _join(record.at, record.source.rpartition("/")[2], label, best.score, record.subject)


def _join(at: float, who: str, label: str, score: float | None, *tail: str) -> str:
    """Join the columns of an event's line, with characters that could steer a terminal made visible."""
    number = "    " if score is None else f"{score:4.2f}"
    moment = time.strftime("%H:%M:%S", time.localtime(at))
    return escape("  ".join([moment, who, label[:MAX_LABEL].ljust(LABEL_WIDTH), number, *tail]).rstrip(), keep="")


def follow_events(reader: HistoryReader, after: int) -> Callable[[], Sequence[Record]]:
    """Return a function that returns the events since the record `after`, and at each further call the new ones."""

    def step() -> Sequence[Record]:
        nonlocal after
        newest = reader.newest()
        if newest == after:
            return ()
        if newest < after:
            after = 0  # `eaves up` has begun a new history
        records = reader.next(after=after, limit=BATCH)
        after = records[-1].seq if records else after
        return records

    return step


def print_predictions(step: Callable[[], Sequence[Record]], number: int, ending: threading.Event) -> None:
    """Write a line for each new prediction until `ending` is set, in a thread that a blocked terminal may hold.

    Args:
        step: Returns the new events.
        number: File descriptor. It is written to directly: a thread that is blocked in Python's own stdout would keep
            the process from ending.
        ending: Set when the platform has ended; what was predicted until then is still written.
    """
    is_last = False
    while not is_last:
        is_last = ending.wait(PRINT_S)
        with suppress(EavesError, OSError):  # of the history; or the terminal or the reader of the pipe has gone
            predicted = [one for one in step() if "causeid" in one.extensions and one.type != IMAGE_REJECTED]
            content = "".join(f"{format_prediction(one)}\n" for one in predicted).encode(errors="replace")
            while content:
                content = content[os.write(number, content) :]


def show_log_line(line: str) -> str:
    """Return a log line for stdout: formatted by `format_log_line` on a terminal, unchanged in a pipe or file."""
    return format_log_line(line) if sys.stdout.isatty() else line
