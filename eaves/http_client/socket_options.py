"""Options of a socket by which the kernel ends a connection whose packets are swallowed."""

from __future__ import annotations

import socket


def build_socket_options(*, idle_s: int, silent_s: int) -> tuple[tuple[int, int, int], ...]:
    """What `HttpClient` sets on each connection, as `setsockopt` takes it; the kernel's default resends for 15 minutes.

    Source: tcp(7); RFC 5482.

    Args:
        idle_s: Seconds without a byte after which keepalives are sent, one every 5 s; 3 without an answer end it.
        silent_s: Seconds without the other side's acknowledgement of a byte or a keepalive that end it.
    """
    return (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_s * 1000),
    )
