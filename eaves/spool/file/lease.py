"""The right to do something, for one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self
from urllib.parse import quote

from eaves.spool.file.sqlite_errors import translated


def lease_path(spool: Path, name: str) -> Path:
    """The lock file of the right to do something with a spool (deliver a lane, say)."""
    return spool.with_name(f"{spool.name}.{quote(name, safe='')}.lease")


class Lease:
    """The right to deliver a lane, say. The kernel takes it back when its holder dies; no clock is involved.

    Source: flock(2). The lock belongs to the open file: two leases exclude each other within one process too, and a
    forked child that inherits it keeps it alive.
    """

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
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            try:
                fcntl.flock(fd, kind if blocking else kind | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd
        return True

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
