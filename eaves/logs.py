"""How entry points set up logging: JSON lines where a machine reads them, plain lines on a terminal.

Whatever a record holds, passwords and tokens in addresses are replaced by `***`. Library code only calls
`getLogger(__name__)`; nothing but a process's entry point calls `configure`.
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

from eaves.base.terminal import escape, escape_json
from eaves.credentials.redact import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


def bind(**fields: str) -> None:
    """Add fields to every record that this thread logs from now on, and threads with a copy of its context."""
    _bound.set({**_bound.get(), **fields})


class BoundFields(logging.Filter):
    """Adds the fields that a thread has bound to its records; what a call passes as `extra` stands."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them; no record is left out."""
        for name, value in _bound.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what a call passes as `extra` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
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
        return escape_json(json.dumps(fields, ensure_ascii=False, default=str))


class PlainFormatter(logging.Formatter):
    """One line of text for a terminal, whatever the message holds; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, with line breaks and what could steer a terminal made visible."""
        return escape(redact(super().formatMessage(record)), keep="")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, with what could steer a terminal made visible."""
        return escape(redact(super().formatException(ei)))


def configure(*, level: int = logging.INFO, as_json: bool | None = None) -> None:
    """Send every log record to stderr.

    Args:
        level: Lowest level shown.
        as_json: JSON lines or plain text; None: JSON unless stderr is a terminal.
    """
    plain = sys.stderr.isatty() if as_json is None else not as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(BoundFields())
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It logs the whole address, with a password that was filled in, for each answer whose headers are malformed.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    # Python remembers each warning it has shown, and a sender can have Pillow make a new one with every image.
    warnings.filterwarnings("ignore", module=r"PIL\.")
