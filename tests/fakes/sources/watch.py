"""A kernel that tells of files only when a test says so."""

from __future__ import annotations

from pathlib import Path

from eaves.sources.folder.watcher import FileListener


class SilentWatch:
    """Implements `eaves.sources.folder.watcher.Watch`."""

    def __init__(self, listener: FileListener) -> None:
        self.listener = listener
        self.dead = False
        self.closed = False

    def alive(self) -> bool:
        return not self.dead

    def close(self) -> None:
        self.closed = True


class SilentKernel:
    """Implements `eaves.sources.folder.watcher.Watcher`.

    Attributes:
        watches: Those that were started, oldest first.
        error: Raised instead of starting one.
    """

    def __init__(self) -> None:
        self.watches: list[SilentWatch] = []
        self.error: OSError | None = None

    def __call__(self, root: Path, listener: FileListener) -> SilentWatch:
        if self.error is not None:
            raise self.error
        self.watches.append(SilentWatch(listener))
        return self.watches[-1]
