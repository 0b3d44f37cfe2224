"""HTTP over a Unix socket, whose path may be of any length."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 107
"""Source: sun_path in unix(7), 108 bytes with its final NUL."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of the same socket that the kernel takes, for as long as the block runs.

    A longer one goes by way of its folder, opened. Source: proc(5), /proc/self/fd.

    Raises:
        OSError: When the folder can't be opened.
    """
    if len(os.fsencode(path)) <= MAX_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to the process that listens on a Unix socket.

    Args:
        path: The socket.
        timeout_s: For connecting, and for each wait for bytes.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._path) as path:
            self.sock.connect(path)
