"""A folder source that runs in a thread of the test, by a clock that the test turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.events import Event
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.folder.kind import FolderSourceSettings
from eaves.sources.folder.source import FolderSource
from eaves.sources.options import FrameOptions
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.fakes.sources.watch import SilentKernel
from tests.sources.turned_source import TurnedSource

PNG = b"\x89PNG\r\n\x1a\n"


class Running(TurnedSource):
    """The source, and what it has to do with.

    Attributes:
        events: What it emitted.
        refusal: Raised for each event instead of taking it, while it is set.
    """

    def __init__(
        self,
        folder: Path,
        index: DictIndex | None = None,
        *,
        max_bytes: int = 20_000_000,
        spool_max_bytes: int = 1_000_000_000,
        options: FrameOptions | None = None,
        **values: Any,
    ) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.index = index or DictIndex(self.clock)
        self.kernel = SilentKernel()
        self.events: list[Event] = []
        self.refusal: Callable[[Event], Exception | None] = lambda event: None
        self.context = AgentContext(
            "cam",
            site="test",
            index=self.index,
            store=self._store,
            max_bytes=max_bytes,
            spool_max_bytes=spool_max_bytes,
            options=options,
            clock=self.clock,
        )
        self.folder_source = FolderSource(
            FolderSourceSettings(path=folder, **values), self.context, watcher=self.kernel
        )

    def write(self, name: str, data: bytes = PNG) -> Path:
        """Write a file of which nobody tells the source."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def tell(self, name: str, *, wait_s: float = 0.0) -> None:
        """Tell the source of a file, as the kernel does."""
        self.kernel.watches[-1].listener.notice(name, wait_s=wait_s)

    @property
    def subjects(self) -> list[str]:
        """The images emitted, in order."""
        return [str(event.subject) for event in self.events]

    @property
    def source(self) -> SourceCounters:
        """What the source does and has done."""
        return self.context.counters

    def _store(self, event: Event) -> bool:
        error = self.refusal(event)
        if error is not None:
            raise error
        self.index.put(event.id)
        self.events.append(event)
        return True


@contextmanager
def running(folder: Path, index: DictIndex | None = None, **values: Any) -> Iterator[Running]:
    """Run a source on a folder; `values` are settings of the folder, the limits of image and spool, and `options`."""
    made = Running(folder, index, **values)
    thread = threading.Thread(target=made.folder_source.run)
    thread.start()
    try:
        made.settle()
        yield made
    finally:
        made.context.stop()
        thread.join(20)
        assert not thread.is_alive()
