"""A kernel that tells of files only when a test says so."""

from collections.abc import Callable
from pathlib import Path


class SilentWatch:
    """Stands for `eaves.sources.folder.watcher.KernelWatch`."""

    def __init__(self, notice: Callable[[str, float], None]) -> None:
        self.notice = notice
        self.dead = False
        self.closed = False

    def alive(self) -> bool:
        return not self.dead

    def close(self) -> None:
        self.closed = True


class SilentKernel:
    """Starts such watches.

    Attributes:
        watches: Those that were started, oldest first.
        error: Raised instead of starting one.
    """

    def __init__(self) -> None:
        self.watches: list[SilentWatch] = []
        self.error: OSError | None = None

    def __call__(self, root: Path, notice: Callable[[str, float], None], check: Callable[[], None]) -> SilentWatch:
        if self.error is not None:
            raise self.error
        self.watches.append(SilentWatch(notice))
        return self.watches[-1]
