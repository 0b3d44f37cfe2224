"""Socket options with which the kernel ends a connection whose packets are lost."""

from __future__ import annotations

import socket


def build_socket_options(*, idle_s: int, silent_s: int) -> tuple[tuple[int, int, int], ...]:
    """Return the options that `HttpClient` sets on each connection, as `setsockopt` takes them.

    With the kernel's defaults, lost packets are resent for 15 minutes.
    Source: tcp(7); RFC 5482.

    Args:
        idle_s: Seconds without a byte after which keepalives are sent, one every 5 s; 3 without an answer end the
            connection.
        silent_s: Seconds after which a byte or a keepalive without acknowledgement ends the connection.
    """
    return (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_s * 1000),
    )
