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
from types import MappingProxyType
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.base.terminal import escape, escape_json
from eaves.credentials.redact import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

HOUR_S = 3600.0

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
"""`json.dumps` with these options would build a new encoder for each record."""

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
    """Lets a line of each kind into the log once an hour. For one thread only.

    Args:
        clock: Monotonic clock.
        max_keys: Maximum number of kinds of lines that are remembered; beyond it all are forgotten.
    """

    def __init__(self, clock: Clock = SYSTEM, *, max_keys: int = 16) -> None:
        self._clock, self._max_keys = clock, max_keys
        self._lines: dict[str, tuple[float, int]] = {}

    def admit(self, key: str, text: str) -> str:
        """Return the line, with how many were left out since the last one; empty when it is left out itself."""
        now_s = self._clock.monotonic()
        logged_s, repeats = self._lines.get(key, (now_s - HOUR_S, 0))
        if now_s - logged_s < HOUR_S:
            self._lines[key] = logged_s, repeats + 1
            return ""
        if len(self._lines) >= self._max_keys:
            self._lines.clear()
        self._lines[key] = now_s, 0
        return f"{text} ({repeats} more times since the last such line)" if repeats else text


class BoundFields(logging.Filter):
    """Filter that adds the fields bound to a thread to its records; fields of a call's `extra` are not replaced."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the bound fields; no record is dropped."""
        for name, value in _bound.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """Formatter with one JSON object per line; the items of a call's `extra` become fields of the object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
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
    handler.addFilter(BoundFields())
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger().addFilter(_is_no_note_of_a_library)
    # It logs the whole address, including a password, for each response with malformed headers.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    # Python remembers each warning that it has shown, and a sender can make Pillow emit a new one with every image.
    warnings.filterwarnings("ignore", module=r"PIL\.")
