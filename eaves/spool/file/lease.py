"""A lease: a lock that one process holds at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self
from urllib.parse import quote

from eaves.base.locks import take_lock
from eaves.spool.file.sqlite_errors import translated


def lease_path(spool: Path, name: str) -> Path:
    """Return the path of the lock file for one lease of a spool (for the delivery of a lane, for example)."""
    return spool.with_name(f"{spool.name}.{quote(name, safe='')}.lease")


class Lease:
    """A lock of `eaves.base.locks`, for example for the delivery of a lane.

    The operating system releases it when its holder dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lease."""
        return self._fd is not None

    def acquire(self, *, blocking: bool = False, shared: bool = False) -> bool:
        """Acquire the lease; return False when another holder has it.

        Args:
            blocking: Whether to wait for the lease instead of returning False.
            shared: Whether to share the lease with other shared holders; it still excludes exclusive holders.

        Raises:
            SpoolError: When the lock file can't be written.
        """
        if self._fd is not None:
            return True
        with translated(self.path):
            self._fd = take_lock(self.path, wait=blocking, shared=shared)
        return self._fd is not None

    def release(self) -> None:
        """Release the lease.

        The file stays, because removing it would let two processes lock two files of the same name.
        """
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire(blocking=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
