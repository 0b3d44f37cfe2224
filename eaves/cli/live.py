"""Commands that run until Ctrl-C: signals, views that print what is new, and the lines of events and logs.

The views keep no state outside their process: `eaves up` may be stopped and started while a view runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

from eaves.base.terminal import escape
from eaves.cli.output import ID_DIGITS, measure
from eaves.errors import EavesError, NotFoundError
from eaves.events import IMAGE_REJECTED, TYPE_PREFIX, Event
from eaves.history import Record

POLL_S = 1.0
"""Interval at which `StopSignals.wait` checks for a signal that reached another thread, seconds."""
TYPE_WIDTH = 19
"""Width of the column of event types, terminal columns: the length of Eaves' longest type, `image.classified.v1`."""
LABEL_WIDTH = 14
MAX_LABEL = 40
"""Maximum number of characters of a label that are shown, because the sender of an event may choose a long one."""
MIN_SUBJECT = 12
"""Minimum number of terminal columns that an event's subject gets, even on a narrow terminal."""
MAX_WAITING = 1_000
"""Maximum number of predictions that wait to be printed; later ones are only counted."""
MAX_DATA = 16_000
"""Maximum size of a prediction's data in bytes for which label and score are printed. Larger data, such as an
embedding, are not parsed."""
STOP_S = 1.0
"""Maximum time that `PredictionPrinter.stop` waits for unprinted lines, seconds."""
WINDOW = 1_000
"""Minimum number of lines of a cluster's log that each step of a view requests. Lines are lost when more than this are
added between two steps."""
_HEAD = ("time", "level", "message", "logger", "traceback")
"""Fields of a JSON log line that `format_log_line` doesn't print as NAME=VALUE: most have a place of their own."""
MAX_FIELD = 200
"""Maximum number of characters that are shown of one field of a log line."""


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


def repeat(step: Callable[[], None], *, every_s: float) -> None:
    """Call a function at once and then after each pause of `every_s`, until Ctrl-C or until stdout has no reader."""
    with suppress(KeyboardInterrupt):
        while True:
            step()
            sys.stdout.flush()
            time.sleep(every_s)


def matches_type(type_: str, wanted: str) -> bool:
    """Return whether an event type is or begins with the wanted one, with or without the prefix `dev.eaves.`."""
    return type_.startswith(wanted) or type_.removeprefix(TYPE_PREFIX).startswith(wanted)


def find_best(data: Any, extensions: Mapping[str, str]) -> dict[str, Any]:
    """Return `label` and `score` of an event's first prediction; each is None when the event lacks it.

    Events of custom handlers may have neither.
    """
    scored = data.get("predictions") if isinstance(data, dict) else None
    best = scored[0] if isinstance(scored, list) and scored and isinstance(scored[0], dict) else {}
    return {"label": best.get("label", extensions.get("label")), "score": best.get("score")}


def parse_data(text: str) -> Any:
    """Parse the JSON data of an event; None when there are no data or they were shortened."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def format_record(record: Record, width: int | None) -> str:
    """Return time, type, label with score, subject and the beginning of the id of a recorded event as one line.

    Args:
        record: The event.
        width: Number of columns of the terminal; a long subject is cut so that the line fits. None cuts nothing.
    """
    best = find_best(parse_data(record.text), record.extensions)
    head = [_clock(record.at), _pad(record.type.removeprefix(TYPE_PREFIX), TYPE_WIDTH), _format_best(best)]
    return _join(head, record.subject, record.id[:ID_DIGITS], width)


def _format_prediction(
    at: float, source: str, type_: str, subject: str, extensions: Mapping[str, str], data: bytes, width: int | None
) -> str:
    """Return time, function, label with score and subject of a prediction; its type where it has no label."""
    best = find_best(parse_data(data.decode(errors="replace")), extensions)
    if best["label"] is None:
        best = {"label": type_.removeprefix(TYPE_PREFIX)}
    return _join([_clock(at), escape(source.rpartition("/")[2], keep=""), _format_best(best)], subject, "", width)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _format_best(best: Mapping[str, Any]) -> str:
    label, score = best.get("label"), best.get("score")
    shown = "" if label is None else str(label)[:MAX_LABEL]
    number = f"{score:4.2f}" if isinstance(score, float) or (isinstance(score, int) and abs(score) < 10**6) else "    "
    return f"{_pad(shown, LABEL_WIDTH)} {number}"


def _pad(text: str, width: int) -> str:
    shown = escape(text, keep="")
    return shown + " " * (width - measure(shown))


def _join(head: list[str], subject: str, tail: str, width: int | None) -> str:
    """Join the columns of an event's line; the end of a subject that doesn't fit stays, as it names the file."""
    before, after, shown = "  ".join(head), escape(tail, keep=""), escape(subject, keep="")
    if width is not None:
        room = max(MIN_SUBJECT, width - measure(before) - 2 - (measure(after) + 2 if after else 0))
        if measure(shown) > room:
            while measure(shown) > room - 1:
                shown = shown[1:]
            shown = f"…{shown}"
        shown += " " * (room - measure(shown))
    return f"{before}  {shown}  {after}".rstrip()


class PredictionPrinter:
    """Writes a line for each prediction in a thread of its own, so that a slow or closed terminal delays no delivery.

    Args:
        number: File descriptor. It is written to directly: a thread that is blocked in Python's own stdout would keep
            the process from ending.
        is_terminal: Whether lines are cut to the width of the terminal.
    """

    def __init__(self, number: int, *, is_terminal: bool) -> None:
        self._number = number
        self._is_terminal = is_terminal
        self._waiting: SimpleQueue[tuple[float, str, str, str, Mapping[str, str], bytes] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="print-predictions", daemon=True)

    def start(self) -> None:
        """Start the thread that prints."""
        self._thread.start()

    def add(self, event: Event) -> None:
        """Queue an event for printing if it is a prediction; any thread may call this, and it doesn't wait."""
        if "causeid" not in event.extensions or event.type == IMAGE_REJECTED:
            return
        if self._waiting.qsize() >= MAX_WAITING:
            with self._lock:
                self._left_out += 1
            return
        data = event.data if len(event.data) <= MAX_DATA else b""
        self._waiting.put((time.time(), event.source, event.type, event.subject or "", event.extensions, data))

    def stop(self) -> None:
        """Print the waiting predictions, for at most `STOP_S` seconds, and end the thread."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        with suppress(OSError):  # the terminal or the reader of the pipe has gone
            found = self._waiting.get()
            while found is not None:
                self._write(_format_prediction(*found, terminal_width() if self._is_terminal else None))
                if self._waiting.empty():
                    self._report_left_out()
                found = self._waiting.get()
            self._report_left_out()

    def _report_left_out(self) -> None:
        with self._lock:
            left_out, self._left_out = self._left_out, 0
        if left_out:
            text = "predictions are not shown, because they come faster than they can be printed"
            self._write(f"({left_out:,} {text})")

    def _write(self, line: str) -> None:
        """Write a line at the speed of the terminal.

        Raises:
            OSError: When the terminal is closed or the pipe has no reader.
        """
        content = f"{line}\n".encode(errors="replace")
        while content:
            content = content[os.write(self._number, content) :]


def terminal_width() -> int | None:
    """Return the number of columns of the terminal on stdout; None when stdout is no terminal, so no line is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def follow_tail(read: Callable[[int], Sequence[str]], lines: int) -> Iterator[Sequence[str] | EavesError]:
    """Yield the last lines of a log, then at each step the lines that are new, or the error when none can be read.

    Args:
        read: Returns the given number of last lines of a log.
        lines: Number of lines of the first step.

    Raises:
        EavesError: From the first step, when the log can't be read at all.
    """
    window = max(WINDOW, lines)
    before = list(read(window))
    yield before[-lines:] if lines else []
    while True:
        try:
            found = list(read(window))
        except NotFoundError:  # at zero, or being started anew: the lines of another replica come later
            yield []
        except EavesError as error:
            yield error
        else:
            yield _find_new(before, found)
            before = found or before


def _find_new(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines at the end of a log that are new; all of them when it has no line in common with `before`."""
    for size in range(min(len(before), len(now)), 0, -1):
        if before[-1] == now[size - 1] and list(before[-size:]) == list(now[:size]):
            return now[size:]
    return now


def show_log_line(line: str) -> str:
    """Return a log line for stdout: formatted by `format_log_line` on a terminal, unchanged in a pipe or file."""
    return format_log_line(line) if sys.stdout.isatty() else line


def format_log_line(line: str) -> str:
    """Return local time, level, message and the other fields of a JSON line, then its traceback; other lines unchanged.

    Args:
        line: A line as `eaves.logs.JsonFormatter` writes it, or any text.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict) or not isinstance(record.get("message"), str):
        return line
    fields = [f"{name}={_shorten(value)}" for name, value in record.items() if name not in _HEAD and value != ""]
    parts = [_read_time(record.get("time")), str(record.get("level", "")).upper(), record["message"], *fields]
    shown = escape(" ".join(filter(None, parts)), keep="")
    return f"{shown}\n{record['traceback']}" if record.get("traceback") else shown


def _read_time(value: Any) -> str:
    """Return a UTC timestamp as local time; a value that isn't a timestamp is returned as text."""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "" if value is None else str(value)


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_FIELD else f"{text[: MAX_FIELD - 1]}…"
