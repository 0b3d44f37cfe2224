"""TCP ports of loopback for servers that take a port as a setting."""

import random
import socket
from contextlib import suppress
from pathlib import Path

LOWEST = 10_000


def find_port() -> int:
    """A free port on loopback, as `find_ports` finds them."""
    return find_ports(1)[0]


def find_ports(count: int) -> list[int]:
    """Different free ports on loopback that stay free until their servers listen, and while these are down.

    The kernel gives ports of the ephemeral range to clients, and to servers that ask for any port. Between our look and
    the server's start, or while it is down, another process may take such a port, and a client that retries may even
    connect to itself. Ports are chosen at random below that range, so that tests that run at the same time don't choose
    the same one.

    Source: ip_local_port_range in Linux's Documentation/networking/ip-sysctl.rst.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(LOWEST, first_ephemeral), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports below the ephemeral range")


def is_listening(port: int) -> bool:
    """Whether a server on loopback accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
