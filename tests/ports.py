"""A TCP port that a server gets again after it was killed."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

LOWEST = 10_000


def find_restart_port() -> int:
    """A free port on loopback that stays free while its server is down.

    The kernel gives ports of the ephemeral range to clients. While a server there is down, another process's client
    may take its port, and a client that retries may even connect to itself. The port is chosen at random, so that tests
    that run at the same time don't choose the same one.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(LOWEST, first_ephemeral), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port below the ephemeral range")
