"""The message with which `eaves up` asks the zygote for a process, such as a replica.

The message is one packet on a Unix socket. File descriptors go with it: the log, a socket on which the forked process
answers, and those that the process inherits. It sends its process id, and runs only after it has received `GO`. So a
process that is forked too late, when `eaves up` has started another one, ends at once.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

READY = b"ready"
"""The zygote's first packet: all modules are imported."""
GO = b"go"
"""Packet to a forked process: run."""
MAX_BYTES = 1 << 18
"""Maximum size of a packet, bytes; the kernel refuses larger ones by default (net.core.wmem_default)."""
MAX_PASSED = 8
"""Maximum number of file descriptors that a process inherits in addition to its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a process runs: `python -P -m MODULE ARGUMENTS`.

    Attributes:
        module: Module that the process runs.
        environ: The whole environment of the process.
        arguments: Arguments after the module's name.
        pass_fds: File descriptors that the process inherits with their numbers; at most `MAX_PASSED`.
    """

    module: str
    environ: Mapping[str, str]
    arguments: Sequence[str] = ()
    pass_fds: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """A request for one process.

    Attributes:
        command: What the process runs.
        parent: Process id of `eaves up`, which becomes the process's parent.
        log: File descriptor of the process's log.
        answer: Socket on which the process answers.
        passed: File descriptors of `command.pass_fds`, which have other numbers in the zygote.
    """

    command: Command
    parent: int
    log: int
    answer: socket.socket
    passed: Sequence[int] = ()

    def close(self) -> None:
        """Close the file descriptors of this request."""
        self.answer.close()
        for handle in (self.log, *self.passed):
            os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkAnswer:
    """The answer to a request: a process, or the reason why there is none.

    Attributes:
        pid: Process id; 0 when there is no process.
        error: Reason why there is no process; empty when there is one.
        outdated: Whether a new zygote could fork it.
    """

    pid: int = 0
    error: str = ""
    outdated: bool = False


def send_request(control: socket.socket, request: ForkRequest) -> None:
    """Send a request to the zygote.

    Raises:
        OSError: When the zygote has ended, doesn't read, or the environment is too large for a packet.
    """
    text = json.dumps({"command": asdict(request.command), "parent": request.parent})
    socket.send_fds(control, [text.encode()], [request.log, request.answer.fileno(), *request.passed])


def receive_request(control: socket.socket) -> ForkRequest | None:
    """Wait for a request; None when `eaves up` has closed the socket or has ended."""
    data, handles, _, _ = socket.recv_fds(control, MAX_BYTES, 2 + MAX_PASSED)
    if not data:
        return None
    fields = json.loads(data)
    log, answer, *passed = handles
    command, parent = Command(**fields["command"]), fields["parent"]
    return ForkRequest(command=command, parent=parent, log=log, answer=socket.socket(fileno=answer), passed=passed)


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
