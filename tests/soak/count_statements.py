"""Runs a module with every SQLite statement of its process written to a file: a line each, with the moment.

    python -P count_statements.py FILE MODULE ARGUMENT...

The standard library's `connect` is replaced in this process before the module is imported; the module runs as it is.
"""

import os
import runpy
import sqlite3
import sys
import time
from typing import Any


def main() -> None:
    """Trace, and run the module as `python -m` does."""
    record, module = sys.argv[1], sys.argv[2]
    sys.argv = sys.argv[2:]
    handle = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connect = sqlite3.connect

    def note(statement: str) -> None:
        os.write(handle, f"{time.monotonic():.3f} {' '.join(statement.split())[:200]}\n".encode())

    def connect_traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(note)
        return connection

    sqlite3.connect = connect_traced  # type: ignore[assignment]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
