"""Client of a queue that another process delivers; it asks that process over a Unix socket.

When no process delivers the queue, `open_queue` opens the spool's file directly.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eaves.admin.queue import RemoteQueue, SpoolQueue, raise_refusal
from eaves.admin.report import HEALTH, LIVE, QUEUES
from eaves.base.files import short_path
from eaves.errors import DeliveryError, EavesError, NotFoundError, NotRunningError, PlatformError
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.spool import Lease, Spool

TIMEOUT_S = 60.0
"""Time limit of one request, seconds; purging a million entries takes about as long."""
MAX_BYTES = 64 << 20
"""Maximum size of an answer that is read, bytes; an image has at most 20 MB, and a third more as base64."""


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
        return self._request("POST", QUEUES, body=request.encode())

    def _request(self, method: str, target: str, *, body: bytes = b"", allowed: Sequence[int] = ()) -> bytes:
        answer = ask_socket(self._path, method, target, timeout_s=self._timeout_s, body=body)
        if answer.status >= 300 and answer.status not in allowed:
            raise_refusal(answer.body, answer.status)
        return answer.body


def ask_socket(path: Path, method: str, target: str, *, timeout_s: float, **options: Any) -> HttpAnswer:
    """Send one request to a Unix socket and return the answer of any status.

    Args:
        path: Path of the socket.
        method: HTTP method.
        target: Path and query.
        timeout_s: Maximum wait for an answer, seconds.
        options: `headers` and `body` of the request.

    Raises:
        NotRunningError: When no process listens on the socket.
        PlatformError: When it doesn't answer.
    """

    def dial(_: str, __: int, seconds: float) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(seconds)
        try:
            with short_path(path) as short:
                made.connect(short)
        except OSError:
            made.close()
            raise
        return made

    client = HttpClient(dial=dial, connections=0, socket_options=())
    try:
        url = f"http://localhost{target}"
        return client.request(method, url, timeout_s=timeout_s, max_bytes=MAX_BYTES, **options)
    except DeliveryError as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            raise NotRunningError(f"no process listens on {path}") from error
        detail = str(error.__cause__) or type(error.__cause__).__name__
        raise PlatformError(f"the process at {path} doesn't answer: {detail}") from error


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
