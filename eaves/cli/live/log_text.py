"""Formatting of log lines for people: a line of JSON becomes time, level, message and fields."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import Any

from eaves.base.terminal import escape

_HEAD = ("time", "level", "message", "logger", "traceback")
"""Fields of a JSON log line that `format_log_line` doesn't print as NAME=VALUE: most have a place of their own."""
MAX_FIELD = 200
"""Maximum number of characters that are shown of one field."""


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
    level = str(record.get("level", "")).upper()
    parts = [_read_time(record.get("time")), level, record["message"], *fields]
    shown = escape(" ".join(part for part in parts if part), keep="")
    return f"{shown}\n{record['traceback']}" if record.get("traceback") else shown


def _read_time(value: Any) -> str:
    """Return a UTC timestamp as local time; a value that isn't a timestamp is returned as text."""
    try:
        moment = datetime.fromisoformat(str(value)).timestamp()
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (ValueError, OverflowError, OSError):
        return "" if value is None else str(value)


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_FIELD else f"{text[: MAX_FIELD - 1]}…"
