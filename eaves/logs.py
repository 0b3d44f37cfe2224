"""Logging setup for entry points: JSON lines for machines, plain lines on a terminal.

Passwords and tokens in addresses are replaced by `***` in every record. Library code only calls `getLogger(__name__)`;
only a process's entry point calls `configure`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.base.terminal import escape, escape_json
from eaves.redact import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

HOUR_S = 3600.0
MAX_LOGGED = 20
"""Maximum number of lines of a kind that are logged within an hour: anybody who may write to a folder could flood the
log otherwise."""

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
"""`json.dumps` with these options would build a new encoder for each record."""

_HEAD = ("time", "level", "message", "logger", "traceback")
"""Fields of a JSON line that `format_log_line` doesn't print as NAME=VALUE: most have a place of their own."""

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


def bind(**fields: str) -> None:
    """Add fields to every later record of this thread, and of threads that get a copy of its context."""
    _bound.set({**_bound.get(), **fields})


def log_once(log: logging.Logger, logged: set[object], error: BaseException, text: str, *args: object) -> None:
    """Log an error with its traceback, unless `logged` has one from the same place in the code already."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    line, file = (traceback.tb_lineno, traceback.tb_frame.f_code.co_filename) if traceback else (0, "")
    place = (type(error), line, file)
    if place not in logged:
        logged.add(place)
        log.error(text, *args, exc_info=error)


class HourlyLog:
    """Lets a line into the log once an hour, and at most `MAX_LOGGED` lines of a kind. Its caller holds a lock.

    Args:
        clock: Monotonic clock.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lines: dict[str, set[str]] = {}
        self._since_s = float("-inf")

    def admit(self, kind: str, line: str) -> bool:
        """Return whether a line is logged; there are few kinds."""
        now_s = self._clock.monotonic()
        if now_s - self._since_s >= HOUR_S:
            self._since_s, self._lines = now_s, {}
        lines = self._lines.setdefault(kind, set())
        if line in lines or len(lines) >= MAX_LOGGED:
            return False
        lines.add(line)
        return True


class JsonFormatter(logging.Formatter):
    """Formatter with one JSON object per line; what is bound and the items of a call's `extra` become its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        extra = {**_bound.get(), **{key: value for key, value in vars(record).items() if key not in _STANDARD}}
        fields = {
            **{key: redact(value) if isinstance(value, str) else value for key, value in extra.items()},
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            fields["traceback"] = redact(self.formatException(record.exc_info))
        return escape_json(_encode(fields))


class PlainFormatter(logging.Formatter):
    """Formatter with one line of text for a terminal; a traceback follows on further lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, with line breaks and terminal control characters escaped."""
        return escape(redact(super().formatMessage(record)), keep="")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback, with terminal control characters escaped."""
        return escape(redact(super().formatException(ei)))


def format_log_line(line: str) -> str:
    """Return local time, level, message and the other fields of a JSON line, then its traceback; other lines unchanged.

    Args:
        line: A line as `JsonFormatter` writes it, or any text.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict) or not isinstance(record.get("message"), str):
        return line
    fields = [f"{name}={value}" for name, value in record.items() if name not in _HEAD and value != ""]
    parts = [_read_time(record.get("time")), str(record.get("level", "")).upper(), record["message"], *fields]
    shown = escape(" ".join(filter(None, parts)), keep="")
    return f"{shown}\n{record['traceback']}" if record.get("traceback") else shown


def _read_time(value: Any) -> str:
    """Return a UTC timestamp as local time; a value that isn't a timestamp is returned as text."""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "" if value is None else str(value)


def _is_no_note_of_a_library(record: logging.LogRecord) -> bool:
    """Return whether a record of the root logger is a warning or worse.

    Eaves never logs there. onnxruntime's quantiser does, one line for each channel whose scale it widens.
    """
    return record.levelno >= logging.WARNING


def configure(*, level: int = logging.INFO, as_json: bool | None = None) -> None:
    """Send every log record to stderr.

    Args:
        level: Lowest level shown.
        as_json: True for JSON lines, False for plain text; None: JSON unless stderr is a terminal.
    """
    # No formatter shows the caller's line, the thread or the process, and finding them out takes a third of a record's
    # time. Source: Python, Logging HOWTO, "Optimization".
    logging._srcfile = None  # noqa: SLF001 - the documented way
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    plain = sys.stderr.isatty() if as_json is None else not as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger().addFilter(_is_no_note_of_a_library)
    # It logs the whole address, including a password, for each response with malformed headers.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    # Python remembers each warning that it has shown, and a sender can make Pillow emit a new one with every image.
    warnings.filterwarnings("ignore", module=r"PIL\.")
