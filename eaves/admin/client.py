"""Client of a queue that another process delivers; it asks that process over a Unix socket.

When no process delivers the queue, `open_queue` opens the spool's file directly.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from eaves.admin.queue import RemoteQueue, SpoolQueue, raise_refusal
from eaves.admin.report import HEALTH, LIVE
from eaves.base.files import short_path
from eaves.errors import EavesError, NotFoundError, NotRunningError, PlatformError
from eaves.spool import Lease, Spool

TIMEOUT_S = 60.0
"""Time limit of one request, seconds; purging a million entries takes about as long."""
MAX_BYTES = 64 << 20
"""Maximum size of an answer that is read, bytes; an image has at most 20 MB, and a third more as base64."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP connection to the process that listens on a Unix socket, whose path may have any length.

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


class SocketQueue(RemoteQueue):
    """A queue behind a Unix socket: it asks the process that listens on a Unix socket.

    A request raises NotRunningError when no process listens there, and PlatformError when its answer can't be used.

    Args:
        path: Path of the socket.
        timeout_s: Maximum wait for an answer, seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(f"the process at {path}")
        self._path = path
        self._timeout_s = timeout_s

    def health(self, path: str = HEALTH) -> Mapping[str, Any]:
        """Return the process's report on its health, whether it is healthy or not."""
        body = self._request("GET", path, allowed=(503,))
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PlatformError(f"{self._path} answered with {len(body)} bytes that are not a JSON object")
        return found

    def _send(self, request: str) -> bytes:
        return self._request("POST", f"/queues?{quote(request)}")

    def _request(self, method: str, target: str, *, allowed: Sequence[int] = ()) -> bytes:
        status, _, body = ask_socket(self._path, method, target, timeout_s=self._timeout_s)
        if status >= 300 and status not in allowed:
            raise_refusal(body, status)
        return body


def ask_socket(
    path: Path,
    method: str,
    target: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    body: bytes = b"",
    *,
    timeout_s: float,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers by lower-case name, and body of an answer of the process that listens on a Unix socket.

    Raises:
        NotRunningError: When no process listens there.
        PlatformError: When it doesn't answer, or answers with too much.
    """
    connection = UnixConnection(path, timeout_s)
    try:
        connection.request(method, target, body=body or None, headers=dict(headers))
        response = connection.getresponse()
        found = response.read(MAX_BYTES + 1)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunningError(f"no process listens on {path}") from error
    except (OSError, http.client.HTTPException) as error:
        raise PlatformError(f"the process at {path} doesn't answer: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if len(found) > MAX_BYTES:
        raise PlatformError(f"{path} answered with more than {MAX_BYTES} bytes")
    return response.status, {name.lower(): value for name, value in response.getheaders()}, found


def list_hung_parts(path: Path, *, timeout_s: float) -> list[str]:
    """Return the reasons to restart the process that listens on a Unix socket; none when it doesn't answer.

    Args:
        path: Path of the socket.
        timeout_s: Maximum wait for an answer, seconds.
    """
    try:
        return list(map(str, SocketQueue(path, timeout_s=timeout_s).health(LIVE)["reasons"]))
    except (EavesError, KeyError, TypeError):
        return []


@contextmanager
def open_queue(
    spool: Path, socket: Path, leases: Sequence[Path], *, timeout_s: float = TIMEOUT_S
) -> Iterator[SocketQueue | SpoolQueue]:
    """Yield the queue of a spool: through the socket while a process delivers it, from the file otherwise.

    While the file is open here, its leases are held, so no process begins to deliver it.

    Args:
        spool: Path of the spool's file.
        socket: Path of the socket of the process that delivers the spool.
        leases: Lock files of that process.
        timeout_s: Maximum wait for an answer of that process, seconds.

    Raises:
        NotFoundError: When the file doesn't exist.
        PlatformError: When a process delivers the spool and doesn't answer.
    """
    running = SocketQueue(socket, timeout_s=timeout_s)
    try:
        running.report()
    except NotRunningError:
        pass
    else:
        yield running
        return
    if not spool.is_file():
        raise NotFoundError(f"there is no queue {spool}", hint="eaves status")
    with ExitStack() as stack:
        for path in leases:
            lease = Lease(path)
            if not lease.acquire():
                raise PlatformError(
                    f"a process delivers the queue {spool}, but no process listens on its admin socket {socket}",
                    hint=("restart the process that delivers this queue"),
                )
            stack.callback(lease.release)
        yield SpoolQueue(stack.enter_context(Spool(spool)))
