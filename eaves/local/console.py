"""The console's process, which `eaves up` starts when somebody looks, and the local platform as its pages see it.

It is `python -P -m eaves.local.console LISTENER STATE PROJECT SETTINGS`: the number of the listening socket, which it
inherits, the platform's state directory, the directory in which `eaves up` was started, and its settings as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from eaves import logs
from eaves.admin import Queue
from eaves.config import SettingsLayer, build
from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import CachedAnswer, ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.console.thumbnails import Gallery
from eaves.errors import NotFoundError, NotRunningError
from eaves.history import HistoryReader
from eaves.labels import LabelBook
from eaves.local.client import LocalPlatform
from eaves.local.jobs import ProjectJobs, find_dataset
from eaves.local.queues import list_queues, open_local_queue
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.options import report_errors
from eaves.platform import FunctionStatus
from eaves.resource_limits import return_freed_memory

STATUS_S = 1.0
"""Time for which a status is used again, seconds: it asks every agent, and many open pages need it."""
DATASET_S = 5.0
"""Time for which the folder of photos is used again, seconds: eaves.yaml, which names it, takes some milliseconds."""
QUEUE_TIMEOUT_S = 5.0
"""Maximum time that a page waits for a queue's answer, seconds; the process of a queue may hang."""
BROKER = "broker"
"""Name of the platform's own queue for people."""


class LocalBackend(LocalPlatform):
    """Implements `eaves.console.backend.Backend` for the platform on one state directory. Threads may share it.

    Args:
        state: State directory of the platform.
        project: Directory in which `eaves up` was started.

    Attributes:
        title: Name of this machine and of the project.
        records: The history of events.
        images: Images that the supervisor holds, and thumbnails.
        jobs: Work that pages start in the project's folder.
    """

    def __init__(self, state: StateDirectory, project: Path) -> None:
        super().__init__(state.root)
        self.title = f"{project.name or 'Eaves'} on {socket.gethostname()}"
        self.records = HistoryReader(state.history)
        self.images = Gallery(state.thumbnails, self._fetch_image)
        self.jobs = ProjectJobs(project, state)
        self._project = project
        self._dataset = CachedAnswer(partial(find_dataset, project), DATASET_S)
        self._labels: LabelBook | None = None
        self._reused = CachedAnswer(super().status, STATUS_S)

    def status(self) -> list[FunctionStatus]:
        """Return the status of every function; all are `stopped` when no supervisor runs.

        Raises:
            PlatformError: When the supervisor doesn't answer.
        """
        return self._reused.get()

    def queue_names(self) -> Sequence[str]:
        """Return the names of the broker's queue, and of those of each app's agent and relay that has one."""
        return [name or BROKER for name in list_queues(self._state)]

    def open_queue(self, name: str) -> contextlib.AbstractContextManager[Queue]:
        """Open a queue by its name, through its process or from its file: the process may start or end any time."""
        if name not in self.queue_names():
            raise NotFoundError(f"there is no queue {name[:64]!r}", hint="eaves status")
        return open_local_queue(self._state, "" if name == BROKER else name, timeout_s=QUEUE_TIMEOUT_S)

    @property
    def labels(self) -> LabelBook | None:
        """The labels of the project's photos; None when they aren't in a folder."""
        folder = self._dataset.get()
        if folder is None:
            return None
        if self._labels is None or self._labels.folder != folder:
            self._labels = LabelBook(folder)
        return self._labels

    def runs(self) -> Mapping[str, Path]:
        """Return the runs of the project, the newest first."""
        return list_runs(self._project / RUNS)

    def promote(self, name: str) -> None:
        """Give a canary every request; the errors are those of `LocalPlatform.promote`."""
        super().promote(name)
        self._reused.forget()

    def rollback(self, name: str) -> None:
        """Serve the previous deployment again; the errors are those of `LocalPlatform.rollback`."""
        super().rollback(name)
        self._reused.forget()

    def close(self) -> None:
        """Close the file of the thumbnails."""
        self.images.close()

    def _fetch_image(self, source: str, event_id: str) -> bytes | None:
        """Return an image that the supervisor holds; None when it isn't held any more, or when no supervisor runs.

        Raises:
            PlatformError: When the supervisor doesn't answer.
        """
        with contextlib.suppress(NotRunningError):
            return self.fetch(f"/images?{urlencode({'source': source, 'id': event_id})}")
        return None


RUNS = "runs"
"""Folder of a project in which trainings write."""
MARKER = "run.json"
"""File that is written last into a run: a directory that has it is complete."""


def list_runs(folder: Path) -> dict[str, Path]:
    """Return the runs in a folder by their names, the newest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if not path.name.startswith(".") and not path.is_symlink():
                with contextlib.suppress(OSError):
                    found.append((-(path / MARKER).stat().st_mtime, path.name, path))
    return {name: path for _, name, path in sorted(found)}


STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
IDLE_S = 600.0
"""Time without a request after which the process ends, seconds: a person who comes back after a break finds the pages
at once, and a night doesn't cost memory."""
CHECK_S = 1.0
"""Interval at which the process checks whether anybody still looks, seconds."""
NICENESS = 5
"""Niceness of the process: predictions come before pages."""
OOM_SCORE = 500
"""Adjustment of the kernel's score by which it chooses a process to end when memory is short: the console before the
platform and its functions. Source: proc_pid_oom_score_adj(5)."""


def main() -> None:
    """Serve the console until nobody looks for some time, or until a signal comes."""
    # As in an agent, the signals stay pending until `sigtimedwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return_freed_memory()
    logs.configure()
    give_way()
    number, root, project, values = sys.argv[1:]
    settings = build(LocalSettings, SettingsLayer(origin="eaves up", values=json.loads(values)))
    state = StateDirectory(root=Path(root))
    backend = LocalBackend(state, Path(project))
    pages = ConsoleSettings(
        host=settings.console_host,
        credentials=settings.console_credentials,
        state=state.root,
        session_s=settings.console_session_hours * 3_600,
        read_only=settings.console_read_only,
        silent_after_s=settings.console_silent_after_s,
    )
    app = create_app(ConsoleContext(backend=backend, settings=pages))
    server = ConsoleServer(app, listening=socket.socket(fileno=int(number)), tls=pages.build_tls())
    try:
        wait(server)
    finally:
        server.stop()
        backend.close()


def wait(server: ConsoleServer) -> None:
    """Return when a signal has come, nobody has looked for `IDLE_S`, or the server doesn't listen any more."""
    while server.is_alive():
        if signal.sigtimedwait(STOP_SIGNALS, CHECK_S) is not None:
            return
        if server.idle_s() >= IDLE_S:
            return


def give_way() -> None:
    """Make the kernel prefer the platform's other processes for CPU time and memory."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")


if __name__ == "__main__":
    report_errors(main)
