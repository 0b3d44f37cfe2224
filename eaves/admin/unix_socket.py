"""HTTP client connection over a Unix socket whose path may have any length."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from eaves.base.files import short_path


class UnixConnection(http.client.HTTPConnection):
    """HTTP connection to the process that listens on a Unix socket.

    Args:
        path: Path of the socket.
        timeout_s: Time limit for connecting, and for each wait for bytes, seconds.
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
