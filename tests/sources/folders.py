"""A folder source that runs in a thread of the test, by a clock that the test turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.sources.folder.source import FolderSource, FolderSourceSettings
from eaves.sources.options import FrameOptions
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.fakes.sources.watch import SilentKernel
from tests.sources.turned_source import TurnedSource

PNG = b"\x89PNG\r\n\x1a\n"


class Running(TurnedSource):
    """The source, its folder, and the kernel that tells it of files."""

    def __init__(
        self,
        folder: Path,
        index: DictIndex | None = None,
        *,
        max_bytes: int = 20_000_000,
        options: FrameOptions | None = None,
        **values: Any,
    ) -> None:
        super().__init__(ManualClock(), index, options=options, max_bytes=max_bytes)
        self.folder = folder
        self.kernel = SilentKernel()
        settings = FolderSourceSettings(path=folder, **values)
        self.folder_source = FolderSource(settings, self.context, watcher=self.kernel)  # type: ignore[arg-type]

    def write(self, name: str, data: bytes = PNG) -> Path:
        """Write a file of which nobody tells the source."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def tell(self, name: str, *, wait_s: float = 0.0) -> None:
        """Tell the source of a file, as the kernel does."""
        self.kernel.watches[-1].notice(name, wait_s)


@contextmanager
def running(folder: Path, index: DictIndex | None = None, **values: Any) -> Iterator[Running]:
    """Run a source on a folder; `values` are settings of the folder, `max_bytes`, and `options`."""
    made = Running(folder, index, **values)
    with made.run(made.folder_source):
        yield made
