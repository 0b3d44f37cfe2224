"""A console with the labels of a folder as a process: `python -m tests.browser.labels_console FOLDER PORT`."""

import signal
import sys
from pathlib import Path

from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.labels import LabelBook
from tests.fakes.console.backend import FakeBackend, FakeJobs


def main() -> None:
    """Serve until a signal ends the process."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    backend = FakeBackend(labels=LabelBook(folder / "photos"), jobs=FakeJobs(folder / "review.json"))
    ConsoleServer(create_app(ConsoleContext(backend=backend, settings=ConsoleSettings(state=folder))), port=port)
    signal.pause()


if __name__ == "__main__":
    main()
