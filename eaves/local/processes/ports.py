"""Free TCP ports on loopback."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def find_free_port() -> int:
    """Return a port that nothing listens on now.

    Raises:
        OSError: When there is none.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
