"""A live view as a process, its output in files."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli import EAVES


class View:
    """A running `eaves` command whose stdout and stderr can be read while it runs."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._stdout, self._stderr = folder / "view.stdout", folder / "view.stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            command = [*EAVES, *words]
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=folder)

    @property
    def stdout(self) -> str:
        """What the command has printed."""
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        """What the command has said beside its data."""
        return self._stderr.read_text()

    def press_ctrl_c(self) -> int:
        """Send SIGINT and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def open_view(folder: Path, *words: str) -> Iterator[View]:
    """Run an `eaves` command in a folder; it is killed at the end when it still runs."""
    view = View(folder, *words)
    try:
        yield view
    finally:
        if view.process.poll() is None:
            view.process.kill()
            view.process.wait(60)
