"""Python scripts as processes that print lines until they are killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import eaves

ROOT = Path(eaves.__file__).parents[1]


@contextmanager
def run_script(script: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the script; killed at the end."""
    command = [sys.executable, "-c", script, *map(str, args)]
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
    """End a process at whatever line it is; return the other whole lines that it had printed."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.readlines()
    assert process.wait(timeout=10) == -signal.SIGKILL
    return [line.strip() for line in rest if line.endswith("\n")]
