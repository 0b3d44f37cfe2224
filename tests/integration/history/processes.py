"""Python processes that write a history until they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
PRELUDE = """
import pathlib, sys
from eaves.history import FileHistory, HistoryReader
from tests.fakes.console.material import build_flow, captured_event
path = pathlib.Path(sys.argv[1])
def say(text):
    print(text, flush=True)
"""


@contextmanager
def running(script: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the script after the prelude; killed at the end."""
    command = [sys.executable, "-c", PRELUDE + script, *map(str, args)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> list[str]:
    """End a process at whatever line it is; return the whole lines that it had printed."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.readlines()
    assert process.wait(timeout=10) == -signal.SIGKILL
    return [line.strip() for line in rest if line.endswith("\n")]
