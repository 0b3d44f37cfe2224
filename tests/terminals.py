"""A command on a real terminal, so that it prints as it does for a person."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path


def run_on_terminal(*words: str, cwd: Path, columns: int = 80, timeout_s: float = 120) -> str:
    """Run an `eaves` command with a terminal as its stdout; return what the terminal shows.

    Args:
        words: Arguments of `eaves`.
        cwd: Folder to run it in.
        columns: Columns of the terminal.
        timeout_s: Seconds after which the test fails.
    """
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        command = [sys.executable, "-P", "-m", "eaves.cli", *words]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, cwd=cwd, env=env)
    finally:
        os.close(slave)
    shown = b""
    try:
        while True:
            try:
                content = os.read(master, 65_536)
            except OSError:  # the process has closed its end
                break
            if not content:
                break
            shown += content
        process.wait(timeout_s)
    finally:
        process.kill()
        process.wait(30)
        os.close(master)
    return shown.decode().replace("\r\n", "\n")
