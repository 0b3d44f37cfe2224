"""One open stream: its socket, and the bytes that the client hasn't accepted yet."""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import ssl
from collections.abc import Callable

MAX_PENDING_BYTES = 262_144
"""Bytes that a client may leave unread, in addition to what the kernel holds; a client with more is closed, and
connects again with its last id."""
MAX_INPUT_BYTES = 65_536
"""Bytes that a client may send on its stream, on which nothing is expected."""
KERNEL_BYTES = 65_536
"""Size of the kernel's send buffer, bytes; its default grows to megabytes for a client that reads nothing."""
LOST_MS = 60_000
"""Time after which the kernel closes a connection whose peer acknowledges nothing, milliseconds, such as that of a
laptop that sleeps. Source: tcp(7), TCP_USER_TIMEOUT."""
READ_BYTES = 4_096


class ClosedError(Exception):
    """The client has closed its stream, reads too slowly or isn't there any more."""


class StreamClient:
    """One open stream. Only the stream thread uses it.

    Args:
        connection: Socket, plain or TLS after its handshake. The client owns it and makes it non-blocking.
        session: Id of the login session that the stream belongs to; empty without one.
        sent_at: Time of the last write, by the monotonic clock, seconds.
        ends_at: Time at which the session ends, by the monotonic clock, seconds.
        is_allowed: Returns whether the credentials that have opened the stream still apply.

    Attributes:
        connection: The socket.
        session: Id of the login session.
        sent_at: Time of the last write.
        ends_at: Time at which the session ends.
        is_allowed: Returns whether the credentials still apply.
        ends: Whether the stream is closed as soon as everything is written.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        session: str,
        sent_at: float,
        ends_at: float = math.inf,
        is_allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self.connection = connection
        self.session = session
        self.sent_at = sent_at
        self.ends_at = ends_at
        self.is_allowed = is_allowed
        self.ends = False
        self._pending = bytearray()
        self._received = 0
        self._write_waits_for_read = self._read_waits_for_write = False
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no such options
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MS)

    @property
    def awaits(self) -> int:
        """Events of the selector that the client waits for."""
        writes = (self._pending and not self._write_waits_for_read) or self._read_waits_for_write
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)

    def send(self, data: bytes, now: float) -> None:
        """Send bytes as far as the client accepts them now, and keep the rest.

        Args:
            data: Bytes of whole messages.
            now: Time by the monotonic clock, seconds.

        Raises:
            ClosedError: When the client has left too much unread, or is gone.
        """
        self.sent_at = now
        self._pending += data
        self._flush()
        if len(self._pending) > MAX_PENDING_BYTES:
            raise ClosedError("the client reads too slowly")

    def progress(self) -> None:
        """Write and read what is possible, after the selector has reported the socket.

        Raises:
            ClosedError: When the stream has ended.
        """
        self._flush()
        self._discard_input()

    def close(self) -> None:
        """Close the socket; a TLS client is informed if that is possible at once.

        Input that was not read would make the kernel discard what the client hasn't received yet.
        """
        with contextlib.suppress(ClosedError):
            self._discard_input()
        if isinstance(self.connection, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self.connection.unwrap()
        self.connection.close()

    def _flush(self) -> None:
        self._write_waits_for_read = False
        try:
            while self._pending:
                del self._pending[: self.connection.send(self._pending)]
        except ssl.SSLWantReadError:
            self._write_waits_for_read = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except (OSError, ValueError) as error:
            raise ClosedError(str(error)) from error
        if self.ends and not self._pending:
            raise ClosedError("everything is sent")

    def _discard_input(self) -> None:
        """Read and discard what the client sends, so that its end is noticed."""
        self._read_waits_for_write = False
        try:
            while piece := self.connection.recv(READ_BYTES):
                self._received += len(piece)
                if self._received > MAX_INPUT_BYTES:
                    raise ClosedError("the client sends on a stream")
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self._read_waits_for_write = True
            return
        except (OSError, ValueError) as error:
            raise ClosedError(str(error)) from error
        raise ClosedError("the client has closed the stream")
