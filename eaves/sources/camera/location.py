"""What a stream's address names, and whether it is there: a cheap test before a decoder is started.

A decoder costs a tenth of a second of processor time and 50 MB of memory to start, a TCP connection almost nothing. So
the source starts none while a server accepts no connection, or while there is no such device or file.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eaves.http_client.connection_errors import describe_os_error
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.reachability import PORTS

DEVICES = Path("/dev")
PROBE_S = 2.0
"""Time limit of a connection that tests a server, seconds: long enough for a lost first packet, which is sent again
after a second."""
TICK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLocation:
    """What the address of a stream names.

    Attributes:
        path: Path of a device or a file; None for a stream of the network.
        host: Host to connect to: the server, or the HTTP proxy on the way to it; empty for a device or a file.
        port: TCP port of that host.
    """

    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which has an end, and not a device or a stream of the network."""
        return self.path is not None and DEVICES not in self.path.absolute().parents

    def file_identity(self) -> tuple[int, int] | None:
        """Return modification time in nanoseconds and size of the file; None when it can't be looked at."""
        try:
            status = self.path.stat() if self.path else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size) if status else None

    def find_missing(self) -> str:
        """Return why the device or the file can't be opened; empty when it can, and for a stream of the network."""
        if self.path is None:
            return ""
        try:
            mode = self.path.stat().st_mode
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return f"there is no {'file' if self.is_file else 'device'} {self.path}"
            return f"{self.path} can't be read: {error.strerror}"
        if self.is_file and not stat.S_ISREG(mode):
            return f"{self.path} is not a file"
        if not self.is_file and not stat.S_ISCHR(mode):
            return f"{self.path} is not a device"
        if not os.access(self.path, os.R_OK):
            return f"{self.path} can't be read: permission denied" + (
                "" if self.is_file else " (see the group `video`)"
            )
        return ""


def parse_location(url: str, proxies: Proxies = DIRECT) -> StreamLocation:
    """Return what the address of a stream names.

    Args:
        url: Address that passed the check of `CameraSettings`.
        proxies: HTTP proxies of the process, which RTSP and RTMP don't use.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        return StreamLocation(path=Path(url))
    proxy = proxies.find(url)
    if proxy is not None:
        return StreamLocation(host=proxy.host, port=proxy.port)
    return StreamLocation(host=parts.hostname or "", port=parts.port or PORTS[parts.scheme])


def build_subject(url: str) -> str:
    """Return the name of a device or a file; empty for an address, whose path may hold a password or a stream key."""
    return "" if urlsplit(url).scheme in PORTS else Path(url).name


def probe(location: StreamLocation, stopping: Callable[[], bool], *, timeout_s: float = PROBE_S) -> str:
    """Connect to the location's host and close the connection; return why it failed, empty when it worked.

    The time limit is of real time, because sockets can't use the clock of a test.

    Args:
        location: Location with a host.
        stopping: Returns whether the attempt is to be ended early.
        timeout_s: Time limit for all addresses of the host together, seconds.
    """
    deadline = time.monotonic() + timeout_s
    try:
        found = socket.getaddrinfo(location.host, location.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return "the camera can't be reached: its name is not found"
    reason = "no answer in time"
    for number, (family, kind, protocol, _, address) in enumerate(found):
        share_s = max(0.0, deadline - time.monotonic()) / (len(found) - number)
        try:
            with socket.socket(family, kind, protocol) as connection:
                _connect(connection, address, share_s, stopping)
        except OSError as error:
            reason = describe_os_error(error)
        else:
            return ""
    return f"the camera can't be reached: {reason}"


def _connect(connection: socket.socket, address: object, timeout_s: float, stopping: Callable[[], bool]) -> None:
    deadline = time.monotonic() + timeout_s
    connection.setblocking(False)
    number = connection.connect_ex(address)  # type: ignore[arg-type]  # what getaddrinfo returned
    if number not in (0, errno.EINPROGRESS):
        raise OSError(number, os.strerror(number))
    poller = select.poll()
    poller.register(connection, select.POLLOUT)
    while not poller.poll(TICK_S * 1000):
        if stopping() or time.monotonic() >= deadline:
            raise TimeoutError
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))
