"""The message with which `eaves up` asks the zygote for a replica.

The message is one packet on a Unix socket. Two file descriptors go with it: the log, and a socket on which the forked
replica answers. The replica sends its process id, and runs only after it has received `GO`. So a replica that is
forked too late, when `eaves up` has started another one, ends at once.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass

READY = b"ready"
"""The zygote's first packet: all modules are imported."""
GO = b"go"
"""Packet to a forked replica: run."""
MAX_BYTES = 1 << 18
"""Maximum size of a packet, bytes; the kernel refuses larger ones by default (net.core.wmem_default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """A request for one replica.

    Attributes:
        environ: The whole environment of the replica.
        parent: Process id of `eaves up`, which becomes the replica's parent.
        log: File descriptor of the replica's log.
        answer: Socket on which the replica answers.
    """

    environ: Mapping[str, str]
    parent: int
    log: int
    answer: socket.socket


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkAnswer:
    """The answer to a request: a replica, or the reason why there is none.

    Attributes:
        pid: Process id of the replica; 0 when there is none.
        error: Reason why there is no replica; empty when there is one.
        outdated: Whether a new zygote could fork a replica.
    """

    pid: int = 0
    error: str = ""
    outdated: bool = False


def send_request(control: socket.socket, request: ForkRequest) -> None:
    """Send a request to the zygote.

    Raises:
        OSError: When the zygote has ended, doesn't read, or the environment is too large for a packet.
    """
    text = json.dumps({"environ": dict(request.environ), "parent": request.parent})
    socket.send_fds(control, [text.encode()], [request.log, request.answer.fileno()])


def receive_request(control: socket.socket) -> ForkRequest | None:
    """Wait for a request; None when `eaves up` has closed the socket or has ended."""
    data, handles, _, _ = socket.recv_fds(control, MAX_BYTES, 2)
    if not data:
        return None
    fields = json.loads(data)
    log, answer = handles
    return ForkRequest(environ=fields["environ"], parent=fields["parent"], log=log, answer=socket.socket(fileno=answer))


def send_answer(answer: socket.socket, content: ForkAnswer) -> None:
    """Answer a request.

    Raises:
        OSError: When `eaves up` waits no longer.
    """
    answer.send(json.dumps({"pid": content.pid, "error": content.error, "outdated": content.outdated}).encode())


def receive_answer(answer: socket.socket) -> ForkAnswer:
    """Wait for the answer to a request.

    Raises:
        OSError: When the zygote ends or the socket's time limit passes before the answer.
    """
    data = answer.recv(MAX_BYTES)
    if not data:
        raise ConnectionResetError("it ended before its answer")
    return ForkAnswer(**json.loads(data))
