"""The local platform as the console sees it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from eaves.admin import Action, Changed, EntryContent, Queue, QueueReport, Selector
from eaves.admin.client import SocketQueue
from eaves.admin.queue import LEDGER_LIMIT, LIMIT, SpoolQueue
from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import ModelLocation
from eaves.console.reused_answer import ReusedAnswer
from eaves.console.thumbnails.gallery import Gallery
from eaves.console.thumbnails.store import ThumbnailStore
from eaves.errors import NotRunningError
from eaves.history import HistoryReader
from eaves.local.client import LocalPlatform
from eaves.local.console.models import list_models
from eaves.local.queues import open_local_queue
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, FunctionStatus
from eaves.spool import LedgerLine

STATUS_S = 1.0
"""Time for which a status is used again, seconds: it asks every agent, and many open pages need it."""
BROKER = "broker"
"""Name of the platform's own queue for people."""


class LocalBackend(LocalPlatform):
    """Implements `eaves.console.backend.Backend` for the platform on one state directory. Threads may share it.

    Args:
        state: State directory of the platform.
        project: Directory in which `eaves up` was started.
        thumbnails: Kept thumbnails.
        clock: Clock for the age of answers that are used again.
    """

    def __init__(
        self,
        state: StateDirectory,
        project: Path,
        *,
        thumbnails: ThumbnailStore,
        clock: Clock = SYSTEM,
    ) -> None:
        super().__init__(state.root)
        self._project = project
        self._records = HistoryReader(state.history)
        self._images = Gallery(thumbnails, self._fetch_image, clock=clock)
        self._reused = ReusedAnswer(super().status, STATUS_S, clock)

    @property
    def title(self) -> str:
        """Name of this machine and of the project."""
        return f"{self._project.name or 'Eaves'} on {socket.gethostname()}"

    @property
    def records(self) -> HistoryReader:
        """The history of events."""
        return self._records

    @property
    def images(self) -> Gallery:
        """Images that the supervisor holds, and thumbnails."""
        return self._images

    def status(self) -> list[FunctionStatus]:
        """Return the status of every function; all are `stopped` when no supervisor runs.

        Raises:
            PlatformError: When the supervisor doesn't answer.
        """
        return self._reused.get()

    def queues(self) -> Mapping[str, Queue]:
        """Return the broker's queue, and the queue of each app's agent and relay that has one."""
        names = {BROKER: ""}
        for app in self._state.names():
            if self._state.spool_of(app).is_file():
                names[app] = app
            if self._state.spool_of(app, RELAY).is_file():
                names[f"{app}.{RELAY}"] = f"{app}.{RELAY}"
        return {name: LocalQueue(self._state, agent) for name, agent in names.items()}

    def models(self) -> Sequence[ModelLocation]:
        """Return the runs and artifacts on this machine, the newest first."""
        return list_models(self._state, self._project)

    def rollback(self, name: str) -> None:
        """Serve the previous deployment again; the errors are those of `LocalPlatform.rollback`."""
        super().rollback(name)
        self._reused.forget()

    def close(self) -> None:
        """Close the files of the history and of the thumbnails."""
        self._images.store.close()

    def _fetch_image(self, source: str, event_id: str) -> bytes | None:
        """Return an image that the supervisor holds; None when it isn't held any more, or when no supervisor runs.

        Raises:
            PlatformError: When the supervisor doesn't answer.
        """
        with contextlib.suppress(NotRunningError):
            return self.fetch(f"/images?{urlencode({'source': source, 'id': event_id})}")
        return None


class LocalQueue:
    """Implements `Queue` and `EventTracer` by opening the queue for each call: its process may start or end any time.

    Args:
        state: State directory of the platform.
        agent: Name of the queue, see `eaves.local.queues.open_local_queue`.
    """

    def __init__(self, state: StateDirectory, agent: str) -> None:
        self._state = state
        self._agent = agent

    def report(self) -> QueueReport:
        """Return the contents of each lane and the state of its delivery."""
        with self._open() as queue:
            return queue.report()

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """Return the chosen entries without their data."""
        with self._open() as queue:
            return queue.entries(chosen, limit=limit)

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data."""
        with self._open() as queue:
            return queue.entry(seq)

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or only count them."""
        with self._open() as queue:
            return queue.change(action, chosen, everything=everything, dry_run=dry_run)

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return lines of the queue's ledger."""
        with self._open() as queue:
            return queue.ledger(after=after, limit=limit)

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none.

        Raises:
            NotFoundError: When the queue has no ledger.
        """
        with self._open() as queue:
            return queue.trace(source, event_id)

    @contextlib.contextmanager
    def _open(self) -> Iterator[SocketQueue | SpoolQueue]:
        with open_local_queue(self._state, self._agent) as queue:
            yield queue
