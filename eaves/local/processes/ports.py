"""Search for a free TCP port on loopback."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def find_free_port() -> int:
    """Return a port that no process listens on at present.

    Raises:
        OSError: When no port is free.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
