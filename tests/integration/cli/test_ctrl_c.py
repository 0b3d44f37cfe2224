"""Ctrl-C in commands whose work begins again: a sentence, the shell's usual exit code, and nothing left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.inputs.parts import write_parts
from tests.waiting import wait_until

CANCELLED = 128 + signal.SIGINT

CURSOR = "\x1b[?25h"
"""What shows the terminal's cursor again."""


class Terminal:
    """A command at a terminal.

    Attributes:
        process: The command.
    """

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._screen, terminal = pty.openpty()
        os.set_blocking(self._screen, False)
        self._shown = b""
        command = [sys.executable, "-P", "-m", "eaves.cli", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=terminal, stderr=terminal, stdout=subprocess.DEVNULL, start_new_session=True
        )
        os.close(terminal)

    def read(self) -> str:
        """Everything that it has shown."""
        try:
            while some := os.read(self._screen, 65_536):
                self._shown += some
        except OSError:  # nothing more now, or for good
            pass
        return self._shown.decode().replace("\r\n", "\n")

    def cancel(self) -> str:
        """Press Ctrl-C; returns the last line that it has shown."""
        self.process.send_signal(signal.SIGINT)
        wait_until(lambda: self.read() and self.process.poll() is not None, 60, what="the end")
        assert self.process.returncode == CANCELLED, self.read()
        return self.read().splitlines()[-1].removeprefix(CURSOR)  # when the bar disappears first, its line is the same

    def close(self) -> None:
        """Leave nothing running."""
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@contextmanager
def typed(folder: Path, *arguments: str | Path) -> Iterator[Terminal]:
    made = Terminal(folder, *arguments)
    try:
        yield made
    finally:
        made.close()


def test_a_conversion(tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "eaves.yaml").write_text("data: {path: photos}\n")
    artifacts = tmp_path / "artifacts"
    with typed(tmp_path, "convert", tiny_run) as terminal:
        wait_until(lambda: list(artifacts.glob(".*.unfinished/*")), 60, what="its workplace")
        reported = terminal.cancel()

    assert reported == "error: stopped by Ctrl-C: eaves convert has not finished"
    assert list(artifacts.iterdir()) == []


def test_a_command_that_reads_its_settings(tmp_path: Path) -> None:
    """What no command handles itself, such as the first seconds of a training: here eaves.yaml comes from a pipe."""
    os.mkfifo(tmp_path / "eaves.yaml")
    with typed(tmp_path, "train") as terminal:
        writer = wait_until(lambda: open_for_writing(tmp_path / "eaves.yaml"), 60, what="a reader of the pipe")
        reported = terminal.cancel()
        os.close(writer)
    assert reported == "error: stopped by Ctrl-C: eaves train has not finished"


def open_for_writing(pipe: Path) -> int:
    """File descriptor of a pipe; 0 while nobody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_a_training_that_imports_tensorflow(tmp_path: Path) -> None:
    write_parts(tmp_path / "photos", 8, side=32)
    (tmp_path / "eaves.yaml").write_text("data: {path: photos}\n")
    with typed(tmp_path, "train", "--run", "made", "--arch", "small_cnn") as terminal:
        maps = Path(f"/proc/{terminal.process.pid}/maps")
        wait_until(lambda: "libtensorflow" in maps.read_text(), 60, what="the import")
        reported = terminal.cancel()
    assert reported == "try: eaves train --run made continues the training"
    assert "error: the training was stopped during: the import of TensorFlow" in terminal.read()
