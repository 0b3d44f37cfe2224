"""Small HTTP servers of an agent: its queue on a Unix socket for its user, metrics and health on a TCP port.

Both accept a limited number of connections with one request each. When all connections are in use, the oldest one is
closed to make room for a new one. So a client that keeps its connections open can't block other clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from eaves.admin.routes import AdminResponse
from eaves.errors import ConfigError, Fault
from eaves.ingress import IngressLimits, IngressServer, Request, Response, answer_problem

CONNECTIONS = 8
"""Maximum number of connections that haven't sent a request yet; as many more may have a request that is being
answered."""
TIMEOUT_S = 10.0
"""Time limit for a request, and maximum wait for the peer to accept more of an answer, seconds."""
LIMITS = IngressLimits(
    max_bytes=0,
    in_flight_bytes=0,
    connections=2 * CONNECTIONS,
    keep_alive=False,
    headers_s=TIMEOUT_S,
    stall_s=TIMEOUT_S,
    programs_only=True,
)

Answer = Callable[[str, str, str], AdminResponse]
"""Function that answers a request with method, path and query."""


class AdminServer(IngressServer):
    """A running HTTP server that answers an agent's administrative requests on a TCP port or a Unix socket.

    Args:
        answer: Returns the response to a request; called from several threads.
        port: TCP port; 0 takes a free one.
        host: Address of this machine to listen on.
        path: Path of a Unix socket, in place of a port; its folder becomes accessible to this user only.

    Raises:
        ConfigError: When the server can't listen on the address.
    """

    def __init__(self, answer: Answer, *, host: str = "127.0.0.1", port: int = 0, path: Path | None = None) -> None:
        if path is not None:
            try:
                prepare_folder(path.parent)
            except OSError as error:
                fault = Fault(origin="admin server", path="path", message=f"can't listen on {path}: {error}")
                raise ConfigError([fault], hint="set another path for the admin socket") from error
        super().__init__(partial(_serve, answer), host=host, port=port, path=path, limits=LIMITS, name="admin server")


def prepare_folder(folder: Path) -> None:
    """Create a folder that only this user can enter.

    Raises:
        OSError: When the folder can't be created, or belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def _serve(answer: Answer, request: Request) -> Response:
    """Answer a request with `answer`; a request with a body is refused."""
    if not request.is_read:
        return answer_problem(413, "this endpoint accepts no request body")
    request.admit()
    found = answer(request.method, request.path, request.query)
    return Response(status=found.status, headers={"Content-Type": found.content_type}, body=found.body)
