"""The zygote, as its parent `eaves up` sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from eaves.local.processes.zygote.fork_request import GO, Command, ForkRequest, receive_answer, send_request
from eaves.local.processes.zygote.forked_process import ForkedProcess
from eaves.local.processes.zygote.inheritance import find_start_variable, read_inheritance
from eaves.local.processes.zygote.prctl import adopt_orphans

START_S = 10.0
"""Maximum time that a replica's start waits for a new zygote, seconds. A zygote starts in a third of a second on a
desktop CPU, and a function that is started without it needs the same time for the same imports."""
FORK_S = 3.0
"""Maximum time of one fork, seconds; it takes some milliseconds."""


class ForkError(Exception):
    """The zygote can't fork a process.

    Args:
        reason: Reason, for people.
        outdated: Whether a new zygote could.
    """

    def __init__(self, reason: str, *, outdated: bool = False) -> None:
        super().__init__(reason)
        self.outdated = outdated


class ZygoteProcess:
    """A zygote that was started and may not be ready yet. It ends with this process, or by `close`.

    Args:
        environ: Environment of the zygote: that of replicas without the variables that each has for itself.
        start_s: Maximum time after the zygote's start for which a fork waits until it is ready, seconds.

    Raises:
        OSError: When the process can't be started.
    """

    def __init__(self, environ: Mapping[str, str], *, start_s: float = START_S) -> None:
        self._environ = dict(environ)
        self._start_s = start_s
        self._inheritance = read_inheritance()
        self._started_at = time.monotonic()
        self._ready = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "eaves.local.processes.zygote", str(theirs.fileno())],
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                self._control.close()
                raise

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the zygote has not ended."""
        return self._process.poll() is None

    def fork(self, command: Command, log: int) -> ForkedProcess:
        """Fork a process.

        Args:
            command: What the process runs.
            log: File descriptor for its output.

        Raises:
            ForkError: When there is no process.
        """
        environ = command.environ
        if any("=" in name or b"\0" in os.fsencode(name + value) for name, value in environ.items()):
            raise ForkError("the environment has an invalid variable")
        if variable := find_start_variable(self._environ, environ):
            raise ForkError(f"{variable} is read only while a program starts")
        if read_inheritance() != self._inheritance:
            raise ForkError("the limits of `eaves up` have changed", outdated=True)
        try:
            self._wait_until_ready()
            return self._exchange(command, log)
        except OSError as error:
            code = self._process.poll()
            reason = f"{error.strerror or error}" if code is None else f"it ended with {code}"
            raise ForkError(f"it doesn't answer: {reason}", outdated=True) from error

    def close(self) -> None:
        """End the zygote; processes that it forked continue to run."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _wait_until_ready(self) -> None:
        """Wait for the zygote's first packet.

        Raises:
            ForkError: When it isn't ready in time. It is kept: on a slow machine a new one would take as long.
            OSError: When the zygote ends before.
        """
        if not self._ready:
            self._control.settimeout(max(0.01, self._started_at + self._start_s - time.monotonic()))
            try:
                packet = self._control.recv(16)
            except TimeoutError as error:
                raise ForkError("it isn't ready yet") from error
            if not packet:
                raise ConnectionResetError("it ended")
            self._control.settimeout(FORK_S)
            self._ready = True

    def _exchange(self, command: Command, log: int) -> ForkedProcess:
        """Send a request and receive the process.

        Raises:
            ForkError: When the zygote or the kernel refuses.
            OSError: When the zygote ends, or is too slow.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.settimeout(FORK_S)
            request = ForkRequest(command=command, parent=os.getpid(), log=log, answer=theirs, passed=command.pass_fds)
            # Only while a process is forked: orphans of other children would stay as zombies until `eaves up` ends.
            with adopt_orphans():
                send_request(self._control, request)
                theirs.close()
                answer = receive_answer(ours)
            if answer.error:
                raise ForkError(answer.error, outdated=answer.outdated)
            ours.send(GO)
        return ForkedProcess(answer.pid)
