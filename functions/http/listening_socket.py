"""The listening socket of a function, which is opened before anything slow is imported.

The kernel accepts connections from then on, so a sender or a readiness probe waits for its answer. Otherwise it would
be refused and try again later; Knative's queue-proxy does so every 50 ms. Source: knative/serving,
pkg/queue/readiness/probe.go.
"""

from __future__ import annotations

import signal
import socket

from eaves.errors import StartError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask a function to end. From the opening of its socket on it answers accepted requests before it ends."""
BACKLOG = 1024
"""Maximum number of connections that wait in the kernel until the server accepts them; waitress has the same limit."""


def open_listening_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at an address.

    Args:
        host: Name or IP address to listen on.
        port: TCP port; 0 chooses a free one.

    Raises:
        StartError: When the address can't be listened on.
    """
    try:
        # Python encodes text with its codec for international names, whose import takes 2 ms.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # a host that is too long can't be encoded
        raise StartError(f"can't listen on {host}:{port}: {error}", hint="choose another --host or --port") from error
    return listening
