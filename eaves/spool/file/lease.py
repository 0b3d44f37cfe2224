"""The right to do something, for one process at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self
from urllib.parse import quote

from eaves.base.locks import take_lock
from eaves.spool.file.sqlite_errors import translated


def lease_path(spool: Path, name: str) -> Path:
    """The lock file of the right to do something with a spool (deliver a lane, say)."""
    return spool.with_name(f"{spool.name}.{quote(name, safe='')}.lease")


class Lease:
    """The right to deliver a lane, say: a lock of `eaves.base.locks`, so its holder's death releases it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._fd is not None

    def acquire(self, *, blocking: bool = False, shared: bool = False) -> bool:
        """Take it; False when another holds it.

        Args:
            blocking: Wait for it instead.
            shared: Take it beside others that take it shared too; it excludes those that don't.

        Raises:
            SpoolError: When the lock file can't be written.
        """
        if self._fd is not None:
            return True
        with translated(self.path):
            self._fd = take_lock(self.path, wait=blocking, shared=shared)
        return self._fd is not None

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two processes lock two files of one name."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire(blocking=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
